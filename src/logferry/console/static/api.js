// Asks the API: with the token if there is one, and with an end for every question that nobody waits for.

const KEY = "logferry-token";

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A token in the fragment (#token=...) is taken over into this tab, and out of the address. */
export function takeToken() {
  const match = /^#token=([^&]+)$/.exec(location.hash);
  if (!match) return;
  sessionStorage.setItem(KEY, decodeURIComponent(match[1]));
  history.replaceState(null, "", location.pathname + location.search);
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token.trim());

let onToken = () => new Promise(() => {});

/** What asks a person for the token; it resolves once there is another one. */
export function askForTokenBy(ask) {
  onToken = ask;
}

async function ask(path, parameters, { signal, accept = "application/json", after = "" } = {}) {
  const query = new URLSearchParams(Object.entries(parameters ?? {}).filter(([, value]) => value !== "" && value !== undefined && value !== null));
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const headers = { Accept: accept, ...(after ? { "Last-Event-ID": after } : {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    let answer;
    try {
      answer = await fetch(`/api/v1${path}?${query}`, { headers, signal, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "network", "The console does not answer. Is `logferry console` still running?");
    }
    if (answer.ok) return answer;
    const problem = await problemOf(answer);
    if (answer.status !== 401 && answer.status !== 429) throw problem;
    await onToken(problem.message, Boolean(token));
  }
}

async function problemOf(answer) {
  try {
    const { error } = await answer.json();
    return new ApiError(answer.status, error.code, error.message);
  } catch {
    return new ApiError(answer.status, "unknown", `The console answered ${answer.status}.`);
  }
}

export const get = async (path, parameters, options) => (await ask(path, parameters, options)).json();

/** Yield the objects of an answer while they come: {line}, {gap}, {counts}, {progress}, {end}. */
export async function* items(path, parameters, options) {
  const answer = await ask(path, parameters, { ...options, accept: "application/x-ndjson" });
  for await (const line of lines(answer)) {
    const item = JSON.parse(line);
    if (item.error) throw new ApiError(500, item.error.code, item.error.message);
    yield item;
  }
}

/** Yield the events of a tail: [kind, value, id]; `after` is the id of the one behind which to go on. */
export async function* events(path, parameters, options) {
  const answer = await ask(path, parameters, { ...options, accept: "text/event-stream" });
  let kind = "";
  let id = "";
  for await (const line of lines(answer)) {
    if (line.startsWith("event: ")) [kind, id] = [line.slice(7), ""];
    else if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("data: ")) {
      const value = JSON.parse(line.slice(6));
      if (kind === "error") throw new ApiError(500, value.code, value.message);
      yield [kind, value, id];
    }
  }
}

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      yield* parts.filter((part) => part !== "");
    }
    if (rest) yield rest;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "network", "The connection to the console has ended.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
