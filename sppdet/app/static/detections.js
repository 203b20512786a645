// The panel of detections: sliders that select from the candidates again, without a request.

import { $, colorOf, counted, make, number, percent, seconds } from "./dom.js";
import { suppress, vote } from "./nms.js";

const LABELED = 80; // boxes that have their name drawn
const LISTED = 100;

export class Detections {
  constructor(page) {
    this.page = page;
    for (const id of ["nms", "vote", "proposals", "truth", "class"]) $(id).addEventListener("input", () => this.update());
    $("own").addEventListener("input", () => this.update());
    $("score").addEventListener("input", () => {
      $("own").checked = false;
      this.update();
    });
  }

  // Sliders of a run, as its detector selects.
  begin(run) {
    this.run = run;
    this.found = null;
    const [low, high, start] = run.calibrated ? [0, 1, 0.5] : run.head === "softmax" ? [0, 1, 0.3] : [Math.max(-1.5, run.lowest), 1, 0];
    Object.assign($("score"), { min: low, max: high, step: 0.01, value: start });
    $("score-name").textContent = run.calibrated ? "Probability from" : run.head === "softmax" ? "Score from" : "Margin from";
    $("own").checked = true;
    $("nms").value = run.nms_iou;
    $("vote").value = run.vote_iou;
    $("class").replaceChildren(make("option", { value: "0", text: "all" }),
      ...run.classes.map((name, k) => make("option", { value: String(k + 1), text: name })));
  }

  clear() {
    this.found = null;
    $("count").textContent = "";
    $("list").replaceChildren();
  }

  take(found, truth) {
    this.found = found;
    this.truth = truth;
    const count = found.proposals.length / 4;
    Object.assign($("proposals"), { max: count, value: 0 });
    $("truth-label").hidden = !truth;
    this.update();
  }

  text(i) {
    return this.found.probabilities ? percent(this.found.probabilities[i]) : number(this.found.scores[i]);
  }

  isShown() {
    const { scores, labels, probabilities } = this.found, { thresholds } = this.run, only = Number($("class").value);
    if ($("own").checked) {
      const bounds = thresholds.map((one) => Math.fround(one ?? -Infinity));
      return (i) => scores[i] >= bounds[labels[i] - 1] && (!only || labels[i] === only);
    }
    const values = probabilities ?? scores, bound = Math.fround($("score").value);
    return (i) => values[i] >= bound && (!only || labels[i] === only);
  }

  update() {
    const began = performance.now();
    for (const id of ["nms", "vote"]) $(`${id}-value`).textContent = number(Number($(id).value));
    if ($("vote").value >= 1) $("vote-value").textContent = "1: no vote";
    $("proposals-value").textContent = Number($("proposals").value).toLocaleString("en");
    $("score-value").textContent = $("own").checked ? "each class's own" : this.run.calibrated ? percent(Number($("score").value)) : number(Number($("score").value));
    if (!this.found) return;
    this.kept = suppress(this.found, this.isShown(), Number($("nms").value), this.run.max_per_class);
    this.boxes = vote(this.found, this.kept, Number($("vote").value), this.run.lowest);
    this.list();
    this.page.stage.draw();
    this.lastUpdate = performance.now() - began;
    document.body.dataset.redraw = this.lastUpdate.toFixed(1);
  }

  list() {
    const { labels } = this.found, { classes } = this.run;
    $("count").textContent = `${counted(this.kept.length, "detection")} of ${counted(labels.length, "candidate")}`;
    if (!this.kept.length) $("count").textContent += "; move the score to the left to see more";
    const values = this.found.probabilities ?? this.found.scores;
    const rows = this.kept.map((i, k) => ({ i, k })).sort((a, b) => values[b.i] - values[a.i]);
    $("list").replaceChildren(...rows.slice(0, LISTED).map(({ i, k }) => {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = colorOf(labels[i]);
      const press = () => this.page.pick({ candidate: i, box: this.boxes[k] });
      return make("li", {}, make("button", { type: "button", onclick: press }, swatch,
        make("span", { className: "name", text: classes[labels[i] - 1] }), make("span", { className: "value", text: this.text(i) })));
    }));
  }

  describe() {
    const names = this.kept.slice(0, 12).map((i) => `${this.run.classes[this.found.labels[i] - 1]} ${this.text(i)}`);
    const stages = Object.entries(this.found.seconds);
    const total = stages.reduce((sum, [, value]) => sum + value, 0);
    const parts = stages.map(([name, value]) => `${name} ${seconds(value)}`).join(", ");
    this.page.stage.canvas.setAttribute("aria-label", `Image with ${counted(this.kept.length, "detection")}: ${names.join(", ")}`);
    return `${counted(this.found.proposals.length / 4, "proposal")}, scored in ${seconds(total)} (${parts})`;
  }

  paint(stage, chosen) {
    if (!this.found) return;
    const { labels, proposals } = this.found;
    if (chosen) return;
    stage.boxes(proposals, Number($("proposals").value), "rgba(120, 220, 255, 0.5)");
    if (this.truth && $("truth").checked)
      for (const { box } of this.truth) stage.box(box, { color: "#fff", width: 2, dash: [5, 4], under: "rgba(0, 0, 0, 0.6)" });
    for (let k = this.kept.length - 1; k >= 0; k--)
      stage.box(this.boxes[k], { color: colorOf(labels[this.kept[k]]), width: 2.5, under: "rgba(0, 0, 0, 0.55)" });
    for (let k = Math.min(LABELED, this.kept.length) - 1; k >= 0; k--)
      stage.label(this.boxes[k], this.run.classes[labels[this.kept[k]] - 1], this.text(this.kept[k]), labels[this.kept[k]]);
  }

  // The smallest box at a place: a detection, or else a proposal among the first `count`.
  at(x, y, count = Number($("proposals").value)) {
    if (!this.found) return null;
    const holds = ([x1, y1, x2, y2]) => x1 <= x && x <= x2 && y1 <= y && y <= y2;
    const size = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
    const smallest = (rows) => rows.filter(({ box }) => holds(box)).sort((a, b) => size(a.box) - size(b.box))[0];
    const first = Array.from({ length: count },
      (_, i) => ({ box: Array.from(this.found.proposals.subarray(4 * i, 4 * i + 4)) }));
    return smallest(this.kept.map((candidate, k) => ({ candidate, box: this.boxes[k] }))) ?? smallest(first) ?? null;
  }
}
