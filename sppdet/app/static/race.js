// The race: the same regions as SPPnet and as R-CNN, with the seconds of each stage as they pass.

import { $, counted, make, seconds } from "./dom.js";
import { follow } from "./api.js";

const STAGES = ["preprocess", "conv", "pooling", "heads", "nms"];
const REGIONS = (position) => Math.round(10 * 200 ** (position / 100) / 5) * 5; // 10 to 2,000

export class RacePanel {
  constructor(page) {
    this.page = page;
    this.turn = 0;
    $("regions").addEventListener("input", () => this.label());
    $("start").addEventListener("click", () => page.attempt(this.run()));
    this.label();
  }

  label() {
    $("regions-value").textContent = REGIONS(Number($("regions").value)).toLocaleString("en");
  }

  // A race that is on is left: it is of another image, or of another run.
  clear() {
    this.turn++;
    this.times = {};
    $("race").querySelector(".content").replaceChildren();
  }

  async run() {
    if (!this.page.image || $("start").disabled) return;
    this.clear();
    const { turn } = this;
    $("start").disabled = true;
    try {
      await follow("api/race", { ...this.page.question(), regions: REGIONS(Number($("regions").value)) }, (event) => {
        if (turn !== this.turn) return false;
        if (event.regions) this.regions = event.regions;
        else this.times[event.racer] = event;
        this.render();
        return true;
      });
    } finally {
      $("start").disabled = false;
    }
  }

  render() {
    const rows = Object.values(this.times);
    const total = ({ seconds: stages }) => STAGES.reduce((sum, name) => sum + (stages[name] ?? 0), 0);
    const longest = Math.max(...rows.map(total), 1e-9);
    const parts = rows.map((row) => {
      const track = make("div", { className: "lane" });
      for (const name of STAGES) {
        const part = make("span", { className: name, title: `${name} ${seconds(row.seconds[name] ?? 0)}` });
        part.style.width = `${(100 * (row.seconds[name] ?? 0)) / longest}%`;
        track.append(part);
      }
      const found = row.detections === undefined ? " …" : `: ${counted(row.detections, "detection")}`;
      const stages = STAGES.filter((name) => row.seconds[name]).map((name) => `${name} ${seconds(row.seconds[name])}`);
      return make("div", { className: "racer" }, make("strong", { text: row.racer }), ` ${seconds(total(row))}${found}`, track,
        make("span", { className: "quiet", text: stages.join(", ") }));
    });
    const legend = make("p", { className: "legend" }, ...STAGES.map((name) => make("span", {}, make("i", { className: name }), ` ${name} `)));
    const done = rows.length === 2 && rows.every((row) => row.detections !== undefined);
    const times = done ? total(this.times["R-CNN"]) / total(this.times.SPPnet) : 0;
    const verdict = done ? [make("p", { className: "verdict", role: "status", text: `On ${counted(this.regions, "region")} R-CNN takes ${times.toFixed(1)} times as long as SPPnet.` })] : [];
    $("race").querySelector(".content").replaceChildren(...parts, ...(rows.length ? [legend] : []), ...verdict);
  }
}
