// Charts of a History: SVG that is built once and redrawn with each report.

import { LIMIT } from "./history.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const LEFT = 44, TOP = 6, BOTTOM = 18;
const STEP_MS = 2000;
/** Steps of a bar. */
const GROUP = 5;
/** Steps that a chart shows: two, five, ten minutes. */
const WINDOWS = [60, 150, LIMIT];

const total = (values) => values.reduce((left, right) => left + right, 0);

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The next of 1, 2, 5, 10, 20 … that is not below a value. */
export function niceMaximum(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((bound) => bound >= value * 0.999);
}

/** One chart: a caption with the present numbers (or those under the pointer), and curves or bars. */
export class Chart {
  /**
   * @param figure the element to fill
   * @param title what is shown
   * @param series `{ name, tone, value(point) }` each
   * @param format a number as text
   * @param kind "line", "log" (a logarithmic scale) or "bars" (stacked)
   */
  constructor(figure, title, series, format, kind = "line") {
    Object.assign(this, { figure, title, series, format, kind, points: [], hovered: null });
    this.caption = document.createElement("figcaption");
    this.canvas = svg("svg", { role: "img" });
    figure.append(this.caption, this.canvas);
    this.canvas.addEventListener("pointermove", (event) => this.hover(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => this.hover(null));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  update(points, series = this.series) {
    this.points = points;
    this.series = series;
    this.draw();
  }

  hover(x) {
    const width = this.canvas.clientWidth - LEFT;
    const back = x === null ? null : Math.round(((LEFT + width - x) / width) * (this.window - 1));
    this.hovered = back === null ? null : this.points.length - 1 - back;
    this.draw();
  }

  draw() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width) return;
    this.area = { width: width - LEFT, height: height - TOP - BOTTOM };
    // A new page has little to show, so the window grows with its age.
    this.window = WINDOWS.find((steps) => steps >= this.points.length);
    this.canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawCaption();
    const values = this.kind === "bars" ? this.groups().map(total) : this.points.flatMap((point) => this.heights(point));
    const maximum = Math.max(0, ...values);
    const hasData = this.kind === "line" ? values.length > 0 : maximum > 0;
    this.top = niceMaximum(maximum);
    const parts = this.grid(hasData);
    if (hasData) parts.push(...(this.kind === "bars" ? this.bars() : this.series.flatMap((one) => this.curve(one))));
    else parts.push(svg("text", { class: "nothing", x: LEFT + this.area.width / 2, y: TOP + this.area.height / 2 + 4 }, "Nothing yet"));
    if (this.points[this.hovered]) {
      const x = this.x(this.hovered);
      parts.push(svg("line", { class: "cursor", x1: x, x2: x, y1: TOP, y2: TOP + this.area.height }));
    }
    this.canvas.replaceChildren(...parts);
  }

  heights(point) { return this.series.map((one) => one.value(point)).filter((value) => value !== null); }

  /** The bars, latest first: for each the sums of the series. Bars for single steps would be too thin. */
  groups() {
    const sums = [];
    this.points.forEach((point, index) => {
      const slot = Math.floor((this.points.length - 1 - index) / GROUP);
      sums[slot] ??= this.series.map(() => 0);
      this.series.forEach((one, number) => { sums[slot][number] += one.value(point); });
    });
    return sums;
  }

  drawCaption() {
    const point = this.points[this.hovered] ?? this.points.at(-1);
    const title = document.createElement("strong");
    title.textContent = this.title;
    const texts = [];
    const keys = this.series.map((one) => {
      const key = document.createElement("span");
      const value = point ? one.total?.() ?? one.value(point) : null;
      const text = value === null || value === undefined ? "–" : this.format(value);
      const number = document.createElement("b");
      number.textContent = text;
      const swatch = document.createElement("i");
      swatch.className = one.tone;
      key.className = "key";
      key.append(...(one.name ? [swatch, `${one.name} `] : []), number);
      texts.push(`${one.name} ${text}`.trim());
      return key;
    });
    const back = this.points[this.hovered] ? (this.points.length - 1 - this.hovered) * STEP_MS / 1000 : 0;
    if (back) {
      const when = document.createElement("span");
      when.className = "key";
      when.textContent = `${back} s ago`;
      keys.unshift(when);
    }
    this.caption.replaceChildren(title, ...keys);
    this.canvas.setAttribute("aria-label", `${this.title}: ${texts.join(", ") || "nothing yet"}`);
  }

  x(index) { return LEFT + this.area.width * (1 - (this.points.length - 1 - index) / (this.window - 1)); }

  y(value) {
    const part = this.kind === "log" ? Math.max(0, Math.log10(value / 0.05) / Math.log10(this.top / 0.05)) : value / this.top;
    return TOP + this.area.height * (1 - Math.min(1, part));
  }

  grid(hasData) {
    const { width, height } = this.area;
    const ticks = !hasData ? [] : this.kind === "log"
      ? [0.1, 1, 10, 100, 1000].filter((tick) => tick <= this.top) : this.top > 1 ? [0, this.top / 2, this.top] : [0, this.top];
    const parts = ticks.flatMap((tick) => [
      svg("line", { class: "grid", x1: LEFT, x2: LEFT + width, y1: this.y(tick), y2: this.y(tick) }),
      svg("text", { class: "tick", x: LEFT - 8, y: this.y(tick) + 4, "text-anchor": "end" }, this.format(tick)),
    ]);
    parts.push(svg("line", { class: "grid", x1: LEFT, x2: LEFT + width, y1: TOP + height, y2: TOP + height }));
    const all = (this.window * STEP_MS) / 60_000;
    for (const [minutes, anchor] of [[all, "start"], [all / 2, "middle"], [0, "end"]]) {
      const x = LEFT + width * (1 - minutes / all);
      parts.push(svg("text", { class: "tick", x, y: TOP + height + 15, "text-anchor": anchor }, minutes ? `−${minutes} min` : "now"));
    }
    return parts;
  }

  curve({ tone, value }) {
    let line = "";
    let begin = null;
    let area = "";
    const close = (index) => {
      if (begin !== null) area += `L${this.x(index).toFixed(1)} ${TOP + this.area.height}L${begin} ${TOP + this.area.height}Z`;
      begin = null;
    };
    this.points.forEach((point, index) => {
      const number = value(point);
      if (number === null) return close(index - 1);
      const [x, y] = [this.x(index).toFixed(1), this.y(number).toFixed(1)];
      line += `${begin === null ? "M" : "L"}${x} ${y}`;
      area += `${begin === null ? "M" : "L"}${x} ${y}`;
      if (begin === null) begin = x;
    });
    close(this.points.length - 1);
    const parts = [svg("path", { class: `curve ${tone}`, d: line })];
    if (this.kind === "line") parts.unshift(svg("path", { class: `area ${tone}`, d: area }));
    return parts;
  }

  bars() {
    const wide = (this.area.width / this.window) * GROUP;
    const parts = [];
    this.groups().forEach((values, slot) => {
      let base = 0;
      values.forEach((value, number) => {
        if (!value) return;
        const [y, bottom] = [this.y(base + value), this.y(base)];
        base += value;
        parts.push(svg("rect", {
          class: this.series[number].tone, fill: "currentColor", x: LEFT + this.area.width - (slot + 1) * wide + 1, y,
          width: Math.max(1, wide - 2), height: Math.max(1, bottom - y),
        }));
      });
    });
    return parts;
  }
}
