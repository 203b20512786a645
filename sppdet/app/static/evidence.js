// The panel of evidence: the scores of a box, and the bins and cells that one of them comes from.

import { $, bars, make, number, percent, signed } from "./dom.js";
import { heat } from "./stage.js";
import { ask } from "./api.js";

const HINT = "Click a box in the image, or draw one.";
const NUMBERED = 6; // bins per side up to which each has its number

export class EvidencePanel {
  constructor(page) {
    this.page = page;
    this.shown = null;
    this.asked = 0;
  }

  clear() {
    this.shown = null;
    this.asked++;
    $("evidence").querySelector(".hint").hidden = false;
    $("evidence").querySelector(".content").replaceChildren();
  }

  // box: the region that is pooled. drawn: the detection that came of it.
  async show({ box, drawn = null, label = null }) {
    const turn = ++this.asked;
    const hint = $("evidence").querySelector(".hint");
    hint.textContent = "Computing …"; // the first call prepares, for seconds
    const answer = await ask("api/evidence", { ...this.page.question(), box, label }).finally(() => (hint.textContent = HINT));
    if (turn !== this.asked) return;
    this.shown = { ...answer, drawn };
    this.render();
    this.page.stage.draw();
  }

  render() {
    const { run } = this.page, { label, scores, probabilities, evidence, reason, box, drawn } = this.shown;
    const name = run.classes[label - 1], unit = run.head === "softmax" ? "logit" : "margin";
    const chance = probabilities ? `: ${percent(probabilities[label - 1])}` : "";
    const title = make("h2", { text: `${name}${chance}` });
    const parts = [title];
    if (evidence) {
      const sum = evidence.maps.map((part, k) => `${signed(part.total)} (map ${k + 1})`).join(" ");
      parts.push(make("p", { className: "sum", text: `${unit} ${number(evidence.score)} = ${number(evidence.bias)} (bias) ${sum}` }));
      const overlay = make("input", { type: "checkbox", id: "overlay", oninput: () => this.page.stage.draw() });
      overlay.checked = true;
      parts.push(make("label", { className: "check" }, overlay, " cells on the image: red speaks for it, blue against it"));
      evidence.maps.forEach((part, k) => parts.push(this.map(part, k)));
    } else parts.push(make("p", { text: `${unit} ${number(scores[label - 1])}. ${reason}.` }));
    const values = probabilities ?? scores, order = scores.map((_, k) => k);
    order.sort((a, b) => values[b] - values[a] || scores[b] - scores[a]);
    const high = probabilities ? 1 : Math.max(...scores), low = probabilities ? 0 : Math.min(...scores);
    parts.push(make("h3", { text: "All classes" }), make("p", { className: "quiet", text: "Press one to see what speaks for it here." }));
    parts.push(bars(order.map((k) => ({
      name: run.classes[k], value: values[k], chosen: k + 1 === label,
      text: probabilities ? `${percent(probabilities[k])} · ${number(scores[k])}` : number(scores[k]),
      press: () => this.page.attempt(this.show({ box, drawn, label: k + 1 })),
    })), low, high));
    $("evidence").querySelector(".hint").hidden = true;
    $("evidence").querySelector(".content").replaceChildren(...parts);
  }

  map(part, k) {
    const [x1, y1, x2, y2] = part.window, size = `${+(y2 - y1).toFixed(1)} × ${+(x2 - x1).toFixed(1)}`;
    const figures = [figure(windowPicture(part), `window of ${size} cells`)];
    const limit = Math.max(...part.levels.flat(2).map(Math.abs), 1e-9);
    for (const level of part.levels) {
      const total = level.flat().reduce((a, b) => a + b, 0), n = level.length;
      figures.push(figure(bins(level, limit), `${n} × ${n} ${n === 1 ? "bin" : "bins"}: ${signed(total)}`));
    }
    return make("div", {}, make("h3", { text: `Map ${k + 1}: ${signed(part.total)}` }), make("div", { className: "figures" }, ...figures));
  }

  paint(stage) {
    if (!this.shown) return;
    const { evidence, box, drawn } = this.shown;
    if (evidence && $("overlay")?.checked) {
      const most = evidence.maps.map((part) => Math.max(...part.cells.flat().map(Math.abs)));
      evidence.maps.forEach((part) => stage.cells(part.cells, part.first_cell, Math.max(...most) || 1));
    }
    stage.box(box, { color: "#fff", width: 2, dash: [6, 4], under: "#000" });
    if (drawn) stage.box(drawn, { color: "#2fd06f", width: 2.5, under: "#000" });
  }
}

const figure = (content, caption) => make("figure", {}, content, make("figcaption", { text: caption }));

// The cells of the map around the window, and the window.
function windowPicture({ cells, window }) {
  const [x1, y1, x2, y2] = window, side = 152, canvas = make("canvas", { "aria-hidden": "true" }), c = canvas.getContext("2d");
  const left = Math.max(0, Math.floor(x1) - 2), top = Math.max(0, Math.floor(y1) - 2);
  const right = Math.min(cells[0].length, Math.ceil(x2) + 2), bottom = Math.min(cells.length, Math.ceil(y2) + 2);
  const step = side / Math.max(right - left, bottom - top), limit = Math.max(...cells.flat().map(Math.abs), 1e-9);
  canvas.width = 2 * step * (right - left);
  canvas.height = 2 * step * (bottom - top);
  canvas.style.width = `${canvas.width / 2}px`;
  c.scale(2, 2);
  c.fillStyle = "#fff";
  c.fillRect(0, 0, side, side);
  for (let y = top; y < bottom; y++)
    for (let x = left; x < right; x++) {
      c.fillStyle = heat(cells[y][x], limit, 1);
      c.fillRect((x - left) * step, (y - top) * step, step - 0.3, step - 0.3);
    }
  c.lineWidth = 2;
  c.strokeStyle = "#000";
  c.strokeRect((x1 - left) * step + 1, (y1 - top) * step + 1, (x2 - x1) * step - 2, (y2 - y1) * step - 2);
  return canvas;
}

function bins(level, limit) {
  const n = level.length, grid = make("div", { className: n > 3 ? "bins fine" : "bins" });
  grid.style.gridTemplateColumns = `repeat(${n}, 1fr)`;
  for (const value of level.flat()) {
    const cell = make("span", { text: n <= NUMBERED ? signed(value) : "", title: signed(value, 4) });
    const color = heat(value, limit, 0.6); // over white, so that black numbers are legible on it
    cell.style.backgroundImage = `linear-gradient(${color}, ${color})`;
    grid.append(cell);
  }
  return grid;
}
