// The panel of selective search's hierarchy: up to the region that a region was merged into, and down to its parts.

import { $, make } from "./dom.js";
import { askArrays } from "./api.js";

export class TreePanel {
  constructor(page) {
    this.page = page;
    this.tree = null;
    this.asked = 0;
  }

  clear() {
    this.tree = null;
    this.asked++;
    $("tree").querySelector(".hint").hidden = false;
    $("tree").querySelector(".content").replaceChildren();
  }

  async show({ box }) {
    const turn = ++this.asked;
    const tree = await askArrays("api/tree", { ...this.page.question(), box });
    if (turn !== this.asked) return;
    tree.children = new Map();
    tree.parents.forEach((parent, node) => {
      if (parent >= 0) tree.children.set(parent, [...(tree.children.get(parent) ?? []), node]);
    });
    tree.pixels = countPixels(tree);
    this.tree = tree;
    this.go(tree.node);
  }

  box(node) {
    return Array.from(this.tree.boxes.subarray(4 * node, 4 * node + 4));
  }

  // Children, the larger first.
  parts(node) {
    return [...(this.tree.children.get(node) ?? [])].sort((a, b) => this.tree.pixels[b] - this.tree.pixels[a]);
  }

  go(node) {
    this.node = node;
    this.mask = this.drawMask(node);
    this.render();
    this.page.stage.draw();
  }

  render() {
    const { tree, node } = this, parent = tree.parents[node], parts = this.parts(node), path = [];
    for (let up = node; up >= 0; up = tree.parents[up]) path.push(up);
    const share = tree.pixels[node] / tree.labels.length, segments = (tree.boxes.length / 4 + 1) / 2;
    const sibling = parent >= 0 ? this.parts(parent).find((one) => one !== node) : undefined;
    const walk = (text, to) => {
      const button = make("button", { type: "button", onclick: () => this.go(to) }, text);
      button.disabled = to === undefined || to < 0;
      return button;
    };
    $("tree").querySelector(".hint").hidden = true;
    $("tree").querySelector(".content").replaceChildren(
      make("h2", { text: parts.length ? `Region ${node}` : `Segment ${node}` }),
      make("p", { text: `${(100 * share).toFixed(1)}% of the image, ${path.length - 1} merges below the whole image. One of the hierarchies: ${tree.origin}; ${segments} segments.` }),
      make("div", { className: "walk" }, walk("↑ merged into", parent), walk("↓ larger part", parts[0]), walk("↓ smaller part", parts[1]), walk("↔ other part", sibling)),
      make("p", { className: "quiet", text: "Also with the arrow keys on the image. White: the region; blue and orange: the two that were merged; dashed: what it was merged into." }),
      make("button", { type: "button", onclick: () => this.explain() }, "Evidence for this box"));
  }

  // The region stays where it is for the way back.
  explain() {
    this.picked = { box: clipped(this.box(this.node), this.page.image) };
    this.page.look(this.picked, "evidence");
  }

  press(key) {
    if (!this.tree) return false;
    const parent = this.tree.parents[this.node], parts = this.parts(this.node);
    const other = parent >= 0 ? this.parts(parent).find((one) => one !== this.node) : undefined;
    const to = { ArrowUp: parent, ArrowDown: parts[0], ArrowLeft: other, ArrowRight: other }[key];
    if (to === undefined || to < 0) return key.startsWith("Arrow");
    this.go(to);
    return true;
  }

  // The pixels of the node's two parts, in their colors.
  drawMask(node) {
    const { tree } = this, [rows, columns] = tree.labelsShape, colors = new Map();
    const fill = (start, color) => {
      const open = [start];
      while (open.length) {
        const next = open.pop(), parts = tree.children.get(next);
        if (parts) open.push(...parts);
        else colors.set(next, color);
      }
    };
    const parts = this.parts(node);
    if (parts.length) parts.forEach((part, k) => fill(part, k ? [230, 159, 0, 130] : [60, 140, 255, 130]));
    else fill(node, [60, 140, 255, 150]);
    const canvas = new OffscreenCanvas(columns, rows), c = canvas.getContext("2d"), picture = c.createImageData(columns, rows);
    tree.labels.forEach((label, i) => {
      const color = colors.get(label);
      if (color) picture.data.set(color, 4 * i);
    });
    c.putImageData(picture, 0, 0);
    return canvas;
  }

  paint(stage) {
    if (!this.tree) return;
    const parent = this.tree.parents[this.node];
    stage.context.drawImage(this.mask, 0, 0, stage.width * stage.scale, stage.height * stage.scale);
    if (parent >= 0) stage.box(this.box(parent), { color: "#fff", width: 1.5, dash: [5, 5], under: "rgba(0, 0, 0, 0.5)" });
    this.parts(this.node).forEach((part, k) => stage.box(this.box(part), { color: k ? "#e69f00" : "#3c8cff", width: 1.5 }));
    stage.box(this.box(this.node), { color: "#fff", width: 2.5, under: "#000" });
  }
}

// Pixels of each node: children come before their parents.
function countPixels({ labels, parents }) {
  const pixels = new Float64Array(parents.length);
  for (const label of labels) pixels[label]++;
  parents.forEach((parent, node) => {
    if (parent >= 0) pixels[parent] += pixels[node];
  });
  return pixels;
}

// In single precision a box of the whole image may reach out of it.
function clipped([x1, y1, x2, y2], { width, height }) {
  return [Math.max(0, x1), Math.max(0, y1), Math.min(width, x2), Math.min(height, y2)];
}
