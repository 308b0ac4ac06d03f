// All of one line: its fields, the lines around it, its stored bytes, and searches that begin from it.

import * as api from "./api.js";
import { address } from "./query.js";
import { clock, el, fill, levelClass, size, visible, when } from "./text.js";

export class Details {
  constructor(node, { go, state, toast, onClose }) {
    this.node = node;
    this.go = go;
    this.state = state;
    this.toast = toast;
    this.onClose = onClose;
    this.asking = null;
  }

  get isOpen() {
    return !this.node.hidden;
  }

  close() {
    this.asking?.abort();
    this.node.hidden = true;
    this.onClose();
  }

  show(line) {
    this.asking?.abort();
    this.asking = new AbortController();
    this.line = line;
    this.more = el("div");
    const date = new Date(line.time);
    const host = line.host;
    const action = (label, act) => el("button", { type: "button", onclick: act }, label);
    this.node.replaceChildren(
      el(
        "header",
        {},
        el("b", { title: visible(line.file) }, `${visible(host)} ${visible(line.file)}`),
        el("button", { type: "button", class: "quiet", "aria-label": "Close the line", onclick: () => this.close() }, "✕"),
      ),
      fill(el("pre", { "aria-label": "Message" }), line.message || "(no message)", null, true),
      el(
        "div",
        { class: "actions" },
        (this.contextButton = action("Context", () => this.context())),
        action("Raw", () => this.raw()),
        action("Copy link", () => this.link()),
        action("Only this host", () => this.go({ host: [host], line: "" })),
        action("Only this file", () => this.go({ host: [host], file: [line.file], line: "" })),
        action("This minute", () => this.go(around(date, 30_000))),
      ),
      this.fields(line),
      this.more,
    );
    this.node.hidden = false;
    this.node.scrollTop = 0;
    this.context();
  }

  fields(line) {
    const table = el("table", { class: "fields" });
    const add = (name, value, changes) => {
      const cell = el("td", {});
      fill(cell, String(value), null, true);
      table.append(el("tr", {}, el("th", { scope: "row", title: visible(name) }, visible(name)), cell));
      return changes;
    };
    add("time", `${when(line.time)}.${String(new Date(line.time).getMilliseconds()).padStart(3, "0")}${line.event_time ? "" : " (when it was received: the line has none)"}`);
    const isExact = Date.parse(line.received) - Date.parse(line.received_after ?? line.received) < 600e3;
    if (line.received) add("received", isExact ? when(line.received) : `between ${when(line.received_after)} and ${when(line.received)}`);
    if (line.level) add("level", line.level);
    for (const [name, value] of Object.entries(line.fields)) add(name, typeof value === "string" ? value : JSON.stringify(value));
    if (line.cut) add("", `cut: the whole line has ${size(line.bytes)} (Raw shows it)`);
    return table;
  }

  async ask(path, parameters, show) {
    this.more.replaceChildren(el("p", {}, "Loading …"));
    try {
      show(await api.get(path, parameters, { signal: this.asking.signal }));
    } catch (error) {
      if (error.name !== "AbortError") this.more.replaceChildren(el("p", {}, visible(error.message)));
    }
  }

  context() {
    return this.ask("/context", { place: this.line.place, before: 6, after: 8 }, ({ lines }) => {
      const list = el("ol", { class: "around", "aria-label": "Lines around it" });
      for (const line of lines) {
        const isThis = line.place === this.line.place;
        const item = el("li", { class: `${levelClass(line.level)}${isThis ? " this" : ""}`, "aria-current": isThis ? "true" : undefined });
        const text = el("span");
        fill(text, line.message.slice(0, 600));
        item.append(`${clock(new Date(line.time), false)} ${visible(line.level ?? "")} `, text);
        list.append(item);
      }
      this.more.replaceChildren(el("h2", {}, "Around it"), list);
    });
  }

  raw() {
    return this.ask("/raw", { place: this.line.place }, ({ text, bytes }) => {
      const shown = text.length > 2_000_000 ? `${text.slice(0, 2_000_000)} … (of ${size(bytes)})` : text;
      this.more.replaceChildren(el("h2", {}, `As it is stored, ${size(bytes)}`), fill(el("pre", { class: "raw" }), shown));
    });
  }

  async link() {
    const link = new URL(address({ ...this.state(), live: false, line: this.line.place }), location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      this.toast("The link to this line is copied");
    } catch {
      history.replaceState(null, "", link);
      this.toast("The browser does not let the page copy: the address above is the link");
    }
  }
}

const around = (date, distance) => ({
  since: new Date(date.getTime() - distance).toISOString(),
  until: new Date(date.getTime() + distance).toISOString(),
  live: false,
  line: "",
});

