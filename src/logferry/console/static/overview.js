// The tabs Hosts, Proof and Storage: what the store knows, in tables; green only where something was really checked.

import * as api from "./api.js";
import { checkOf } from "./checks.js";
import { ago, count, el, number, percent, size, span, svg, visible, when } from "./text.js";

const $ = (id) => document.getElementById(id);
const MOST_ROWS = 1000;

/** Load a tab and show it; `go` opens a search. */
export async function show(tab, { go, signal }) {
  const view = $(`view-${tab}`);
  if (!view.childElementCount) view.replaceChildren(el("p", { role: "status" }, "Loading …"));
  try {
    const parts = await { hosts, proof, storage }[tab]({ go, signal });
    view.replaceChildren(...parts);
  } catch (error) {
    if (error.name === "AbortError") return;
    view.replaceChildren(el("div", { class: "card bad", role: "alert" }, el("strong", {}, "That did not work"), el("p", {}, visible(error.message)), el("button", { type: "button", class: "more", onclick: () => show(tab, { go, signal }) }, "Try again")));
  }
}

const card = (label, value, note, kind = "") => el("div", { class: `card ${kind}` }, el("small", {}, label), el("strong", {}, value), el("small", {}, note));
const badge = (kind, text) => el("span", { class: `badge ${kind}` }, text);
const cell = (text, kind = "") => el("td", { class: kind }, text);

function table(title, note, heads, rows) {
  const body = el("tbody", {}, ...rows.slice(0, MOST_ROWS));
  if (!rows.length) return el("section", { class: "panel" }, el("h2", {}, title), el("p", {}, note || "Nothing yet."));
  return el(
    "section",
    { class: "panel" },
    el("h2", {}, title),
    ...(note ? [el("p", {}, note)] : []),
    el("table", { class: "table" }, el("thead", {}, el("tr", {}, ...heads.map(([text, kind]) => el("th", { scope: "col", class: kind ?? "" }, text)))), body),
    ...(rows.length > MOST_ROWS ? [el("p", {}, `and ${number(rows.length - MOST_ROWS)} more: the API has all of them`)] : []),
  );
}

async function hosts({ go, signal }) {
  const { hosts: found } = await api.get("/hosts", {}, { signal });
  const now = Date.now();
  const lines = found.reduce((sum, host) => sum + host.lines, 0);
  const known = found.filter((host) => isPresent(host.client, now));
  const late = known.filter((host) => host.client.behind_since);
  const quiet = found.filter((host) => now - Date.parse(host.last_received) > 3600e3);
  return [
    el(
      "div",
      { class: "cards" },
      card("Hosts", number(found.length), `${count(lines, "line")} stored`),
      card("Silent for an hour", number(quiet.length), quiet.length ? "their last line is older" : "all have sent lines lately", quiet.length ? "unsure" : "good"),
      known.length
        ? card("Behind", number(late.length), `of ${number(known.length)} that say how they are`, late.length ? "unsure" : "good")
        : card("Behind", "–", "no client has said how it is"),
    ),
    table(
      "Hosts",
      "",
      [["Host"], ["Last line"], ["Files", "n less"], ["Lines", "n"], ["Bytes", "n less"], ["Behind", "n"], ["Client", "less"]],
      found.map((host) => {
        const { client } = host;
        const unshipped = client.unread_bytes + client.unacked_bytes;
        return el(
          "tr",
          {},
          el("td", { class: "name" }, el("button", { type: "button", title: "Show its lines", onclick: () => go({ tab: "logs", host: [host.host], line: "" }) }, visible(host.host))),
          el("td", { title: when(host.last_received) }, ago(host.last_received, now)),
          cell(number(host.files), "n less"),
          cell(number(host.lines), "n"),
          cell(size(host.bytes), "n less"),
          el("td", { class: "n" }, !isPresent(client, now) ? "not known" : client.behind_since ? `${size(unshipped)}, since ${when(client.behind_since)}` : badge("good", "none")),
          el("td", { class: "less" }, client.at ? `${visible(client.version)}, ${ago(client.at, now)}${client.waits_for ? `: ${visible(client.waits_for)}` : ""}` : "not known"),
        );
      }),
    ),
  ];
}

// Clients say how they are once a minute: what one said long ago says nothing about now.
const isPresent = (client, now) => Boolean(client.at) && now - Date.parse(client.at) < 300e3;

async function proof({ go, signal }) {
  const found = await api.get("/proof", {}, { signal });
  const now = Date.now();
  const isProven = found.bytes > 0 && found.checked_bytes >= found.bytes && !found.damaged;
  const state = found.damaged ? "bad" : isProven ? "good" : "unsure";
  const files = [...found.files].sort((a, b) => badness(b) - badness(a));
  return [
    el(
      "div",
      { class: "cards" },
      card(
        "Proven",
        found.damaged ? "Damaged" : percent(found.checked_bytes, found.bytes),
        found.damaged
          ? `${count(found.damaged, "extent")} on the disk differ from what was stored`
          : found.checked_bytes
            ? `of all stored bytes, compared with the ledger; the oldest check was ${ago(found.oldest_check, now)}`
            : "nothing was compared with the ledger yet: the server does so in the background (--scrub-interval)",
        state,
      ),
      card("Lost", number(found.lost), found.lost ? "ranges that the clients could not deliver" : "nothing is known to be lost", found.lost ? "bad" : ""),
      card("Missing", size(found.missing_bytes), found.missing_bytes ? "of files, neither stored nor known to be lost" : "every byte between stored ones is stored, or known to be lost", found.missing_bytes ? "bad" : ""),
      card("Unknown windows", number(found.unknown), found.unknown ? "times in which lines may have come and gone unseen" : "no file was away from its client's eyes", found.unknown ? "unsure" : ""),
      card("Stored", size(found.bytes), `${count(found.files.length, "file")}, each byte with its checksum`),
    ),
    el("section", { class: "panel" }, el("h2", {}, "What this says"), el("p", {}, "Checked bytes were read from the disk and compared with their checksums in the ledger: by scrub in the background, or now by the button. A checksum stands for a piece of some lines: of a piece that is altered, nobody knows here which lines are. Missing and repeated are bytes of a file as the ledger has them."), el("p", {}, "Whether the file on its own machine is as what is stored, and has nothing behind it, this machine alone cannot know: its client can, and says so here (Verified) after "), el("p", {}, el("code", {}, "logferry verify --log-file /var/log/app.log"))),
    table(
      "Files",
      "",
      [["File"], ["State"], ["Lines stored", "n less"], ["Missing", "n"], ["Repeated", "n less"], ["Altered", "n"], ["Losses", "n"], ["Unknown", "n less"], ["Proven", "n"], ["Last scrub", "less"], ["Verified", "less"], ["Check"]],
      files.map((file) => proofRow(file, go, now, () => signal?.aborted || show("proof", { go, signal }))),
    ),
  ];
}

const badness = (file) => (file.damaged ? 16 : 0) + (file.missing_bytes || file.repeated_bytes ? 8 : 0) + (file.lost ? 4 : 0) + (file.verdict.is_proven === false ? 2 : 0) + (file.unknown ? 1 : 0);

/** What the client has found when it compared its file with what is stored. */
function verified({ verdict }, now) {
  if (!verdict.at) return el("td", { class: "less" }, "never");
  const parts = ["missing", "altered", "repeated", "lost"].filter((name) => verdict[name]).map((name) => `${number(verdict[name])} ${name}`);
  return el("td", { class: "less", title: `${visible(verdict.verdict)}; ${count(verdict.lines, "line")} in the file` }, badge(verdict.is_proven ? "good" : "bad", verdict.is_proven ? "proven" : parts.join(", ") || "not proven"), ` ${ago(verdict.at, now)}`);
}

function proofRow(file, go, now, changed) {
  const isWhole = file.checked_bytes >= file.bytes;
  const states = [
    ...(file.damaged ? [badge("bad", `${count(file.damaged, "extent")} damaged`)] : []),
    ...(file.missing_bytes ? [badge("bad", `${size(file.missing_bytes)} missing`)] : []),
    ...(file.repeated_bytes ? [badge("bad", `${size(file.repeated_bytes)} repeated`)] : []),
    ...(file.lost ? [badge("bad", `${count(file.lost, "loss", "losses")}`)] : []),
    ...(file.unknown ? [badge("unsure", `${count(file.unknown, "unknown window")}`)] : []),
  ];
  if (!states.length) states.push(isWhole && file.bytes ? badge("good", "as stored") : badge("", file.checked_bytes ? "partly checked" : "not checked yet"));
  const reasons = file.gaps.slice(0, 5).map((gap) => el("li", {}, `${when(gap.start)} – ${when(gap.end)}: ${visible(gap.reason)}`));
  return el(
    "tr",
    { class: file.damaged ? "bad" : "" },
    el("td", { class: "name" }, el("button", { type: "button", title: "Show its lines", onclick: () => go({ tab: "logs", host: [file.host], file: file.file ? [file.file] : [], line: "" }) }, `${visible(file.host)} ${visible(file.file) || "(plain protocol)"}`), ...(reasons.length ? [el("ul", { class: "reasons" }, ...reasons)] : [])),
    el("td", {}, ...states),
    cell(number(file.lines), "n less"),
    cell(file.missing_bytes ? size(file.missing_bytes) : "0", "n"),
    cell(file.repeated_bytes ? size(file.repeated_bytes) : "0", "n less"),
    el("td", { class: "n", title: file.damaged ? "lines in the altered pieces" : "as far as it was checked" }, number(file.altered_lines)),
    el("td", { class: "n" }, file.lost ? `${number(file.lost)} (${size(file.lost_bytes)})` : "0"),
    cell(number(file.unknown), "n less"),
    cell(percent(file.checked_bytes, file.bytes), "n"),
    el("td", { class: "less", title: when(file.checked_at) }, ago(file.checked_at, now)),
    verified(file, now),
    el("td", {}, ...checkOf(file, changed)),
  );
}

async function storage({ signal }) {
  const found = await api.get("/storage", {}, { signal });
  const used = found.disk_bytes - found.disk_free;
  const days = new Map();
  const perHost = new Map();
  for (const use of found.usage) {
    days.set(use.day, (days.get(use.day) ?? 0) + use.stored_bytes);
    const sum = perHost.get(use.host) ?? { lines: 0, bytes: 0, stored: 0 };
    perHost.set(use.host, { lines: sum.lines + use.lines, bytes: sum.bytes + use.bytes, stored: sum.stored + use.stored_bytes });
  }
  const left = found.full_at ? (Date.parse(found.full_at) - Date.now()) / 1000 : null;
  const most = Math.max(1, ...[...perHost.values()].map((each) => each.stored));
  return [
    el(
      "div",
      { class: "cards" },
      el("div", { class: "card" }, el("small", {}, "Disk"), el("strong", {}, percent(used, found.disk_bytes)), el("small", {}, `${size(found.disk_free)} free of ${size(found.disk_bytes)}`), meter(used / found.disk_bytes)),
      card("Full at this rate", left === null ? "–" : left > 0 ? `in ${span(left)}` : "now", `${size(found.bytes_per_day)} a day`, left !== null && left < 14 * 86400 ? "bad" : ""),
      card("Stored", size(found.stored_bytes), `of ${size(found.bytes)} plain lines`),
      card("Compression", found.bytes ? `${(found.bytes / Math.max(1, found.stored_bytes)).toFixed(1)} ×` : "–", `${number(found.compressed_segments)} of ${count(found.segments, "segment")} compressed`),
    ),
    el("section", { class: "panel" }, el("h2", {}, "Bytes on the disk, by day"), dayBars([...days].sort())),
    table(
      "By host",
      "",
      [["Host"], ["On the disk", "n"], ["Plain", "n less"], ["Lines", "n less"], ["", ""]],
      [...perHost].sort((a, b) => b[1].stored - a[1].stored).map(([host, sum]) => el("tr", {}, cell(visible(host), "name"), cell(size(sum.stored), "n"), cell(size(sum.bytes), "n less"), cell(number(sum.lines), "n less"), el("td", {}, meter(sum.stored / most)))),
    ),
    table(
      "What retention deletes next",
      found.next_deletions.length ? "The oldest segments first, once --retention-bytes or --retention-days asks for it." : "Nothing: no segment is closed yet.",
      [["Segment"], ["Day"], ["Bytes", "n"], ["Lines", "n less"]],
      found.next_deletions.map((each) => el("tr", {}, cell(visible(each.segment), "name"), cell(visible(each.day)), cell(size(each.stored_bytes), "n"), cell(number(each.lines), "n less"))),
    ),
  ];
}

function meter(share) {
  const part = Math.max(0, Math.min(1, share || 0));
  return svg("svg", { class: "meter", viewBox: "0 0 100 7", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: 100, height: 7 }), svg("rect", { width: 100 * part, height: 7 }));
}

function dayBars(days) {
  const shown = days.slice(-60);
  const most = Math.max(1, ...shown.map(([, bytes]) => bytes));
  const [width, height, foot] = [1000, 150, 22];
  const step = Math.min(72, width / Math.max(shown.length, 1));
  const parts = shown.flatMap(([day, bytes], index) => {
    const tall = (bytes / most) * (height - foot - 8);
    const bar = svg("rect", { class: "bar-info", x: index * step + 2, width: Math.max(2, step - 4), y: height - foot - tall, height: tall, rx: 2 });
    bar.append(svg("title", {}, `${day}: ${size(bytes)}`));
    const isNamed = index % Math.ceil(shown.length / 10) === 0;
    return isNamed ? [bar, svg("text", { class: "tick", x: index * step + 2, y: height - 6 }, day.slice(5))] : [bar];
  });
  return svg("svg", { class: "days", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "xMinYMid meet", role: "img", "aria-label": `Bytes on the disk on ${count(days.length, "day")}` }, ...parts);
}
