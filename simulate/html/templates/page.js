"use strict";
// Draws the plots, lets them follow the page's colours, and switches policies on and off.
(() => {
  const root = document.documentElement;
  const text = (id) => document.getElementById(id).textContent;
  const colours = JSON.parse(text("colours"));
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("scheme");
  let models = [];

  const scheme = () => root.dataset.scheme || (prefersDark.matches ? "dark" : "light");

  function paint() {
    const now = colours[scheme()];
    for (const model of models) {
      if (model.type === "Figure") {
        model.background_fill_color = now.surface;
        model.border_fill_color = now.surface;
      } else if (model.type === "Grid") {
        model.grid_line_color = now.grid;
      } else if (model.type.endsWith("Axis")) {
        model.axis_label_text_color = now.ink;
        model.major_label_text_color = now.muted;
        model.axis_line_color = now.line;
        model.major_tick_line_color = now.line;
      }
      const tag = model.tags.find((each) => String(each).startsWith("colour:"));
      if (tag === undefined) continue;
      const value = now[tag.slice("colour:".length)];
      for (const name of ["line_color", "fill_color", "text_color"]) {
        const old = model[name];
        if (old === undefined || old === null) continue;
        if (typeof old === "object" && !("value" in old && old.value !== null)) continue;
        model[name] = typeof old === "object" ? {value} : value;
      }
    }
    root.dataset.painted = scheme();
    button.setAttribute("aria-pressed", String(scheme() === "dark"));
  }

  // Paper is narrower than screens and does not wait for plots to be laid out anew: it gets pictures.
  function printPictures() {
    for (const shown of Bokeh.documents) {
      for (const each of shown.roots()) {
        const view = Bokeh.index.get_by_id(each.id);
        const picture = new Image();
        picture.src = view.export("png", true).canvas.toDataURL();
        picture.alt = "";
        picture.className = "printed";
        view.el.closest(".plot").append(picture);
      }
    }
  }

  function dropPictures() {
    for (const picture of document.querySelectorAll(".printed")) picture.remove();
  }

  function show() {
    const off = new Set();
    for (const box of document.querySelectorAll("input[data-tag]")) {
      if (!box.checked) off.add(box.dataset.tag);
    }
    for (const model of models) {
      if (model.tags.some((tag) => /^(policy|run)-/.test(tag))) {
        model.visible = !model.tags.some((tag) => off.has(tag));
      }
    }
  }

  button.addEventListener("click", () => {
    root.dataset.scheme = scheme() === "dark" ? "light" : "dark";
    paint();
  });
  prefersDark.addEventListener("change", paint);
  addEventListener("beforeprint", printPictures);
  addEventListener("afterprint", dropPictures);
  for (const box of document.querySelectorAll("input[data-tag]")) {
    box.addEventListener("change", show);
  }

  async function draw() {
    const holder = document.getElementById("plots");
    if (holder !== null) {
      const {docs, items} = JSON.parse(holder.textContent);
      await Bokeh.embed.embed_items(docs, items);
      const found = new Set();
      for (const shown of Bokeh.documents) {
        for (const each of shown.roots()) {
          for (const model of each.references()) found.add(model);
        }
      }
      models = [...found];
      // On a touch screen a finger on a plot scrolls the page; zooming stays in the toolbar.
      if (matchMedia("(pointer: coarse)").matches) {
        for (const model of models) {
          if (model.type === "Toolbar") model.active_drag = null;
        }
      }
      paint();
      show();
    }
    root.dataset.drawn = "yes";
  }
  draw();
})();
