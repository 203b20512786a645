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
  function recolor(run, threshold) {
    const thresholds = data.runs[run].thresholds;
    for (const layer of document.querySelectorAll(`.layer[data-run="${run}"]`)) {
      const found = new Set();
      for (const box of layer.querySelectorAll(".found")) {
        const kept = Number(box.dataset.score) >= (threshold === null ? thresholds[box.dataset.label - 1] - 1e-5 : threshold);
        box.classList.toggle("low", !kept);
        if (kept) found.add(box.dataset.object);
      }
      for (const box of layer.querySelectorAll(".truth:not(.difficult)")) {
        box.classList.toggle("missed", !found.has(box.dataset.object));
      }
    }
  }

  function prepare(slider) {
    const run = slider.dataset.run, probable = slider.dataset.probabilities === "1";
    const scores = [...document.querySelectorAll(`.layer[data-run="${run}"] .found`)].map((box) => Number(box.dataset.score));
    const least = probable ? 0 : Math.min(0, ...scores), most = probable ? 1 : Math.max(1, ...scores);
    Object.assign(slider, { min: least, max: most, step: (most - least) / 100 });
    const middle = [...data.runs[run].thresholds].sort((a, b) => a - b);
    const start = middle.length ? middle[Math.floor(middle.length / 2)] : 0;
    const output = slider.parentElement.querySelector("output");
    slider.value = start;
    slider.addEventListener("input", () => {
      const value = Number(slider.value);
      output.textContent = probable ? `${Math.round(100 * value)}%` : value.toFixed(2);
      recolor(run, value);
    });
    find("reset").addEventListener("click", () => {
      slider.value = start;
      output.textContent = "of each class";
      recolor(run, null);
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
