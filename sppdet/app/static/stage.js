// The image with what is drawn on it, and the boxes that a mouse, a finger or the keyboard draws there.

import { $, colorOf, inkOn, shortened } from "./dom.js";

const STEP = 0.02; // of the image's side, for one press of an arrow

export class Stage {
  constructor({ onPick, onBox, onKey }) {
    this.canvas = $("canvas");
    this.context = this.canvas.getContext("2d");
    this.paint = () => {};
    this.onPick = onPick;
    this.onBox = onBox;
    this.onKey = onKey;
    this.draft = null; // the box that is being drawn, in pixels of the image
    new ResizeObserver(() => this.fit()).observe($("drop"));
    this.listen();
  }

  show(bitmap, width, height) {
    Object.assign(this, { bitmap, width, height, draft: null });
    $("empty").hidden = true;
    this.canvas.hidden = false;
    this.fit();
  }

  fit() {
    if (!this.bitmap) return;
    const wide = $("drop").clientWidth, high = Math.max(260, Math.round(innerHeight * 0.74));
    this.scale = Math.min(wide / this.width, high / this.height, Math.max(1, 480 / Math.max(this.width, this.height)) * 2);
    const density = devicePixelRatio || 1;
    const [w, h] = [this.width * this.scale, this.height * this.scale].map((side) => Math.max(1, Math.round(side)));
    this.canvas.style.width = `${w}px`;
    this.canvas.style.height = `${h}px`;
    this.canvas.width = Math.round(w * density);
    this.canvas.height = Math.round(h * density);
    this.density = density;
    this.draw();
  }

  draw() {
    if (!this.bitmap) return;
    const c = this.context;
    c.setTransform(this.density, 0, 0, this.density, 0, 0);
    c.drawImage(this.bitmap, 0, 0, this.canvas.width / this.density, this.canvas.height / this.density);
    this.paint(this);
    if (this.draft) this.box(this.draft, { color: "#fff", width: 2, dash: [6, 4], under: "#000" });
  }

  rectangle([x1, y1, x2, y2]) {
    const s = this.scale;
    return [x1 * s, y1 * s, (x2 - x1) * s, (y2 - y1) * s];
  }

  box(box, { color, width = 2, dash = [], under = null }) {
    const c = this.context, rectangle = this.rectangle(box);
    if (under) {
      c.setLineDash([]);
      c.lineWidth = width + 2;
      c.strokeStyle = under;
      c.strokeRect(...rectangle);
    }
    c.setLineDash(dash);
    c.lineWidth = width;
    c.strokeStyle = color;
    c.strokeRect(...rectangle);
    c.setLineDash([]);
  }

  // Many boxes of one color, in one path: boxes is flat.
  boxes(boxes, count, color) {
    const c = this.context;
    c.beginPath();
    for (let i = 0; i < count; i++) c.rect(...this.rectangle(boxes.subarray(4 * i, 4 * i + 4)));
    c.lineWidth = 1;
    c.strokeStyle = color;
    c.stroke();
  }

  label(box, name, text, label) {
    const c = this.context, [x, y] = this.rectangle(box);
    c.font = "600 13px system-ui, sans-serif";
    const words = `${shortened(name)} ${text}`, wide = c.measureText(words).width + 8;
    const left = Math.max(0, Math.min(x - 1, this.width * this.scale - wide));
    const top = y >= 19 ? y - 19 : Math.max(0, y);
    c.fillStyle = colorOf(label);
    c.fillRect(left, top, wide, 19);
    c.fillStyle = inkOn(label);
    c.fillText(words, left + 4, top + 14);
  }

  // Values of cells over the image: red for, blue against. first: cell (0, 0) in pixels of the image.
  cells(cells, first, limit) {
    const c = this.context, [x1, y1, x2, y2] = first, w = x2 - x1, h = y2 - y1;
    cells.forEach((row, i) => row.forEach((value, j) => {
      if (!value) return;
      c.fillStyle = heat(value, limit);
      c.fillRect(...this.rectangle([x1 + j * w, y1 + i * h, x1 + (j + 1) * w, y1 + (i + 1) * h]));
    }));
  }

  listen() {
    const canvas = this.canvas;
    let start = null;
    const place = (event) => {
      const { left, top } = canvas.getBoundingClientRect();
      return [[event.clientX - left, this.width], [event.clientY - top, this.height]]
        .map(([at, side]) => Math.max(0, Math.min(side, at / this.scale)));
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = place(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [x, y] = place(event), box = [Math.min(x, start[0]), Math.min(y, start[1]), Math.max(x, start[0]), Math.max(y, start[1])];
      const drawn = Math.max(box[2] - box[0], box[3] - box[1]) * this.scale > 8;
      this.draft = drawn || this.draft ? box : null;
      this.draw();
    });
    const end = (event, taken) => {
      if (!start) return;
      const box = this.draft, at = place(event);
      start = this.draft = null;
      this.draw();
      if (!taken) return;
      if (!box) this.onPick(...at);
      else if (box[2] - box[0] >= 1 && box[3] - box[1] >= 1) this.onBox(box);
    };
    canvas.addEventListener("pointerup", (event) => end(event, true));
    canvas.addEventListener("pointercancel", (event) => end(event, false));
    canvas.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    if (!this.bitmap || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { width, height } = this;
    if (event.key.toLowerCase() === "b") this.draft = [width * 0.3, height * 0.3, width * 0.7, height * 0.7];
    else if (this.draft && move) this.draft = shifted(this.draft, move, event.shiftKey, width, height);
    else if (this.draft && event.key === "Enter") {
      const box = this.draft;
      this.draft = null;
      this.onBox(box);
    } else if (this.draft && event.key === "Escape") this.draft = null;
    else if (!this.onKey(event.key)) return;
    event.preventDefault();
    this.draw();
  }
}

function shifted([x1, y1, x2, y2], [right, down], resize, width, height) {
  const dx = right * width * STEP, dy = down * height * STEP;
  if (resize) return [x1, y1, Math.min(width, Math.max(x1 + 4, x2 + dx)), Math.min(height, Math.max(y1 + 4, y2 + dy))];
  const mx = Math.max(-x1, Math.min(width - x2, dx)), my = Math.max(-y1, Math.min(height - y2, dy));
  return [x1 + mx, y1 + my, x2 + mx, y2 + my];
}

export function heat(value, limit, opacity = 0.75) {
  const strength = Math.sqrt(Math.min(1, Math.abs(value) / limit)) * opacity;
  return value > 0 ? `rgba(200, 20, 40, ${strength})` : `rgba(30, 90, 220, ${strength})`;
}
