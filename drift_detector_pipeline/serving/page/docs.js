// The endpoints of openapi.json as a page: no library, nothing from elsewhere.
"use strict";

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function row(cells, tag = "td") {
  return element("tr", "", ...cells.map((cell) => element(tag, cell)));
}

function table(head, rows) {
  return element("table", "", row(head, "th"), ...rows);
}

function endpoint(path, method, said) {
  const section = element("section", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", said.description));
  const asked = (said.parameters || []).map((one) =>
    row([one.name, one.in, JSON.stringify(one.schema.type || "text"), one.description || one.schema.description || ""]));
  if (asked.length) section.append(table(["parameter", "where", "kind", "meaning"], asked));
  const bodies = Object.keys((said.requestBody || {}).content || {});
  if (bodies.length) section.append(element("p", `Body: ${bodies.join(", ")}`));
  const answers = Object.entries(said.responses).map(([status, one]) =>
    row([status, one.description, Object.keys(one.content || {}).join(", ")]));
  section.append(table(["status", "meaning", "as"], answers));
  return section;
}

async function show() {
  const place = document.getElementById("endpoints");
  const all = await (await fetch("/openapi.json")).json();
  const found = Object.entries(all.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, said]) => endpoint(path, method, said)));
  place.replaceChildren(...found);
}

show();
