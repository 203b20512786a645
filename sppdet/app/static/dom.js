// Small helpers to build the page. Text is always set as text, so names cannot become markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const { className, text, ...rest } = options;
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(rest)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const number = (value, digits = 2) => {
  const text = value.toFixed(digits).replace("-", "−");
  return /[1-9]/.test(text) ? text : text.replace("−", "");
};
export const signed = (value, digits = 2) => {
  const text = number(value, digits);
  return text.startsWith("−") ? text : `+${text}`;
};
export const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;
export const seconds = (value) => (value < 0.1 ? `${(1000 * value).toFixed(0)} ms` : `${value.toFixed(2)} s`);
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
export const shortened = (name) => (name.length > 28 ? `${name.slice(0, 27)}…` : name);

// Colors that color-blind people tell apart (Okabe and Ito).
const COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2", "#b8b8b8"];
export const colorOf = (label) => COLORS[(label - 1) % COLORS.length];
export const inkOn = (label) => ([4, 6].includes((label - 1) % COLORS.length) ? "#fff" : "#000");

// A bar for each row {name, value, text, press}, the longest first if they are sorted so; lengths from `low` to `high`.
export function bars(rows, low, high) {
  return make("ol", { className: "bars" }, ...rows.map((row) => {
    const fill = make("span", { className: "fill" });
    fill.style.width = `${Math.max(0, Math.min(100, (100 * (row.value - low)) / (high - low || 1)))}%`;
    const parts = [make("span", { className: "name", text: shortened(row.name), title: row.name }),
      make("span", { className: "track" }, fill), make("span", { className: "value", text: row.text })];
    const line = row.press ? make("button", { type: "button", onclick: row.press }, ...parts) : make("div", {}, ...parts);
    if (row.chosen) line.setAttribute("aria-current", "true");
    return make("li", {}, line);
  }));
}
