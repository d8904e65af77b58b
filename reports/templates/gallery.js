/* Two methods' pictures of one scene laid over each other, with a slider between them. */
document.querySelectorAll(".slider").forEach(function (box) {
  var scene = box.closest("details"), name = box.dataset.scene;
  function built() {
    if (box.firstChild) return;
    var pictures = {};
    scene.querySelectorAll("img[data-what]").forEach(function (image) {
      pictures[image.dataset.what] = pictures[image.dataset.what] || {};
      pictures[image.dataset.what][image.dataset.method] = image.src;
    });
    var whats = ["restored", "error", "pooled"].filter(function (what) { return Object.keys(pictures[what] || {}).length > 1; });
    if (!whats.length) return;
    var under = make("img", { alt: "" }), over = make("img", { alt: "" }), frame = make("div", { class: "frame" });
    var slide = make("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": "how much of A is seen, " + name });
    var bar = make("div", { class: "filter" }), selects = {};
    function select(label, values, value) {
      var field = make("select"), words = make("label", {}, label + " ");
      values.forEach(function (v) { field.append(make("option", { value: v }, v)); });
      if (values.includes(value)) field.value = value;
      field.addEventListener("change", show);
      words.append(field);
      bar.append(words);
      return field;
    }
    function show() {
      var set = pictures[selects.what.value];
      [[over, "a"], [under, "b"]].forEach(function (pair) {
        var method = selects[pair[1]].value;
        pair[0].src = set[method] || "data:,";
        pair[0].alt = name + ", " + method + ", " + selects.what.value;
      });
      over.style.clipPath = "inset(0 " + (100 - slide.value) + "% 0 0)";
      frame.style.setProperty("--at", slide.value + "%");
    }
    var methods = Object.keys(pictures[whats[0]]);
    selects.what = select("picture", whats, "restored");
    selects.a = select("A, left", methods, methods.includes("ada") ? "ada" : methods[0]);
    selects.b = select("B, right", methods, methods.includes("original") ? "original" : methods[1]);
    slide.addEventListener("input", show);
    frame.append(under, over);
    box.append(bar, frame, slide);
    box.hidden = false;
    show();
  }
  scene.addEventListener("toggle", function () { if (scene.open) built(); });
  if (scene.open) built();
});
