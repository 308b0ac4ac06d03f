// The tab of lines: search, histogram, list, live tail. One search at a time; a new one ends the one before.

import * as api from "./api.js";
import { Details } from "./details.js";
import { Histogram } from "./histogram.js";
import { VirtualList } from "./list.js";
import { RANGES, chips, marks, parameters } from "./query.js";
import { clock, count, day, dayKey, el, fill, levelClass, size, visible, when } from "./text.js";

const PAGE = 500;
const MOST_ROWS = 50_000;
const SLOW_MS = 200;
const HISTOGRAM_S = 5;
const LEVELS = ["error", "warn", "info", "debug", "other"];
const $ = (id) => document.getElementById(id);

export class Logs {
  /** `go(changes)` changes the address; `overview` has hosts and files for the menus. */
  constructor({ state, go, toast, onMissing }) {
    this.state = state;
    this.go = go;
    this.toast = toast;
    this.onMissing = onMissing;
    this.searching = null;
    this.tailing = null;
    this.gaps = [];
    this.arrived = 0;
    this.older = { has: false, busy: false };
    this.newer = { has: false, busy: false };
    this.details = new Details($("details"), { go: (changes) => this.go(changes), state: () => this.state(), toast, onClose: () => $("list").focus() });
    this.list = new VirtualList($("list"), {
      render: (row) => this.row(row),
      onEdge: (side) => this.more(side),
      onSelect: (row) => row.kind === "line" && this.details.isOpen && this.details.show(row.line),
      onOpen: (row) => row.kind === "line" && this.details.show(row.line),
      onScroll: (row) => this.scrolled(row),
    });
    this.histogram = new Histogram($("bars"), $("histogram-summary"), {
      onZoom: (since, until) => this.go({ since: new Date(since).toISOString(), until: new Date(until).toISOString(), live: false, line: "" }),
      onWiden: () => this.widen(),
    });
    this.controls();
  }

  controls() {
    $("range").append(...RANGES.map(([value, label]) => el("option", { value }, label)), el("option", { value: "custom", hidden: true }, "chosen time"));
    $("range").addEventListener("change", (event) => this.go({ range: event.target.value, since: "", until: "", line: "" }));
    $("levels").append(
      ...LEVELS.slice(0, 4).map((level) =>
        el("button", { type: "button", class: level, "data-level": level, "aria-pressed": "false", title: `only ${level}`, onclick: () => this.toggle("level", level) }, el("span", {}, level)),
      ),
    );
    for (const button of $("levels").children) button.setAttribute("aria-label", button.dataset.level);
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.go({ q: $("q").value.trim(), line: "" });
    });
    let typing = 0;
    $("q").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.go({ q: $("q").value.trim(), line: "" }, { replace: true }), 350);
    });
    $("live").addEventListener("click", () => this.toggleLive());
    $("stop").addEventListener("click", () => this.searching?.abort());
    $("arrived").addEventListener("click", () => this.list.toEnd());
    $("share").addEventListener("click", () => this.share());
    $("legend").append(...LEVELS.map((level) => el("span", { class: level }, level)), el("span", { class: "gap" }, "known gap"));
    for (const key of ["host", "file"]) {
      $(`pick-${key}`).addEventListener("toggle", (event) => event.target.open && this.menu(key));
    }
    document.addEventListener("pointerdown", (event) => {
      for (const picker of document.querySelectorAll(".picker[open]")) if (!picker.contains(event.target)) picker.open = false;
    });
  }

  toggle(key, value) {
    const chosen = this.state()[key];
    this.go({ [key]: chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value], line: "" });
  }

  toggleLive() {
    const live = !this.state().live;
    this.go({ live, line: "", ...(live && this.state().until ? { since: "", until: "" } : {}) });
  }

  async share() {
    const link = location.href;
    try {
      await navigator.clipboard.writeText(link);
      this.toast("The link to this query is copied");
    } catch {
      this.toast("The browser does not let the page copy: the address above is the link");
    }
  }

  widen() {
    const { range, since, until } = this.state();
    if (since || until) return this.go({ since: "", until: "", line: "" });
    const index = RANGES.findIndex(([name]) => name === range);
    if (index < RANGES.length - 1) this.go({ range: RANGES[index + 1][0], line: "" });
  }

  /** Show the controls as the state is. */
  dress() {
    const state = this.state();
    if (document.activeElement !== $("q")) $("q").value = state.q;
    for (const button of $("levels").children) button.setAttribute("aria-pressed", state.level.includes(button.dataset.level));
    $("range").value = state.since || state.until ? "custom" : state.range;
    $("live").setAttribute("aria-pressed", state.live);
    for (const key of ["host", "file"]) {
      const picker = $(`pick-${key}`);
      picker.classList.toggle("set", state[key].length > 0);
      const label = key === "host" ? "Host" : "File";
      picker.firstElementChild.textContent = state[key].length ? `${label} · ${state[key].length}` : label;
    }
    $("chips").replaceChildren(
      ...chips(state).map(({ label, without }) =>
        el("li", {}, el("span", {}, visible(label)), el("button", { type: "button", "aria-label": `Remove ${visible(label)}`, onclick: () => this.go({ ...without, line: "" }) }, "×")),
      ),
    );
    this.marks = marks(state);
  }

  async menu(key) {
    const menu = $(`pick-${key}`).lastElementChild;
    menu.replaceChildren(el("p", {}, "Loading …"));
    try {
      const found = await this.choices(key);
      const chosen = this.state()[key];
      menu.replaceChildren(
        ...(found.length ? [] : [el("p", {}, "Nothing is stored yet.")]),
        ...found.slice(0, 500).map(([value, lines]) =>
          el("label", {}, el("input", { type: "checkbox", checked: chosen.includes(value), onchange: () => this.toggle(key, value) }), el("span", {}, visible(value) || "(plain protocol)"), el("small", {}, count(lines, "line"))),
        ),
        ...(found.length > 500 ? [el("p", {}, `and ${found.length - 500} more: type ${key}: into the search box`)] : []),
      );
    } catch (error) {
      menu.replaceChildren(el("p", {}, error.message));
    }
  }

  async choices(key) {
    if (key === "host") return (await api.get("/hosts")).hosts.map((host) => [host.host, host.lines]);
    const sums = new Map();
    for (const file of (await api.get("/files")).files) sums.set(file.file, (sums.get(file.file) ?? 0) + file.lines);
    return [...sums];
  }

  /** Search anew. */
  async search() {
    this.searching?.abort();
    this.tailing?.abort();
    const searching = (this.searching = new AbortController());
    this.dress();
    this.list.clear();
    this.gaps = [];
    this.arrived = 0;
    this.noteArrived();
    this.older = { has: false, busy: false, place: "" };
    this.newer = { has: false, busy: false, place: "" };
    this.foot("");
    this.note("Searching …");
    const slow = setTimeout(() => this.progress("searching …"), SLOW_MS);
    try {
      if (!this.state().range && !this.state().since && !this.state().until) {
        if (!(await this.chooseRange(searching.signal))) return;
      }
      const counting = this.count(searching.signal);
      counting.catch(() => {}); // it is awaited below
      if (this.state().live) this.tail();
      await (this.state().line ? this.around(this.state().line, searching.signal) : this.newest(searching.signal));
      await counting;
    } catch (error) {
      if (error.name === "AbortError") {
        if (this.searching === searching) this.stopped();
      } else this.failed(error);
    } finally {
      clearTimeout(slow);
      if (this.searching === searching) {
        this.searching = null;
        this.progress("");
      }
    }
  }

  /** Choose the smallest range that shows something; return false if there is nothing at all. */
  async chooseRange(signal) {
    const answer = await api.get("/logs", { ...parameters({ ...this.state(), range: "all" }), limit: 1 }, { signal });
    if (!answer.lines.length) {
      this.go({ range: "all" }, { replace: true });
      return false;
    }
    const age = (Date.now() - Date.parse(answer.lines[0].time)) / 1000;
    const lengths = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000 };
    const range = Object.keys(lengths).find((name) => age < 0.9 * lengths[name]) ?? "all";
    this.go({ range }, { replace: true });
    return false; // the change of the address searches
  }

  async newest(signal) {
    const lines = await this.page({ limit: PAGE }, signal, (line) => line);
    this.put(lines.reverse(), "older");
    if (!lines.length) return this.nothing(signal);
    this.note("");
    this.list.toEnd();
    this.older.has = this.ended.has_more;
    this.older.place = this.ended.last;
    if (!this.ended.complete) this.incomplete();
  }

  /** Show a line that the address names, and those before and behind it. */
  async around(place, signal) {
    const behind = await this.page({ limit: PAGE, newer: place, order: "oldest" }, signal);
    const { has_more: hasNewer, last } = this.ended;
    const before = await this.page({ limit: PAGE, older: place }, signal);
    const { lines } = await api.get("/context", { place, before: 0, after: 0 }, { signal });
    this.older = { has: this.ended.has_more, busy: false, place: this.ended.last || place };
    this.newer = { has: hasNewer, busy: false, place: last || place };
    this.put([...before.reverse(), ...lines, ...behind], "older");
    this.note("");
    this.list.center(this.list.rows.findIndex((row) => row.line?.place === place));
    this.details.show(lines[0]);
  }

  /** Return one page of lines, and note its gaps and its end. */
  async page(more, signal) {
    const lines = [];
    this.ended = { has_more: false, complete: true, first: "", last: "" };
    for await (const item of api.items("/logs", { ...parameters(this.state()), ...more }, { signal })) {
      if (item.line) lines.push(item.line);
      else if (item.gap) this.gaps.push(item.gap);
      else if (item.end) this.ended = item.end;
      else if (item.progress) this.looked(item.progress);
    }
    return lines;
  }

  looked({ bytes, seconds }) {
    if (seconds * 1000 >= SLOW_MS) this.progress(`looked at ${size(bytes)} in ${seconds.toFixed(1)} s`);
  }

  /** Put lines at an end of the list, with the gaps where they happened. */
  put(lines, side) {
    const rows = lines.map((line) => ({ kind: "line", line, time: Date.parse(line.time), level: levelClass(line.level) }));
    const known = this.list.rows;
    if (side === "newer") this.list.append(rows);
    else this.list.prepend(rows);
    if (side === "newer" ? this.list.trim(MOST_ROWS, "older") : this.list.trim(MOST_ROWS, "newer")) {
      const far = side === "newer" ? this.older : this.newer;
      const rest = this.list.rows.filter((row) => row.kind === "line");
      far.has = true;
      far.place = (side === "newer" ? rest[0] : rest.at(-1)).line.place;
    }
    if (known.length === 0 || rows.length) this.weaveGaps();
  }

  /** Put each gap before the first line that came after it. */
  weaveGaps() {
    const shown = new Set(this.list.rows.filter((row) => row.kind === "gap").map((row) => row.gap));
    const missing = this.gaps.filter((gap) => !shown.has(gap));
    if (!missing.length || !this.list.rows.length) return;
    const first = this.list.rows.find((row) => row.kind === "line")?.time ?? 0;
    const rows = [...this.list.rows];
    let changed = false;
    for (const gap of missing) {
      const end = Date.parse(gap.end);
      if (end < first && this.older.has) continue; // older lines are not loaded yet
      let index = rows.findIndex((row) => row.time > end);
      if (index < 0) index = rows.length;
      rows.splice(index, 0, { kind: "gap", gap, time: end });
      changed = true;
    }
    if (!changed) return;
    const isAtEnd = this.list.isAtEnd;
    this.list.rows = rows;
    this.list.refresh();
    if (isAtEnd) this.list.toEnd();
  }

  async more(side) {
    const end = this[side];
    if (!end.has || end.busy) return;
    end.busy = true;
    try {
      const query = side === "older" ? { older: end.place } : { newer: end.place, order: "oldest" };
      const lines = await this.page({ ...query, limit: PAGE }, this.searching?.signal);
      if (end !== this[side]) return; // another search has begun
      end.has = this.ended.has_more;
      end.place = this.ended.last || end.place;
      this.put(side === "older" ? lines.reverse() : lines, side);
      if (!this.ended.complete) this.incomplete();
    } catch (error) {
      end.has = false;
      if (error.name !== "AbortError") this.toast(error.message);
    } finally {
      end.busy = false;
    }
  }

  /** Count lines over time. */
  async count(signal) {
    const gaps = [];
    let last = null;
    for await (const item of api.items("/histogram", { ...parameters(this.state()), buckets: 120 }, { signal })) {
      if (item.counts) this.histogram.show((last = item.counts), { gaps: [], isWhole: false });
      else if (item.gap) gaps.push(item.gap);
      else if (item.end) this.histogram.show(item.end, { gaps, isWhole: item.end.complete });
      else if (item.progress) this.looked(item.progress);
    }
    this.counted = Date.now();
    return last;
  }

  /** Follow what comes; what comes while somebody reads further up is counted. */
  async tail() {
    const tailing = (this.tailing = new AbortController());
    let waiting = [];
    let frame = 0;
    let last = "";
    const flush = () => {
      frame = 0;
      const stick = this.list.isAtEnd || this.list.rows.length === 0;
      if (waiting.length && this.state().live) {
        this.note("");
        this.put(waiting, "newer");
        if (stick) this.list.toEnd();
        else this.arrived += waiting.length;
        waiting = [];
        this.noteArrived();
        this.recount();
      }
    };
    while (!tailing.signal.aborted) {
      try {
        const { q, host, file, level } = parameters(this.state());
        for await (const [kind, value, id] of api.events("/tail", { q, host, file, level }, { signal: tailing.signal, after: last })) {
          if (kind === "begin" && last) {
            this.foot(value.goes_on ? "" : "The live tail could not go on where it was: lines may be missing here. They are stored; a search shows them.");
          }
          last = id || last;
          if (kind === "line") {
            waiting.push(value);
            frame ||= setTimeout(flush, 60);
          } else if (kind === "left_out") this.foot(`The tail left out ${count(value.lines, "line")}: they came faster than this page takes them. They are stored; a search shows them.`);
        }
      } catch (error) {
        if (tailing.signal.aborted) return;
        this.foot(`The live tail has ended: ${error.message} Trying again …`);
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
    }
  }

  recount() {
    if (this.searching || Date.now() - (this.counted ?? 0) < HISTOGRAM_S * 1000) return;
    this.counted = Date.now();
    this.count(this.tailing?.signal).catch(() => {});
  }

  noteArrived() {
    if (this.list.isAtEnd) this.arrived = 0;
    $("arrived").hidden = !this.arrived;
    $("arrived").textContent = `↓ ${count(this.arrived, "new line")}`;
  }

  scrolled(row) {
    if (this.arrived && this.list.isAtEnd) this.noteArrived();
    $("day").textContent = row ? day(new Date(row.time)) : "Time";
  }

  /** One row of the list. */
  row(row) {
    if (row.kind === "gap") return this.gapRow(row.gap);
    const { line, level } = row;
    const date = new Date(row.time);
    const name = line.file.split("/").pop() || "(plain)";
    return el(
      "div",
      { class: `row ${level}` },
      el("span", { class: "t", title: `${line.time}${line.event_time ? "" : " (received)"}` }, clock(date)),
      el("span", { class: "l" }, visible(line.level ?? "").slice(0, 8)),
      el("span", { class: "h", title: visible(line.host) }, visible(line.host)),
      el("span", { class: "f", title: visible(line.file) }, visible(name)),
      fill(el("span", { class: "m" }), line.message.slice(0, 2000) || JSON.stringify(line.fields), this.marks),
    );
  }

  gapRow(gap) {
    const [start, end] = [new Date(gap.start), new Date(gap.end)];
    const sameDay = dayKey(start) === dayKey(end);
    const what = { lost: "lost", damaged: "damaged on the disk", unknown: "what was written here was never seen" }[gap.kind];
    return el(
      "div",
      { class: `row gap ${gap.kind}`, title: visible(gap.reason) },
      el("span", { "aria-hidden": "true" }, "⚠"),
      el("span", {}, `${clock(start, false)} – ${sameDay ? clock(end, false) : when(gap.end)}`),
      el("span", { class: "m" }, `${visible(gap.host)} ${visible(gap.file.split("/").pop())}: ${what}${gap.bytes ? `, ${size(gap.bytes)}` : ""} (${visible(gap.reason)})`),
    );
  }

  /** Go to the next error (1) or the one before (-1). */
  jump(direction) {
    const { rows } = this.list;
    const begin = this.list.selected < 0 ? (direction > 0 ? -1 : rows.length) : this.list.selected;
    for (let index = begin + direction; index >= 0 && index < rows.length; index += direction) {
      if (rows[index].level === "error" || rows[index].kind === "gap") return this.list.center(index);
    }
    this.toast(direction > 0 ? "No further error below" : this.older.has ? "No error above in what is loaded: scroll up for more" : "No further error above");
  }

  step(direction) {
    const { selected, rows } = this.list;
    this.list.select(selected < 0 ? rows.length - 1 : selected + direction);
  }

  open() {
    const row = this.list.rows[this.list.selected];
    if (row?.kind === "line") this.details.show(row.line);
  }

  note(text, ...more) {
    const state = $("state");
    state.hidden = !text;
    state.replaceChildren(...(text ? [el("strong", {}, text), ...more] : []));
  }

  async nothing(signal) {
    const { hosts, last_received: last, lines } = await api.get("/status", {}, { signal });
    const actions = el("div", { class: "actions" });
    const add = (label, changes) => actions.append(el("button", { type: "button", onclick: () => this.go(changes) }, label));
    const state = this.state();
    if (!lines) {
      this.histogram.clear("No lines yet");
      this.note("Nothing is stored yet", el("p", {}, "As soon as a client ships a line, it is here. To ship a file now:"), el("p", {}, el("code", {}, "logferry ship --log-file /var/log/app.log")));
      if (!state.live) add("Wait for the first line", { live: true });
    } else {
      const what = chips(state).length ? "No line matches" : "No line in this time";
      this.note(what, el("p", {}, `${count(lines, "line")} of ${count(hosts, "host")} are stored; the last one came ${when(last)}.`));
      if (state.since || state.until || state.range !== "all") add("Search all times", { range: "all", since: "", until: "" });
      if (state.q || state.level.length || state.host.length || state.file.length) add("Remove all filters", { q: "", level: [], host: [], file: [] });
      if (state.since || state.until) add("Show what was shown before", { since: "", until: "" });
    }
    $("state").append(actions);
    this.foot("");
  }

  failed(error) {
    this.note("That did not work", el("p", {}, visible(error.message)), el("div", { class: "actions" }, el("button", { type: "button", onclick: () => this.search() }, "Try again")));
    this.histogram.clear("");
  }

  stopped() {
    if (!this.list.rows.length) this.note("Stopped", el("div", { class: "actions" }, el("button", { type: "button", onclick: () => this.search() }, "Search again")));
    else this.foot("Stopped: what is shown is not all.");
  }

  incomplete() {
    const why = { time: "the limit of time", bytes: "the limit of bytes", answer: "the size of one answer" }[this.ended.ended_by] ?? "a limit";
    this.foot(`The search ended at ${why}, after ${size(this.ended.bytes_read)}: scroll up to go on, or choose a shorter time.`);
  }

  progress(text) {
    $("progress").hidden = !text || !this.searching;
    $("progress-text").textContent = text;
  }

  foot(text) {
    $("footnote").textContent = text || this.completeness();
  }

  /** What is known to be lacking of what is shown. */
  completeness() {
    const lost = this.gaps.filter((gap) => gap.kind !== "unknown").length;
    const unknown = this.gaps.length - lost;
    if (!this.gaps.length) return "";
    return `Of what is shown: ${[lost && count(lost, "known loss", "known losses"), unknown && count(unknown, "time that nobody saw", "times that nobody saw")].filter(Boolean).join(", ")}.`;
  }

  end() {
    this.searching?.abort();
    this.tailing?.abort();
  }
}

