/* The table of all records: words, drop-downs, columns, sorting, CSV, and a link that keeps them. */
(function () {
  var box = document.getElementById("records-table");
  if (!box) return;
  var STEP = 100, several = new Set(data.run).size > 1 || new Set(data.device_name).size > 1;
  function times(text) { return (text || "").replace(/x/g, "×"); }
  function detail(r) { return [data.clock[r], data.protocol[r], data.image[r]].filter(Boolean).join(" "); }
  function value(r) { return data.text[r] || data.status[r]; }
  /* name, title, shown at first, what a cell says, the number it sorts by */
  var COLUMNS = [
    ["method", "method", 1], ["implementation", "implementation", 1], ["direction", "direction", 1], ["window", "window", 1],
    ["shape", "input", 1, function (r) { return times(data.shape[r]); }], ["dtype", "type", 0], ["layout", "layout", 0],
    ["probe", "probe", 0], ["metric", "metric", 1], ["detail", "clock or image", 1, detail],
    ["value", "value", 1, value, data.value], ["interval", "95 % interval", 1, function (r) { return data.interval[r] || ""; }, data.lo],
    ["times_better_than_avg", "× better than avg", 1, function (r) { return data.better[r] || ""; }, data.times_better_than_avg],
    ["share", "of copy", 0, function (r) { return data.share[r] === null ? "" : Math.round(data.share[r]) + " %"; }, data.share],
    ["n", "n", 0, function (r) { return data.n[r]; }, data.n], ["status", "status", 0],
    ["warnings", "notes", data.doubt.some(Boolean)], ["device_name", "device", several], ["run", "run", several], ["case", "case", 0], ["command", "command", 0]
  ].map(function (c) {
    return { name: c[0], title: c[1], first: Boolean(c[2]), on: Boolean(c[2]), text: c[3] || function (r) { return data[c[0]][r] || ""; }, sort: c[4] };
  });
  var PICK = ["method", "implementation", "direction", "window", "probe", "status"].concat(several ? ["device_name"] : []);

  /* The words a record answers to: its names, and its window in every way of writing it. */
  function sized(text) { var parts = text.split("x"); return new Set(parts).size === 1 ? parts[0] : text; }
  function windows(k, s, p) {
    if (!k) return [];
    var short = sized(k), step = sized(s), pad = sized(p), made = [k, "k" + short, "s" + step, "p" + pad, short + "s" + step];
    made.push("k" + short + "s" + step, short + "s" + step + "p" + pad, "k" + short + "s" + step + "p" + pad);
    if (pad === "0" && short === step) made.push(short);
    return made;
  }
  var memo = {}, vocabulary = new Set();
  var words = data.method.map(function (_, r) {
    var shape = data.kernel[r] + " " + data.stride[r] + " " + data.padding[r];
    memo[shape] = memo[shape] || windows(data.kernel[r], data.stride[r], data.padding[r]);
    var own = memo[shape].concat([
      "method", "implementation", "direction", "shape", "dtype", "layout", "probe", "metric", "clock", "protocol", "image", "status"
    ].map(function (name) { return data[name][r]; }).filter(Boolean), (data.warnings[r] || "").split("; ").filter(Boolean));
    if (several) own.push(data.device_name[r], data.run[r]);
    own = own.map(function (word) { return word.toLowerCase(); });
    own.forEach(function (word) { vocabulary.add(word); });
    return own;
  });
  var bag = words.map(function (own) { return "\n" + own.join("\n") + "\n"; });
  /* A word that is some record's word is meant as a whole; any other is a part of one. */
  function parse(text) {
    return (text.toLowerCase().match(/-?"[^"]*"?|\S+/g) || []).map(function (word) {
      var not = word[0] === "-" && word.length > 1;
      word = (not ? word.slice(1) : word).replace(/"/g, "").replace(/×/g, "x");
      return { not: not, word: vocabulary.has(word) ? "\n" + word + "\n" : word };
    }).filter(function (wanted) { return wanted.word; });
  }

  var state = { q: "", pick: {}, sort: "", down: false }, found = [], limit = STEP;
  var input = document.getElementById("words"), count = box.querySelector("output"), table = box.querySelector("table");
  var head = table.tHead.rows[0], body = table.tBodies[0], more = document.getElementById("more");

  function search() {
    var wanted = parse(state.q), picked = Object.keys(state.pick);
    found = [];
    for (var r = 0; r < data.size; r++) {
      if (picked.every(function (name) { return data[name][r] === state.pick[name]; }) &&
          wanted.every(function (w) { return bag[r].includes(w.word) !== w.not; })) found.push(r);
    }
    var by = COLUMNS.find(function (c) { return c.name === state.sort; });
    if (by) {
      var collator = new Intl.Collator("en", { numeric: true });
      var keys = found.map(function (r) { return by.sort ? by.sort[r] : by.text(r) || null; });
      var order = found.map(function (_, i) { return i; });
      order.sort(function (i, j) {
        var a = keys[i], b = keys[j];
        if (a === null || b === null) return (a === null) - (b === null) || i - j; /* holes come last, either way */
        return (by.sort ? a - b : collator.compare(a, b)) * (state.down ? -1 : 1) || i - j;
      });
      found = order.map(function (i) { return found[i]; });
    }
    limit = STEP;
    draw();
    keep();
  }
  function draw() {
    var shown = COLUMNS.filter(function (c) { return c.on; });
    head.replaceChildren.apply(head, shown.map(function (c) {
      var cell = make("th", { scope: "col", class: c.sort ? "number" : "" }), button = make("button", { type: "button" }, c.title);
      if (state.sort === c.name) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      button.addEventListener("click", function () {
        state.down = state.sort === c.name && !state.down;
        state.sort = c.name;
        search();
        head.cells[shown.indexOf(c)].querySelector("button").focus();
      });
      cell.append(button);
      return cell;
    }).concat([make("th", { scope: "col" }, "run it again")]));
    body.replaceChildren.apply(body, found.slice(0, limit).map(function (r) { return row(r, shown); }));
    count.textContent = found.length + " of " + data.size + " records" + (found.length > limit ? ", the first " + limit + " shown" : "");
    more.hidden = found.length <= limit;
  }
  function row(r, shown) {
    var line = make("tr");
    shown.forEach(function (c, place) {
      var cell = make(place ? "td" : "th", place ? {} : { scope: "row" });
      if (!place) {
        var button = make("button", { type: "button", "aria-expanded": "false", class: "unfold" }, c.text(r));
        button.addEventListener("click", function () { unfold(line, r, button, shown.length + 1); });
        cell.append(button);
      } else {
        if (c.sort) cell.className = "number";
        if (c.name === "value" && data.doubt[r]) cell.append(make("span", { class: "warning", title: data.doubt[r].split("; ").map(explained).join("\n"), "aria-label": data.doubt[r] }, "⚠"));
        if (c.name === "value" && !data.text[r]) cell.className = "number hole " + data.status[r];
        cell.append(String(c.text(r)));
      }
      line.append(cell);
    });
    line.insertCell().append(make("button", { type: "button", class: "copy", "data-copy": data.command[r], "aria-label": "copy the command that measures " + data.case[r] }, "copy"));
    return line;
  }
  function unfold(line, r, button, span) {
    var open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) { line.nextSibling.remove(); return; }
    var next = make("tr", { class: "more" }), cell = next.insertCell();
    cell.colSpan = span;
    cell.append(lines(r).join("\n") + "\n", make("code", {}, data.command[r]));
    line.after(next);
  }

  /* The link: #records?q=…&method=…&sort=-value&columns=a,b */
  function keep() {
    var said = new URLSearchParams();
    if (state.q) said.set("q", state.q);
    Object.keys(state.pick).forEach(function (name) { said.set(name, state.pick[name]); });
    if (state.sort) said.set("sort", (state.down ? "-" : "") + state.sort);
    if (COLUMNS.some(function (c) { return c.on !== c.first; }))
      said.set("columns", COLUMNS.filter(function (c) { return c.on; }).map(function (c) { return c.name; }).join(","));
    var text = said.toString();
    if (text || location.hash.startsWith("#records?")) history.replaceState(null, "", "#records" + (text ? "?" + text : ""));
  }
  function take() {
    if (!location.hash.startsWith("#records?")) return;
    var said = new URLSearchParams(location.hash.slice("#records?".length)), columns = said.get("columns"), sort = said.get("sort") || "";
    state.q = said.get("q") || "";
    PICK.forEach(function (name) { if (said.has(name)) state.pick[name] = said.get(name); });
    state.down = sort[0] === "-";
    state.sort = sort.replace(/^-/, "");
    if (columns) COLUMNS.forEach(function (c) { c.on = columns.split(",").includes(c.name); });
  }
  function csv() {
    var names = [];
    COLUMNS.filter(function (c) { return c.on; }).forEach(function (c) {
      names = names.concat({ detail: ["clock", "protocol", "image"], value: ["value", "unit", "status"], interval: ["lo", "hi"] }[c.name] || [c.name]);
    });
    names = Array.from(new Set(names));
    function cell(text) { text = text === null || text === undefined ? "" : String(text); return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text; }
    var rows = found.map(function (r) { return names.map(function (name) { return cell(data[name][r]); }).join(","); });
    return [names.join(",")].concat(rows).join("\n") + "\n";
  }

  take();
  input.value = state.q;
  input.addEventListener("input", function () { state.q = input.value; search(); });
  PICK.forEach(function (name) {
    var title = COLUMNS.find(function (c) { return c.name === name; }).title;
    var label = make("label", {}, title + " "), select = make("select");
    select.append(make("option", { value: "" }, "all"));
    Array.from(new Set(data[name])).filter(Boolean).sort().forEach(function (v) { select.append(make("option", { value: v }, v)); });
    select.value = state.pick[name] || "";
    select.addEventListener("change", function () {
      if (select.value) state.pick[name] = select.value; else delete state.pick[name];
      search();
    });
    label.append(select);
    document.getElementById("picks").append(label);
  });
  COLUMNS.forEach(function (c) {
    var label = make("label"), tick = make("input", { type: "checkbox" });
    tick.checked = c.on;
    tick.addEventListener("change", function () { c.on = tick.checked; draw(); keep(); });
    label.append(tick, " " + c.title);
    document.getElementById("choose").append(label);
  });
  more.addEventListener("click", function () { limit += 3 * STEP; draw(); });
  document.getElementById("csv").addEventListener("click", function () {
    var link = make("a", { download: "records-shown.csv", href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })) });
    link.click();
  });
  document.getElementById("link").addEventListener("click", function (event) { keep(); copy(location.href, event.target); });
  box.hidden = false;
  search();
})();
