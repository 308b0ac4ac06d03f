// Text for people: whatever a log holds becomes text nodes, never HTML; numbers, sizes and times in one form.

const SVG = "http://www.w3.org/2000/svg";

// Control characters, characters that reorder what one reads, invisible ones, and halves of characters.
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u001b": "\\e" };

const escaped = (char) => NAMED[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** The text as one line without anything that acts. */
export const visible = (text) => String(text ?? "").replace(UNSAFE, escaped);

/** An element with properties and children; texts among the children become text nodes. */
export function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An element of a drawing. */
export function svg(name, properties = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(properties)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Fill an element with a text in which escapes are faint and matches are marked. `lines` keeps newlines and tabs. */
export function fill(node, text, marks = null, lines = false) {
  const parts = [];
  let end = 0;
  const plain = (from, to) => {
    if (to > from) parts.push(...marked(text.slice(from, to), marks));
  };
  for (const match of text.matchAll(UNSAFE)) {
    if (lines && (match[0] === "\n" || match[0] === "\t")) continue;
    plain(end, match.index);
    parts.push(el("span", { class: "escape" }, escaped(match[0])));
    end = match.index + match[0].length;
  }
  plain(end, text.length);
  node.replaceChildren(...parts);
  return node;
}

function marked(text, marks) {
  if (!marks) return [text];
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(marks)) {
    if (!match[0] || parts.length > 60) continue;
    parts.push(text.slice(end, match.index), el("mark", {}, match[0]));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}

const grouped = new Intl.NumberFormat("en");
export const number = (value) => grouped.format(value);

export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

export function size(bytes) {
  let value = bytes;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (Math.abs(value) < 999.5 || unit === "TB") {
      return `${unit === "B" || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    }
    value /= 1000;
  }
  return "";
}

/** A share in percent that is 100 only if nothing is lacking, and 0 only if nothing is there. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  if (part >= whole) return "100 %";
  return `${Math.min(99.9, Math.floor(share * 10) / 10)} %`;
}

const two = (value) => String(value).padStart(2, "0");

export const clock = (date, millis = true) =>
  `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}` +
  (millis ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");

const dayForm = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", year: "numeric" });
export const day = (date) => dayForm.format(date);
export const dayKey = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

export const when = (time) => {
  if (!time) return "never";
  const date = new Date(time);
  return `${dayKey(date)} ${clock(date, false)}`;
};

export function ago(time, now = Date.now()) {
  if (!time) return "never";
  const seconds = Math.round((now - Date.parse(time)) / 1000);
  if (seconds < 2) return "just now";
  return `${span(seconds)} ago`;
}

export function span(seconds) {
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length || (unit === "d" && seconds >= length)) return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

const CLASSES = {
  error: "error err fatal ftl critical crit alert emerg emergency panic severe",
  warn: "warn warning wrn",
  info: "info inf notice information informational",
  debug: "debug dbg trace verbose fine finer finest",
};
const CLASS_OF = new Map(Object.entries(CLASSES).flatMap(([name, words]) => words.split(" ").map((word) => [word, name])));

/** The class of a level: one of error, warn, info, debug, other. */
export const levelClass = (level) => CLASS_OF.get(String(level ?? "").toLowerCase()) ?? "other";
