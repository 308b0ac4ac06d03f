// Lines over time by level: bars with the errors at their foot, hatched gaps; a drag zooms, a click opens a bar.

import { clock, count, day, dayKey, number, svg } from "./text.js";

const HEIGHT = 84;
const FOOT = 15;
const ORDER = ["error", "warn", "info", "debug", "other"];

export class Histogram {
  /** `onZoom(since, until)` is called with milliseconds. */
  constructor(node, summary, { onZoom, onWiden }) {
    this.node = node;
    this.summary = summary;
    this.onZoom = onZoom;
    this.onWiden = onWiden;
    this.data = null;
    this.gaps = [];
    this.cursor = -1;
    this.drag = null;
    new ResizeObserver(() => this.draw()).observe(node);
    node.addEventListener("pointerdown", (event) => this.press(event));
    node.addEventListener("pointermove", (event) => this.move(event));
    node.addEventListener("pointerup", (event) => this.release(event));
    node.addEventListener("pointerleave", () => this.leave());
    node.addEventListener("keydown", (event) => this.key(event));
  }

  /** Show counts: `{since, until, bucket_ms, levels, counts}`. */
  show(data, { gaps = this.gaps, isWhole = true } = {}) {
    const since = Date.parse(data.since);
    this.data = { ...data, since, until: Date.parse(data.until), buckets: Math.ceil((Date.parse(data.until) - since) / data.bucket_ms) };
    this.gaps = gaps;
    this.isWhole = isWhole;
    this.draw();
    this.say();
  }

  clear(text) {
    this.data = null;
    this.gaps = [];
    this.node.replaceChildren();
    this.summary.textContent = text;
  }

  /** How many lines and errors there are. */
  get totals() {
    const sums = new Array(ORDER.length).fill(0);
    for (const [, ...row] of this.data?.counts ?? []) row.forEach((value, level) => (sums[level] += value));
    return { lines: sums.reduce((a, b) => a + b, 0), errors: sums[0] };
  }

  say() {
    const { lines, errors } = this.totals;
    const more = this.isWhole ? "" : "at least ";
    const missing = this.gaps.length ? ` · ${count(this.gaps.length, "known gap")}` : "";
    const { since, until } = this.data;
    const days = dayKey(new Date(since)) === dayKey(new Date(until)) ? `${day(new Date(since))}, ` : "";
    const from = days ? clock(new Date(since), false) : `${day(new Date(since))} ${clock(new Date(since), false)}`;
    const to = days ? clock(new Date(until), false) : `${day(new Date(until))} ${clock(new Date(until), false)}`;
    this.summary.textContent = `${more}${count(lines, "line")}, ${count(errors, "error")}${missing} · ${days}${from} – ${to}`;
  }

  draw() {
    if (!this.data) return;
    const width = this.node.clientWidth || 600;
    const height = this.node.clientHeight || HEIGHT;
    this.node.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const foot = height - FOOT;
    const { counts, buckets, levels } = this.data;
    const step = width / buckets;
    const most = Math.max(1, ...counts.map(([, ...row]) => row.reduce((a, b) => a + b, 0)));
    const parts = [hatching()];
    for (const [bucket, ...row] of counts) {
      let y = foot;
      row.forEach((value, level) => {
        if (!value) return;
        const tall = Math.max(1.5, (value / most) * (foot - 14));
        y -= tall;
        parts.push(svg("rect", { class: `bar-${levels[level]}`, x: bucket * step + (step > 4 ? 0.75 : 0), width: Math.max(1, step - (step > 4 ? 1.5 : 0)), y: Math.max(0, y), height: tall }));
      });
    }
    for (const gap of this.gaps) parts.push(this.hatched(gap, width, foot));
    parts.push(svg("line", { class: "axis", x1: 0, x2: width, y1: foot + 0.5, y2: foot + 0.5 }), ...this.ticks(width, height), svg("text", { class: "tick", x: 1, y: 10 }, counts.length ? number(most) : ""));
    parts.push((this.brush = svg("rect", { class: "brush", y: 0, height: foot, width: 0 })));
    parts.push((this.hover = svg("rect", { class: "cursor", y: 0, height: foot, width: 0 })));
    this.node.replaceChildren(...parts);
    this.place();
  }

  hatched(gap, width, foot) {
    const x = (time) => ((Math.min(Math.max(time, this.data.since), this.data.until) - this.data.since) / (this.data.until - this.data.since)) * width;
    const start = x(Date.parse(gap.start));
    const part = svg("rect", { class: "gap", fill: "url(#gap)", x: start, width: Math.max(5, x(Date.parse(gap.end)) - start), y: 0, height: foot });
    part.append(svg("title", {}, `${gap.host} ${gap.file}: ${gap.reason}`));
    return part;
  }

  ticks(width, height) {
    const { since, until } = this.data;
    const isLong = until - since > 36 * 3600e3;
    const label = (time) => {
      const date = new Date(time);
      return isLong ? `${dayKey(date).slice(5)} ${clock(date, false).slice(0, 5)}` : clock(date, false).slice(0, until - since > 5 * 60e3 ? 5 : 8);
    };
    const howMany = Math.max(2, Math.min(7, Math.floor(width / 130)));
    return Array.from({ length: howMany }, (_, index) => {
      const share = index / (howMany - 1);
      const anchor = index === 0 ? "start" : index === howMany - 1 ? "end" : "middle";
      return svg("text", { class: "tick", x: share * width, y: height - 3, "text-anchor": anchor }, label(since + share * (until - since)));
    });
  }

  place() {
    if (!this.data || !this.hover) return;
    const step = this.node.clientWidth / this.data.buckets;
    this.hover.setAttribute("x", this.cursor * step);
    this.hover.setAttribute("width", this.cursor < 0 ? 0 : step);
    if (this.drag) {
      const [from, to] = [Math.min(this.drag.from, this.drag.to), Math.max(this.drag.from, this.drag.to)];
      this.brush.setAttribute("x", from);
      this.brush.setAttribute("width", to - from);
    } else this.brush.setAttribute("width", 0);
  }

  at(event) {
    return Math.min(Math.max(0, event.clientX - this.node.getBoundingClientRect().left), this.node.clientWidth);
  }

  press(event) {
    if (!this.data || event.button) return;
    this.node.setPointerCapture(event.pointerId);
    this.drag = { from: this.at(event), to: this.at(event) };
  }

  move(event) {
    if (!this.data) return;
    const x = this.at(event);
    this.point(Math.min(this.data.buckets - 1, Math.floor((x / this.node.clientWidth) * this.data.buckets)));
    if (this.drag) this.drag.to = x;
    this.place();
  }

  release() {
    if (!this.drag) return;
    const { from, to } = this.drag;
    this.drag = null;
    const width = this.node.clientWidth;
    const { since, until, bucket_ms: length } = this.data;
    if (Math.abs(to - from) > 4) {
      const time = (x) => since + (x / width) * (until - since);
      this.zoom(time(Math.min(from, to)), time(Math.max(from, to)));
    } else if (this.cursor >= 0) this.zoom(since + this.cursor * length, since + (this.cursor + 1) * length);
    this.place();
  }

  zoom(since, until) {
    this.onZoom(Math.floor(since), Math.max(Math.ceil(until), Math.floor(since) + 1));
  }

  leave() {
    if (this.drag) return;
    this.cursor = -1;
    this.place();
    if (this.data) this.say();
  }

  /** Say what a bar holds. */
  point(bucket) {
    this.cursor = bucket;
    const { since, bucket_ms: length, counts, levels } = this.data;
    const [, ...row] = counts.find(([index]) => index === bucket) ?? [bucket, ...levels.map(() => 0)];
    const all = row.reduce((a, b) => a + b, 0);
    const named = levels.map((level, index) => [level, row[index]]).filter(([, value]) => value);
    const date = new Date(since + bucket * length);
    this.summary.textContent = `${dayKey(date)} ${clock(date, length < 1000)}: ${count(all, "line")}${named.length ? ` (${named.map(([level, value]) => `${number(value)} ${level}`).join(", ")})` : ""}`;
  }

  key(event) {
    if (!this.data) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key in moves) {
      this.point(Math.min(this.data.buckets - 1, Math.max(0, (this.cursor < 0 ? this.data.buckets : this.cursor) + moves[event.key])));
      this.place();
    } else if (event.key === "Enter" && this.cursor >= 0) {
      this.zoom(this.data.since + this.cursor * this.data.bucket_ms, this.data.since + (this.cursor + 1) * this.data.bucket_ms);
    } else if (event.key === "Escape") this.onWiden();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function hatching() {
  const pattern = svg("pattern", { id: "gap", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(svg("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 6 }));
  return svg("defs", {}, pattern);
}
