// The panel of a classifier: the views of the image, and what each says.

import { $, bars, counted, make, percent } from "./dom.js";
import { ask } from "./api.js";

const NAMED = 5; // classes

export class ViewsPanel {
  constructor(page) {
    this.page = page;
    this.answer = null;
    $("views").addEventListener("input", () => page.image && page.attempt(this.show()));
  }

  clear() {
    this.answer = this.chosen = null;
    $("classifier").querySelector(".content").replaceChildren();
  }

  async show() {
    this.answer = await ask("api/views", { ...this.page.question(), views: $("views").value || null });
    this.chosen = null;
    this.render();
    this.page.stage.draw();
    const { width, height } = this.page.image;
    $("status").textContent = `${width} × ${height} pixels, ${counted(this.answer.views.length, "view")}`;
  }

  rows(probabilities) {
    const order = probabilities.map((_, k) => k).sort((a, b) => probabilities[b] - probabilities[a]);
    return order.slice(0, NAMED).map((k) => ({ name: this.page.run.classes[k], value: probabilities[k], text: percent(probabilities[k]) }));
  }

  render() {
    const { views, probabilities } = this.answer;
    const choose = (k) => {
      this.chosen = this.chosen === k ? null : k;
      this.render();
      this.page.stage.draw();
    };
    const list = make("ol", { className: "rows" }, ...views.map((view, k) => {
      const [best] = this.rows(view.probabilities), [height, width] = view.size;
      const button = make("button", { type: "button", onclick: () => choose(k) },
        make("span", { className: "name", text: `${best.name}${view.mirrored ? " (mirrored)" : ""}` }),
        make("span", { className: "quiet", text: `at ${width} × ${height}` }), make("span", { className: "value", text: best.text }));
      if (this.chosen === k) button.setAttribute("aria-current", "true");
      return make("li", {}, button);
    }));
    const shown = this.chosen === null ? probabilities : views[this.chosen].probabilities;
    const title = this.chosen === null ? `Mean of ${counted(views.length, "view")}` : `View ${this.chosen + 1}`;
    $("classifier").querySelector(".content").replaceChildren(
      make("h2", { text: title }), bars(this.rows(shown), 0, 1), make("h3", { text: "Views" }), list);
  }

  paint(stage) {
    if (!this.answer) return;
    const place = ([x1, y1, x2, y2]) => [x1 * stage.width, y1 * stage.height, x2 * stage.width, y2 * stage.height];
    this.answer.views.forEach(({ box }, k) => k !== this.chosen && stage.box(place(box), { color: "#56b4e9", width: 1.5, under: "rgba(0, 0, 0, 0.5)" }));
    if (this.chosen !== null) stage.box(place(this.answer.views[this.chosen].box), { color: "#e69f00", width: 4, under: "#000" });
  }
}
