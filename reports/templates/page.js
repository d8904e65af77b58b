/* What every part of the page needs: the records, tips by pointer, touch and keyboard, sorting, copying. */
"use strict";
var data = JSON.parse(document.getElementById("data").textContent);
Object.keys(data.columns).forEach(function (name) {
  var column = data.columns[name];
  data[name] = column.of ? column.at.map(function (place) { return column.of[place]; }) : column;
});
data.size = data.method.length;
/* What measures a case again: the run's words and the case's key (as reports/again.py has it). */
data.command = data.command.map(function (own, r) {
  if (own) return own;
  var probe = data.probe[r], name = data.case[r].split("/").slice(0, probe === "retention" ? 6 : 7).join("/");
  var key = probe === "kernels" ? name : probe + ":" + name;
  return data.again[r] + " --case " + (/^[\w@%+=:,.\/-]+$/.test(key) ? key : "'" + key.replace(/'/g, "'\"'\"'") + "'");
});

function make(tag, words, text) {
  var made = document.createElement(tag);
  Object.keys(words || {}).forEach(function (name) { made.setAttribute(name, words[name]); });
  if (text !== undefined) made.textContent = text;
  return made;
}
function subject(r) { return data.method[r] + " " + data.implementation[r]; }
function explained(warning) {
  var why = data.explained[warning] || data.explained[warning.split(":")[0]];
  return warning + (why ? ": " + why : "");
}
/* What is known of a record, a line each. */
function lines(r) {
  var what = [data.metric[r], data.clock[r], data.protocol[r], data.image[r]].filter(Boolean).join(" ");
  var said = [subject(r) + ", window " + data.window[r] + (data.direction[r] === "none" ? "" : ", " + data.direction[r])];
  said.push(what + ": " + (data.text[r] || data.status[r] + ", " + data.reason[r]));
  if (data.interval[r]) said.push("95 % interval " + data.interval[r]);
  if (data.text[r] && /^[sJ]$/.test(data.unit[r]))
    said.push((data.interval[r] ? "" : "no interval, ") + "n = " + data.n[r] + (data.stop[r] ? ", stopped: " + data.stop[r] : ""));
  if (data.better_words[r]) said.push(data.better_words[r] + (data.better_interval[r] ? ", interval " + data.better_interval[r] : ""));
  if (data.rate[r]) said.push(data.rate[r] + (data.share[r] === null ? "" : ", " + Math.round(data.share[r]) + " % of the copy"));
  said.push(data.shape[r].replace(/x/g, "×") + ", " + data.dtype[r] + ", " + data.layout[r]);
  (data.warnings[r] || "").split("; ").filter(Boolean).forEach(function (warning) { said.push("Note: " + explained(warning)); });
  return said;
}
function copy(text, button) {
  function done(worked) {
    var before = button.textContent;
    button.textContent = worked ? "copied" : "not copied";
    setTimeout(function () { button.textContent = before; }, 1200);
  }
  function by_hand() {
    var field = make("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    done(document.execCommand("copy"));
    field.remove();
    button.focus();
  }
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(function () { done(true); }, by_hand);
  else by_hand();
}

(function () {
  var tip = document.getElementById("tip"), marked = null;
  function text_of(item) {
    return "tip" in item.dataset ? item.dataset.tip : item.dataset.r < data.size ? lines(Number(item.dataset.r)).join("\n") : "records.csv has it";
  }
  function show(item) {
    hide();
    marked = item;
    item.classList.add("marked");
    tip.textContent = text_of(item);
    tip.hidden = false;
    var at = item.getBoundingClientRect(), box = tip.getBoundingClientRect();
    var left = Math.min(Math.max(8, at.left + at.width / 2 - box.width / 2), window.innerWidth - box.width - 8);
    var above = at.top - box.height - 8;
    tip.style.left = Math.max(8, left) + window.scrollX + "px";
    tip.style.top = (above > 56 ? above : at.bottom + 8) + window.scrollY + "px";
  }
  function hide() {
    if (marked) marked.classList.remove("marked");
    marked = null;
    tip.hidden = true;
  }
  function tipped(target) { return target.closest ? target.closest("[data-r], [data-tip]") : null; }
  function nearest(figure, x, y) {
    var best = null, least = 26 * 26;
    figure.querySelectorAll("[data-r]").forEach(function (item) {
      var at = item.getBoundingClientRect();
      var far = Math.pow(at.left + at.width / 2 - x, 2) + Math.pow(at.top + at.height / 2 - y, 2);
      if (far < least) { least = far; best = item; }
    });
    return best;
  }
  document.addEventListener("pointerover", function (event) {
    if (event.pointerType !== "mouse") return;
    var item = tipped(event.target);
    if (item) show(item); else if (marked && !document.activeElement.contains(marked)) hide();
  });
  document.addEventListener("click", function (event) {
    var figure = event.target.closest(".chart");
    var item = tipped(event.target) || (figure && nearest(figure, event.clientX, event.clientY));
    if (item) show(item); else hide();
  });
  document.addEventListener("keydown", function (event) {
    var way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    var from = document.activeElement;
    if (event.key === "Escape") hide();
    if (!way || !from || !from.hasAttribute("data-walk")) return;
    var items = Array.from(from.querySelectorAll("[data-r], [data-tip]"));
    if (!items.length) return;
    event.preventDefault();
    var place = items.indexOf(marked);
    var next = items[place < 0 ? (way > 0 ? 0 : items.length - 1) : (place + way + items.length) % items.length];
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
    show(next);
  });
  document.addEventListener("focusout", function (event) { if (event.target.hasAttribute("data-walk")) hide(); });

  function key(row, column) {
    var cell = row.cells[column];
    if (!cell) return null;
    if ("sort" in cell.dataset) return cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
    return cell.textContent.trim().toLowerCase();
  }
  function compare(a, b) {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var body = table.tBodies[0];
    var heads = Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells);
    heads.forEach(function (head, place) {
      var column = place + (body.rows.length ? body.rows[0].cells.length - heads.length : 0); /* heads of two rows */
      var button = make("button", { type: "button" });
      button.append.apply(button, Array.from(head.childNodes));
      head.append(button);
      button.addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        var rows = Array.from(body.rows).map(function (row) { return [key(row, column), row]; });
        rows.sort(function (a, b) {
          return a[0] === null || b[0] === null || up ? compare(a[0], b[0]) : compare(b[0], a[0]);
        });
        body.append.apply(body, rows.map(function (pair) { return pair[1]; }));
      });
    });
  });
  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-copy]");
    if (button) copy(button.dataset.copy, button);
  });

  var dialog = document.querySelector("dialog");
  if (dialog) {
    dialog.addEventListener("click", function () { dialog.close(); });
    document.querySelectorAll("button.zoom").forEach(function (button) {
      button.addEventListener("click", function () {
        var image = button.querySelector("img");
        dialog.querySelector("img").src = image.src;
        dialog.querySelector("p").textContent = image.alt;
        dialog.showModal();
      });
    });
  }

  var links = Array.from(document.querySelectorAll("nav a"));
  if (window.IntersectionObserver) {
    var seen = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (!entry.isIntersecting) return;
        links.forEach(function (link) {
          if (link.hash === "#" + entry.target.id) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
        });
      });
    }, { rootMargin: "-15% 0px -80% 0px" });
    links.forEach(function (link) {
      var target = document.getElementById(link.hash.slice(1));
      if (target) seen.observe(target);
    });
  }
  /* A link to something inside a closed part opens it. */
  function open() {
    var target = document.getElementById(location.hash.slice(1).split("?")[0]);
    for (var part = target && target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    if (target) target.scrollIntoView();
  }
  window.addEventListener("hashchange", open);
  if (location.hash) window.addEventListener("load", open);
})();
