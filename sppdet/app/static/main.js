// The page: which run, which image, which panel.

import { ask, askArrays, get, getBlob, send } from "./api.js";
import { Detections } from "./detections.js";
import { $, make } from "./dom.js";
import { EvidencePanel } from "./evidence.js";
import { RacePanel } from "./race.js";
import { Stage } from "./stage.js";
import { TreePanel } from "./tree.js";
import { ViewsPanel } from "./views.js";

const TABS = ["detections", "evidence", "tree", "race"];

class Page {
  constructor(state) {
    this.state = state;
    this.image = null;
    this.tab = "detections";
    this.picked = null; // the box that the panels of evidence and of the hierarchy are about
    this.turn = 0;
    this.stage = new Stage({
      onPick: (x, y) => this.isDetector() && this.pickAt(x, y),
      onBox: (box) => this.isDetector() && this.pick({ box }),
      onKey: (key) => this.tab === "tree" && this.tree.press(key),
    });
    this.stage.paint = (stage) => this.paint(stage);
    this.detections = new Detections(this);
    this.evidence = new EvidencePanel(this);
    this.tree = new TreePanel(this);
    this.race = new RacePanel(this);
    this.views = new ViewsPanel(this);
    $("run").replaceChildren(...state.runs.map((run, k) => make("option", { value: String(k), text: run.name })));
    $("run").addEventListener("input", () => this.attempt(this.choose(Number($("run").value))));
    this.listenToSources();
    this.listenToTabs();
  }

  isDetector() {
    return this.run.kind === "detector";
  }

  question() {
    return { image: this.image.image, run: this.index };
  }

  // Shows what goes wrong in one line.
  async attempt(promise) {
    try {
      $("error").hidden = true;
      await promise;
    } catch (error) {
      $("error").textContent = error.message;
      $("error").hidden = false;
      $("status").textContent = "";
      this.source = null;
    }
  }

  async choose(index) {
    this.index = index;
    this.run = this.state.runs[index];
    const { run } = this, classes = run.classes.length === 1 ? "1 class" : `${run.classes.length} classes`;
    $("about").textContent = this.isDetector() ? `${run.network}, ${run.features}, ${run.head}, ${classes}` : `classifier, ${classes}`;
    $("panel").hidden = !this.isDetector();
    $("classifier").hidden = this.isDetector();
    $("data").hidden = !run.splits.length;
    $("split").replaceChildren(...run.splits.map((name) => make("option", { text: name })));
    this.names = null;
    $("name").textContent = "";
    if (this.isDetector()) this.detections.begin(run);
    if (this.image) await this.compute();
  }

  // Shows an image that the server keeps, and what the run makes of it.
  async take(promise, source = null) {
    const turn = ++this.turn;
    this.source = source;
    $("status").textContent = "reading …";
    const image = await promise;
    const bitmap = await createImageBitmap(await getBlob(`api/picture/${image.image}`));
    if (turn !== this.turn) return;
    this.image = image;
    this.stage.show(bitmap, image.width, image.height);
    await this.compute();
  }

  async compute() {
    const turn = ++this.turn;
    this.picked = null;
    for (const panel of [this.detections, this.evidence, this.tree, this.race, this.views]) panel.clear();
    $("keys").hidden = !this.isDetector();
    this.stage.draw();
    $("status").textContent = "looking …";
    if (this.isDetector()) {
      const found = await askArrays("api/detect", this.question());
      if (turn !== this.turn) return;
      this.detections.take(found, this.image.truth);
      $("status").textContent = this.detections.describe();
      if (this.tab === "evidence" || this.tab === "tree") this.open("detections");
    } else {
      await this.views.show();
      this.stage.canvas.setAttribute("aria-label", "Image with the views of the classifier");
    }
    document.body.dataset.shown = String(turn);
  }

  // In the hierarchy any proposal will do, elsewhere only what is drawn.
  pickAt(x, y) {
    const { found } = this.detections, place = found && this.detections.at(x, y, this.tab === "tree" ? found.proposals.length / 4 : undefined);
    if (place) this.pick(place);
    else $("status").textContent = "no box there: draw one, or have proposals drawn";
  }

  // A box to look at: of a candidate, its proposal is what was scored.
  pick(place) {
    if (!this.image || !this.detections.found) return;
    const { candidate, box } = place, { found } = this.detections;
    if (candidate === undefined) {
      this.look({ box });
      return;
    }
    const region = found.regions[candidate];
    const proposal = Array.from(found.proposals.subarray(4 * region, 4 * region + 4));
    this.look({ box: proposal, drawn: box, label: found.labels[candidate] });
  }

  look(place, tab = this.tab === "tree" ? "tree" : "evidence") {
    this.picked = place;
    this.open(tab);
  }

  paint(stage) {
    if (!this.isDetector()) {
      this.views.paint(stage);
      return;
    }
    const chosen = (this.tab === "evidence" && this.evidence.shown) || (this.tab === "tree" && this.tree.tree);
    this.detections.paint(stage, chosen);
    if (this.tab === "evidence") this.evidence.paint(stage);
    if (this.tab === "tree") this.tree.paint(stage);
  }

  open(tab) {
    this.tab = tab;
    for (const name of TABS) {
      $(name).hidden = name !== tab;
      $(`tab-${name}`).setAttribute("aria-selected", String(name === tab));
      $(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
    }
    this.stage.draw();
    const panel = { evidence: this.evidence, tree: this.tree }[tab];
    if (!panel || !this.picked || panel.picked === this.picked) return;
    panel.picked = this.picked;
    this.attempt(panel.show(this.picked));
  }

  listenToTabs() {
    TABS.forEach((name, k) => {
      $(`tab-${name}`).addEventListener("click", () => this.open(name));
      $(`tab-${name}`).addEventListener("keydown", ({ key }) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
        if (!step) return;
        const other = TABS[(k + step + TABS.length) % TABS.length];
        this.open(other);
        $(`tab-${other}`).focus();
      });
    });
  }

  listenToSources() {
    const upload = (file) => {
      if (!file) return;
      const most = this.state.most_bytes;
      const sent = file.size > most
        ? Promise.reject(new Error(`${file.name}: too large (expected up to ${most >> 20} MB)`))
        : send("api/image", file).catch((error) => Promise.reject(new Error(`${file.name}: ${error.message}`)));
      this.attempt(this.take(sent));
    };
    $("choose").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => {
      upload($("file").files[0]);
      $("file").value = "";
    });
    addEventListener("dragover", (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
    addEventListener("dragleave", (event) => event.relatedTarget || $("drop").classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      $("drop").classList.remove("over");
      upload(event.dataTransfer.files[0]);
    });
    const step = (by) => {
      $("index").value = Math.max(1, Number($("index").value) + (this.names ? by : 0)); // the first press shows the first
      this.attempt(this.takeFromData());
    };
    $("previous").addEventListener("click", () => step(-1));
    $("next").addEventListener("click", () => step(1));
    $("index").addEventListener("change", () => step(0));
    $("split").addEventListener("input", () => {
      this.names = null;
      $("index").value = 1;
      step(0);
    });
  }

  async takeFromData() {
    const split = $("split").value;
    this.names ??= await get(`api/split/${this.index}/${split}`);
    const { images, names } = this.names, index = Math.min(images, Math.max(1, Math.round(Number($("index").value)) || 1)) - 1;
    $("index").value = index + 1;
    $("index").max = images;
    $("name").textContent = `of ${images.toLocaleString("en")}: ${names[index] ?? ""}`;
    const source = JSON.stringify([this.index, split, index]);
    if (source === this.source) return; // a number is changed again when it loses the focus
    await this.take(ask("api/data-image", { run: this.index, split, index }), source);
  }
}

try {
  const page = new Page(await get("api/state"));
  await page.attempt(page.choose(0));
  document.body.dataset.ready = "true";
} catch (error) {
  $("error").textContent = error.message;
  $("error").hidden = false;
}
