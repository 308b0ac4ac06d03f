// Checks of one file on demand: all that is stored of it is read and compared with the ledger, while one waits.

import * as api from "./api.js";
import { ago, count, el, number, percent, size, visible } from "./text.js";

// By host and file, for as long as the page is open: {aborting} while it runs, {result} or {error} after that.
const checks = new Map();

const keyOf = (file) => JSON.stringify([file.host, file.file]);

/** Whether a check has found that something is not as it was stored. */
export const hasFoundDamage = () => [...checks.values()].some(({ result }) => result?.altered_pieces);

/** What a check of a file says, and the button that begins or ends one. `changed` shows the tab anew. */
export function checkOf(file, changed) {
  const check = checks.get(keyOf(file));
  const button = (text, onclick, name) => el("button", { type: "button", class: "more", "aria-label": `${name} ${visible(file.host)} ${visible(file.file)}`, onclick }, text);
  if (check?.aborting) {
    const { found } = check;
    const far = found ? `${percent(found.bytes, found.of_bytes)} of ${size(found.of_bytes)} …` : "reading …";
    return [el("span", { role: "status" }, far, " "), button("Stop", () => check.aborting.abort(), "Stop the check of")];
  }
  return [...said(check), button("Check now", () => run(file, changed), "Check now:")];
}

function said(check) {
  if (!check) return [];
  if (check.error) return [el("span", { class: "badge unsure" }, visible(check.error)), " "];
  const { result, at } = check;
  if (result.altered_pieces) return [el("span", { class: "badge bad", title: result.problems.map(visible).join("\n") }, `${count(result.altered_pieces, "piece")} altered, ${number(result.altered_lines)} lines`), " "];
  if (!result.complete) return [el("span", { class: "badge unsure" }, `stopped after ${size(result.bytes)}`), " "];
  return [el("span", { class: "badge good" }, `as stored, ${ago(at.toISOString())}`), " "];
}

async function run(file, changed) {
  const check = { aborting: new AbortController(), found: null };
  checks.set(keyOf(file), check);
  changed();
  let shownAt = 0;
  try {
    for await (const item of api.items("/check", { host: file.host, file: file.file }, { signal: check.aborting.signal })) {
      if (item.check) check.found = item.check;
      if (item.result) check.result = item.result;
      if (Date.now() - shownAt > 300) {
        shownAt = Date.now();
        changed();
      }
    }
  } catch (error) {
    check.error = error.name === "AbortError" ? "stopped" : error.message;
  }
  check.aborting = null;
  check.at = new Date();
  if (!check.result && !check.error) check.error = "no answer";
  changed();
}
