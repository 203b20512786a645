"use strict";
(() => {
  const STEP = 48; // cards shown at first, and added by "Show more"
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const find = (id) => document.getElementById(id);
  const cards = [...find("cards").querySelectorAll(".card")];
  const filters = { run: find("filter-run"), kind: find("filter-kind"), label: find("filter-class") };
  const low = find("filter-low"), high = find("filter-high"), more = find("more");
  const sliders = [...document.querySelectorAll(".threshold")];
  let room = STEP;

  function number(field) {
    return field.value === "" ? null : Number(field.value);
  }

  function fits(card) {
    for (const [key, field] of Object.entries(filters)) {
      if (field && field.value !== "" && card.dataset[key] !== field.value) return false;
    }
    const least = number(low), most = number(high);
    if (least === null && most === null) return true;
    const score = card.dataset.score === undefined ? null : Number(card.dataset.score);
    return score !== null && (least === null || score >= least) && (most === null || score <= most);
  }

  function show() {
    const fitting = cards.filter(fits);
    const shown = new Set(fitting.slice(0, room));
    for (const card of cards) card.hidden = !shown.has(card);
    more.hidden = fitting.length <= room;
    find("shown").textContent = `${shown.size} of ${fitting.length} pictures`;
  }

  // A detection below the threshold finds nothing: its object is missed. Objects are matched best score first, so that
  // a threshold takes matches away and changes none.
  function recolor(layers, thresholdOf) {
    for (const { boxes, truth } of layers) {
      const found = new Set();
      for (const one of boxes) {
        const kept = one.score >= thresholdOf(one.label);
        mark(one, "low", !kept);
        if (kept) found.add(one.object);
      }
      for (const one of truth) mark(one, "missed", !found.has(one.object));
    }
  }

  function mark(one, name, value) {
    if (one.marked !== value) one.element.classList.toggle(name, value);
    one.marked = value;
  }

  function readBoxes(parent, selector, name) {
    return [...parent.querySelectorAll(selector)].map((element) => {
      const { score, label, object } = element.dataset;
      return { element, score: Number(score), label: Number(label), object, marked: element.classList.contains(name) };
    });
  }

  function prepare(slider) {
    const run = slider.dataset.run, probable = slider.dataset.probabilities === "1";
    const layers = [...document.querySelectorAll(`.layer[data-run="${run}"]`)].map((layer) => (
      { boxes: readBoxes(layer, ".found", "low"), truth: readBoxes(layer, ".truth:not(.difficult)", "missed") }
    ));
    const scores = layers.flatMap((layer) => layer.boxes.map((one) => one.score));
    const least = probable ? 0 : Math.min(0, ...scores), most = probable ? 1 : Math.max(1, ...scores);
    Object.assign(slider, { min: least, max: most, step: (most - least) / 100 });
    const middle = [...data.runs[run].thresholds].sort((a, b) => a - b);
    const start = middle.length ? middle[Math.floor(middle.length / 2)] : 0;
    const output = slider.parentElement.querySelector("output");
    slider.value = start;
    slider.addEventListener("input", () => {
      const value = Number(slider.value);
      output.textContent = probable ? `${Math.round(100 * value)}%` : value.toFixed(2);
      recolor(layers, () => value);
    });
    find("reset").addEventListener("click", () => {
      slider.value = start;
      output.textContent = "of each class";
      recolor(layers, (label) => data.runs[run].thresholds[label - 1] - 1e-5);
    });
  }

  function addZoom(card) {
    const button = document.createElement("button");
    const picture = card.querySelector("svg");
    button.type = "button";
    button.className = "zoom";
    button.textContent = "⤢";
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `Enlarge ${picture.getAttribute("aria-label")}`);
    const toggle = () => {
      const large = card.classList.toggle("large");
      button.setAttribute("aria-expanded", String(large));
      if (large) card.scrollIntoView({ block: "nearest" });
    };
    button.addEventListener("click", toggle);
    picture.addEventListener("click", toggle);
    card.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && card.classList.contains("large")) toggle();
    });
    card.append(button);
  }

  for (const field of [...Object.values(filters), low, high]) {
    if (field) field.addEventListener("input", () => { room = STEP; show(); });
  }
  more.addEventListener("click", () => { room += STEP; show(); });
  find("reset").addEventListener("click", () => {
    for (const field of [...Object.values(filters), low, high]) if (field) field.value = "";
    room = STEP;
    show();
  });
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  document.querySelectorAll(".card").forEach(addZoom);
  sliders.forEach(prepare);
  find("filters").hidden = false;
  if (cards.length) show();
})();
