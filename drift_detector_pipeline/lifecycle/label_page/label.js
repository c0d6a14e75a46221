// One image after another, and what is on it. Every answer is saved at once. No library, nothing from elsewhere.
"use strict";

const MOST_KEYS = 9; // classes that have a key of their own
const NEW = "?"; // begins the label of an image that shows none of the classes
const NOT_RUNNING = "The program that saves answers is not running. Start it again (make label), then go on here: what was saved is kept.";

const place = (id) => document.getElementById(id);
const state = { classes: [], images: [], at: 0, skipped: new Set(), busy: false, table: "" };

async function ask(path, body) {
  let reply;
  try {
    const sent = body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    reply = await fetch(path, sent);
  } catch {
    throw new Error(NOT_RUNNING);
  }
  const said = await reply.json();
  if (!reply.ok) throw new Error(said.error);
  return said;
}

function say(text, problem = false) {
  place("status").textContent = text;
  place("status").classList.toggle("problem", problem);
}

// ---- what is where

const current = () => state.images[state.at];
const digits = () => state.classes.length <= MOST_KEYS + 1 && state.classes.every((name) => /^\d$/.test(name));
const few = () => state.classes.length <= MOST_KEYS || digits();
const digitsAreLetters = () => !few() && state.classes.some((name) => /\d/.test(name));

function keyOf(name, position) {
  if (digits()) return name; // "3" is the key of the class 3
  return position < MOST_KEYS && !digitsAreLetters() ? String(position + 1) : "";
}

function shownClasses() {
  const wanted = place("filter").value.trim().toLocaleLowerCase();
  if (few() || !wanted) return state.classes;
  const begins = (name) => name.toLocaleLowerCase().startsWith(wanted);
  const found = state.classes.filter((name) => name.toLocaleLowerCase().includes(wanted));
  return [...found.filter(begins), ...found.filter((name) => !begins(name))];
}

function nextWithout(after) {
  const order = state.images.map((_, step) => (after + 1 + step) % state.images.length);
  return order.find((at) => !state.images[at].label && !state.skipped.has(at));
}

// ---- showing

function classButton(name, position) {
  const button = document.createElement("button");
  const key = keyOf(name, position);
  const found = position === 0 && place("filter").value.trim(); // Enter takes it
  if (key || found) {
    const shown = document.createElement("kbd");
    shown.textContent = found ? "↵" : key;
    shown.setAttribute("aria-hidden", "true");
    button.append(shown, " ");
    button.setAttribute("aria-keyshortcuts", found ? "Enter" : key);
  }
  button.append(name);
  button.type = "button";
  button.dataset.name = name;
  button.dataset.key = key;
  button.setAttribute("aria-pressed", String(current().label === name));
  button.addEventListener("click", () => give(name));
  return button;
}

function showClasses() {
  const shown = shownClasses();
  place("classes").replaceChildren(...shown.map(classButton));
  place("nothing").hidden = shown.length > 0;
}

function showNew() {
  const isNew = current().label.startsWith(NEW);
  place("none").setAttribute("aria-pressed", String(isNew));
  place("what").value = isNew ? current().label.slice(NEW.length) : "";
}

function showCount() {
  const done = state.images.filter(({ label }) => label).length;
  place("count").textContent = `${done} of ${state.images.length} labelled${state.skipped.size ? `, ${state.skipped.size} skipped` : ""}`;
  place("progress").value = done / state.images.length;
}

function show(at) {
  const focused = document.activeElement && document.activeElement.dataset.name;
  state.at = at;
  place("ask").hidden = false;
  place("done").hidden = true;
  place("image").src = `/${current().file}`;
  place("image").alt = `Image ${at + 1} of ${state.images.length}`;
  place("filter").value = "";
  showClasses();
  showNew();
  showCount();
  const same = [...place("classes").children].find(({ dataset }) => focused && dataset.name === focused);
  if (same) same.focus({ preventScroll: true });
  const next = nextWithout(at);
  if (next !== undefined) new Image().src = `/${state.images[next].file}`;
}

function showDone() {
  const left = state.images.filter(({ label }) => !label).length;
  place("ask").hidden = true;
  place("done").hidden = false;
  place("again").hidden = !left;
  place("left").textContent = left ? `${left} of ${state.images.length} have no label.` : `All ${state.images.length} have a label.`;
  place("command").textContent = `make labels FILE=${state.table}`;
  showCount();
  place("over").focus();
}

function goOn() {
  const next = nextWithout(state.at);
  if (next === undefined) showDone();
  else show(next);
}

// ---- doing

async function alone(work) {
  if (state.busy) return;
  state.busy = true;
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  } finally {
    state.busy = false;
  }
}

function inWords(label) {
  if (label === NEW) return "none of these";
  return label.startsWith(NEW) ? `something else, ${label.slice(NEW.length)}` : label || "no label";
}

function give(label) {
  return alone(async () => {
    await ask("/label", { file: current().file, label });
    say(`Image ${state.at + 1}: ${inWords(label)}.`);
    current().label = label;
    state.skipped.delete(state.at);
    goOn();
  });
}

function undo() {
  return alone(async () => {
    const { file, label } = await ask("/undo", {});
    const at = state.images.findIndex((image) => image.file === file);
    state.images[at].label = label;
    state.skipped.delete(at);
    show(at);
    say(`Image ${at + 1}: ${inWords(label)} again.`);
  });
}

function skip() {
  if (!current().label) {
    state.skipped.add(state.at);
    say(`Image ${state.at + 1}: skipped.`);
  }
  goOn();
}

function back() {
  show((state.at + state.images.length - 1) % state.images.length);
  say(`Image ${state.at + 1}: ${inWords(current().label)}.`);
}

// ---- keys

const MOVES = { ArrowRight: skip, ArrowLeft: back, Backspace: undo };

function actionOf(key) {
  const button = [...place("classes").children].find(({ dataset }) => dataset.key && dataset.key === key);
  if (button) return () => give(button.dataset.name);
  return key === NEW ? () => give(NEW) : MOVES[key];
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target === place("what")) return;
  const filter = place("filter");
  const typing = event.target === filter;
  if (place("ask").hidden || (typing && filter.value && event.key in MOVES)) return;
  if (typing && event.key === "Enter") {
    if (filter.value.trim() && place("classes").firstChild) give(place("classes").firstChild.dataset.name);
    return;
  }
  if (!place("keys").checked) return;
  const action = actionOf(event.key);
  if (action) {
    event.preventDefault();
    action();
  } else if (!few() && event.key.length === 1 && event.key !== " ") {
    filter.focus(); // the letter arrives there
  }
}

function listen() {
  document.addEventListener("keydown", press);
  place("filter").addEventListener("input", showClasses);
  place("other").addEventListener("submit", (event) => {
    event.preventDefault();
    place("what").blur();
    give(NEW + place("what").value.trim());
  });
  for (const [id, action] of Object.entries({ skip, back, undo, undo_last: undo })) place(id).addEventListener("click", action);
  place("image").addEventListener("error", () => say("This image cannot be shown; is the program still running? Else skip it.", true));
  place("again").addEventListener("click", () => {
    state.skipped.clear();
    goOn();
  });
  place("first").addEventListener("click", () => show(0));
  place("keys").checked = localStorage.getItem("keys") !== "off";
  place("keys").addEventListener("change", ({ target }) => localStorage.setItem("keys", target.checked ? "on" : "off"));
}

async function start() {
  try {
    Object.assign(state, await ask("/basket"));
    place("find").hidden = few();
    state.at = state.images.length - 1; // so that the first one is next
    goOn();
  } catch (error) {
    say(error.message, true);
  }
}

listen();
start();
