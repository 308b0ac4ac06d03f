// The page: the header, the tabs, the address, keys, the token, and help.

import * as api from "./api.js";
import { hasFoundDamage } from "./checks.js";
import { Logs } from "./logs.js";
import { show } from "./overview.js";
import { address, read } from "./query.js";
import { ago, count, el, number, percent } from "./text.js";

const $ = (id) => document.getElementById(id);
const STATUS_MS = 5000;
const TABS = ["logs", "hosts", "proof", "storage"];

let state = read();
let loading = null;
let before = null;
let toasting = 0;

api.takeToken();
api.askForTokenBy(askForToken);

/** Change the address, and show what it says. */
function go(changes, { replace = false } = {}) {
  const next = { ...state, ...changes };
  if (address(next) === address(state) && !replace) return;
  const isSame = address({ ...next, live: false }) === address({ ...state, live: false });
  const onlyStopsLive = isSame && state.live && !next.live;
  state = next;
  history[replace ? "replaceState" : "pushState"](null, "", address(state));
  if (onlyStopsLive) {
    logs.tailing?.abort();
    logs.dress();
  } else render();
}

const logs = new Logs({ state: () => state, go, toast });

function render() {
  for (const tab of TABS) {
    const button = $(`tab-${tab}`);
    button.setAttribute("aria-selected", tab === state.tab);
    button.tabIndex = tab === state.tab ? 0 : -1;
    $(`view-${tab}`).hidden = tab !== state.tab;
  }
  $("panel").setAttribute("aria-labelledby", `tab-${state.tab}`);
  document.title = state.tab === "logs" ? (state.q ? `${state.q} – Logferry` : "Logferry") : `${$(`tab-${state.tab}`).textContent} – Logferry`;
  loading?.abort();
  loading = new AbortController();
  if (state.tab === "logs") logs.search();
  else {
    logs.end();
    show(state.tab, { go, signal: loading.signal });
  }
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("shown");
  clearTimeout(toasting);
  toasting = setTimeout(() => $("toast").classList.remove("shown"), 3200);
}

/** Show the numbers of the header, again and again while somebody looks. */
async function status() {
  if (!document.hidden) {
    try {
      facts(await api.get("/status"));
    } catch (error) {
      $("facts").replaceChildren(fact("Console", "bad", error.message));
    }
    if (["hosts", "proof", "storage"].includes(state.tab)) show(state.tab, { go, signal: loading?.signal });
  }
  setTimeout(status, STATUS_MS);
}

function fact(name, kind, ...parts) {
  return el("div", { class: kind }, el("dt", {}, name), el("dd", {}, ...parts));
}

function facts(now) {
  const rate = before && (now.lines - before.lines) / ((Date.parse(now.now) - Date.parse(before.now)) / 1000);
  before = now;
  const used = now.disk_bytes - now.disk_free;
  const isWhole = now.bytes > 0 && now.checked_bytes >= now.bytes;
  const parts = [
    fact("Hosts", "some", el("b", {}, number(now.hosts)), now.hosts === 1 ? " host" : " hosts"),
    rate === null || rate < 0.5
      ? fact("Last line", "less", "last line ", el("b", {}, ago(now.last_received, Date.parse(now.now))))
      : fact("Rate", "less", el("b", {}, number(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate))), " lines/s"),
    fact("Disk", "some", "disk ", el("b", {}, percent(used, now.disk_bytes))),
  ];
  if (now.damaged) parts.push(fact("Proof", "bad", el("b", {}, count(now.damaged, "extent")), " damaged"));
  else if (!now.checked_bytes) parts.push(fact("Proof", "", "nothing checked yet"));
  else parts.push(fact("Proof", isWhole ? "good" : "", "proven ", el("b", {}, percent(now.checked_bytes, now.bytes)), el("span", { class: "less" }, `, checked ${ago(now.newest_check, Date.parse(now.now))}`)));
  if (now.lost) parts.push(fact("Losses", "bad some", el("b", {}, number(now.lost)), " lost"));
  $("facts").replaceChildren(...parts);
  $("tab-proof").classList.toggle("bad", now.damaged > 0 || now.lost > 0 || now.missing_bytes > 0 || now.repeated_bytes > 0 || hasFoundDamage());
}

function askForToken(problem, wasGiven) {
  return new Promise((resolve) => {
    if (wasGiven) $("login-text").textContent = problem;
    const dialog = $("login");
    if (!dialog.open) dialog.showModal();
    dialog.addEventListener("close", () => resolve(), { once: true });
  });
}

$("login").addEventListener("cancel", (event) => event.preventDefault());
$("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.keepToken($("token").value);
  $("token").value = "";
  $("login").close();
});

$("help-button").addEventListener("click", () => $("help").showModal());
for (const button of document.querySelectorAll("[data-tab]")) {
  button.addEventListener("click", () => go({ tab: button.dataset.tab, line: "" }));
  button.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const next = TABS[(TABS.indexOf(button.dataset.tab) + move + TABS.length) % TABS.length];
    $(`tab-${next}`).focus();
    go({ tab: next, line: "" });
    event.preventDefault();
  });
}

const KEYS = {
  "/": () => $("q").select(),
  j: () => logs.step(1),
  k: () => logs.step(-1),
  ArrowDown: () => logs.step(1),
  ArrowUp: () => logs.step(-1),
  n: () => logs.jump(1),
  N: () => logs.jump(-1),
  g: () => logs.list.select(0),
  G: () => logs.list.select(logs.list.rows.length - 1),
  Enter: () => logs.open(),
  " ": () => logs.toggleLive(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { target } = event;
  if (event.key === "Escape") {
    if (target === $("q")) $("list").focus();
    else if (logs.details.isOpen) logs.details.close();
    return;
  }
  const isTyping = target.matches("input, select, textarea");
  const isPressing = target.matches("button, summary, a, input, select") && [" ", "Enter"].includes(event.key);
  if (isTyping || isPressing) return;
  if (event.key === "?") $("help").showModal();
  else if (state.tab === "logs" && event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
});

addEventListener("popstate", () => {
  state = read();
  render();
});
addEventListener("hashchange", () => {
  api.takeToken();
  render();
});

render();
status();
