// The address holds the query: what stands in it, how it becomes parameters of the API, and the chips that show it.

export const RANGES = [
  ["5m", "last 5 minutes"],
  ["15m", "last 15 minutes"],
  ["1h", "last hour"],
  ["6h", "last 6 hours"],
  ["24h", "last 24 hours"],
  ["7d", "last 7 days"],
  ["30d", "last 30 days"],
  ["all", "all times"],
];

const LIST_KEYS = ["host", "file", "level"];
const TABS = ["logs", "hosts", "proof", "storage"];
const PART = /-?(?:"(?:[^"\\]|\\.)*"|\/(?:[^/\\]|\\.)+\/|(?:level|host|file):"(?:[^"\\]|\\.)*"|\S+)(?=\s|$)|\S+/gi;

/** What the address says. Lists are arrays; `range` is empty if nothing was chosen. */
export function read(search = location.search) {
  const given = new URLSearchParams(search);
  const state = { tab: "logs", q: "", range: "", since: "", until: "", live: given.get("live") === "1", line: given.get("line") ?? "" };
  for (const key of ["q", "range", "since", "until"]) state[key] = given.get(key) ?? "";
  for (const key of LIST_KEYS) state[key] = (given.get(key) ?? "").split(",").filter(Boolean);
  if (TABS.includes(given.get("tab"))) state.tab = given.get("tab");
  if (!RANGES.some(([name]) => name === state.range)) state.range = "";
  return state;
}

/** The address of a state. */
export function address(state) {
  const query = new URLSearchParams();
  if (state.tab !== "logs") query.set("tab", state.tab);
  for (const key of ["q", "range", "since", "until", "line"]) if (state[key]) query.set(key, state[key]);
  for (const key of LIST_KEYS) if (state[key].length) query.set(key, state[key].join(","));
  if (state.live) query.set("live", "1");
  return query.size ? `/?${query}` : "/";
}

/** The parameters of a question to the API. */
export function parameters(state) {
  const times = state.since || state.until ? { since: state.since, until: state.until } : { since: state.range === "all" ? "" : state.range };
  return { q: state.q, ...Object.fromEntries(LIST_KEYS.map((key) => [key, state[key].join(",")])), ...times };
}

/** The parts of what was typed. */
export const parts = (text) => text.match(PART) ?? [];

/** What can be clicked away: the label, and the state without it. */
export function chips(state) {
  const words = parts(state.q);
  const found = words.map((word, index) => ({
    label: word,
    without: { ...state, q: words.filter((_, other) => other !== index).join(" ") },
  }));
  for (const key of LIST_KEYS) {
    for (const value of state[key]) {
      found.push({ label: `${key} ${value}`, without: { ...state, [key]: state[key].filter((other) => other !== value) } });
    }
  }
  if (state.since || state.until) {
    found.push({ label: `${shown(state.since)} – ${shown(state.until)}`, without: { ...state, since: "", until: "" } });
  }
  return found;
}

function shown(time) {
  const date = new Date(time);
  if (!time) return "…";
  if (Number.isNaN(date.getTime())) return time;
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** What is marked in the lines: a pattern for all wanted texts and patterns; null if there are none. */
export function marks(state) {
  const found = [];
  for (const part of parts(state.q)) {
    if (part.startsWith("-") || /^(level|host|file):/i.test(part)) continue;
    if (part.length > 2 && part.startsWith("/") && part.endsWith("/")) found.push(part.slice(1, -1));
    else found.push(literal(part.startsWith('"') && part.endsWith('"') && part.length > 1 ? part.slice(1, -1).replace(/\\(.)/g, "$1") : part));
  }
  const sources = found.filter(isPattern);
  if (!sources.length) return null;
  const anyCapital = parts(state.q).some((part) => /\p{Lu}/u.test(part) && !part.startsWith("-"));
  return new RegExp(sources.map((source) => `(?:${source})`).join("|"), anyCapital ? "gu" : "giu");
}

const literal = (text) => text.replace(/[.*+?^${}()|[\]\\/-]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);

function isPattern(source) {
  try {
    return Boolean(source) && Boolean(new RegExp(source, "u"));
  } catch {
    return false; // Python's patterns are not all those of JavaScript: such a one is not marked
  }
}
