/* Sorting, filtering, details on a click, zoom. The page reads without it. */
(function () {
  "use strict";
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
      var button = document.createElement("button");
      button.type = "button";
      button.append.apply(button, Array.from(head.childNodes));
      head.append(button);
      button.addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        body.querySelectorAll("tr.more").forEach(function (row) { row.remove(); });
        var rows = Array.from(body.rows).map(function (row) { return [key(row, column), row]; });
        rows.sort(function (a, b) {
          return a[0] === null || b[0] === null || up ? compare(a[0], b[0]) : compare(b[0], a[0]);
        });
        body.append.apply(body, rows.map(function (pair) { return pair[1]; }));
      });
    });
  });
  document.querySelectorAll("[data-filter]").forEach(function (box) {
    var rows = Array.from(document.getElementById(box.dataset.filter).tBodies[0].rows);
    var words = rows.map(function (row) { return row.textContent.toLowerCase(); });
    var input = box.querySelector("input"), count = box.querySelector("output");
    function show() {
      var wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
      rows.forEach(function (row, i) {
        row.hidden = !wanted.every(function (word) { return words[i].includes(word); });
        shown += !row.hidden;
      });
      count.textContent = shown + " of " + rows.length + " rows";
    }
    box.hidden = false;
    input.addEventListener("input", show);
    show();
  });
  document.addEventListener("click", function (event) {
    var row = event.target.closest("tr[data-more]");
    if (!row || String(window.getSelection())) return;
    var next = row.nextElementSibling;
    if (next && next.className === "more") { next.remove(); return; }
    next = document.createElement("tr");
    next.className = "more";
    var cell = next.insertCell();
    cell.colSpan = row.cells.length;
    cell.textContent = row.dataset.more;
    row.after(next);
  });
  var dialog = document.querySelector("dialog");
  if (dialog && dialog.showModal) {
    dialog.addEventListener("click", function () { dialog.close(); });
    document.querySelectorAll(".scene img, .original img").forEach(function (image) {
      image.className = "zoomable";
      image.addEventListener("click", function () {
        dialog.querySelector("img").src = image.src;
        dialog.querySelector("p").textContent = image.alt;
        dialog.showModal();
      });
    });
  }
})();
