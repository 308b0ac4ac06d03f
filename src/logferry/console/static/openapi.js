// Shows openapi.json for people.

import * as api from "./api.js";
import { el, visible } from "./text.js";

api.takeToken();
const main = document.getElementById("api");
try {
  const { info, paths } = await api.get("/openapi.json");
  main.replaceChildren(
    el("h1", {}, `${info.title}, version ${info.version}`),
    el("p", {}, info.description),
    el("p", {}, el("a", { href: "/api/v1/openapi.json" }, "openapi.json"), " describes the same for programs."),
    ...Object.entries(paths).map(([path, { get }]) => article(path, get)),
  );
} catch (error) {
  main.replaceChildren(el("p", { role: "alert" }, visible(error.message)));
}

function article(path, { summary, parameters, responses }) {
  const rows = parameters.map(({ name, description, required }) =>
    el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, `${description}${required ? " (needed)" : ""}`)),
  );
  const types = Object.keys(responses["200"].content).join(", ");
  return el("article", {}, el("h2", {}, `GET ${path}`), el("p", {}, `${summary}. Answers with ${types}.`), el("table", {}, ...rows));
}
