// The page: images or clips in, answers out, and how the last windows did. No library, nothing from elsewhere.
"use strict";

const AT_ONCE = 16; // images of one request
const REFRESH_MS = 10000;
const HISTORY = 40;
const MOST_SHOWN = 64;
const ENOUGH = 16; // images for a verdict

// What a person reads, by what the model was trained for; of labels the page says it as it is.
const WORDS = {
  boxes: { title: "What is on these images, and where?" },
  clips: {
    title: "What happens in these clips?",
    wanted: "Drop short videos here, or .npz files of frames, or choose files",
    taken: "Take a video",
  },
};

let things = "images"; // what the log has rows of
let shown = ""; // what was last said of drift

const place = (id) => document.getElementById(id);
const password = place("password");

function element(tag, { text, className, ...rest } = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [name, value] of Object.entries(rest)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

async function ask(path, body) {
  const headers = password.value ? { "X-API-Key": password.value } : {};
  const reply = await fetch(path, body ? { method: "POST", body, headers } : { headers }).catch(() => {
    throw new Error("The service does not answer. Is it still running?");
  });
  if (reply.status === 401 && place("key").hidden) { // later, whoever reads elsewhere is left there
    place("key").hidden = false;
    password.focus();
  }
  const said = await reply.json().catch(() => ({}));
  if (!reply.ok && !said.title) throw new Error(`No answer, status ${reply.status}. Is the service running?`);
  if (!reply.ok) throw new Error(`${said.title}: ${said.detail} (request ${said.request_id})`);
  return said;
}

// A link cannot send the key: what is behind it is saved as a file.
async function save(path) {
  const reply = await fetch(path, { headers: { "X-API-Key": password.value } });
  if (!reply.ok) throw new Error((await reply.json()).detail);
  const address = URL.createObjectURL(await reply.blob());
  element("a", { href: address, download: path.startsWith("/drift/") ? `drift${path.split("/")[2]}.html` : "model.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

function form(files) {
  const body = new FormData();
  for (const file of files) body.append("images", file, file.name || "image");
  return body;
}

// ---- answers

async function picture(file, label) {
  const canvas = element("canvas", { width: 192, height: 192, role: "img", "aria-label": label });
  try {
    const image = await createImageBitmap(file);
    const side = Math.min(image.width, image.height);
    const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
    canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, 192, 192);
  } catch {
    canvas.setAttribute("aria-label", `${label} (this browser cannot show it)`);
  }
  return canvas;
}

function bars(top) {
  const rows = top.map(({ label, probability }) =>
    element("div", {}, element("dt", { text: label, title: label }), element("dd", { text: percent(probability) }),
      element("meter", { min: 0, max: 1, value: probability, "aria-label": `${label} ${percent(probability)}` })));
  return element("dl", { className: "bars" }, ...rows);
}

async function labelShown(file, answer) {
  const unlike = answer.scores && answer.scores.length ? howItDiffers(answer.scores) : "";
  return element("li", {}, await picture(file, `the middle of ${file.name}`),
    element("p", {}, element("strong", { text: answer.label }), ` · ${file.name}`), bars(answer.top3),
    element("p", { text: unlike, className: "unlike" }));
}

async function showAnswer(file, answer) {
  const shown = "frames" in answer ? filmShown : answer.boxes ? boxesShown : labelShown;
  place("answers").prepend(await shown(file, answer));
  while (place("answers").children.length > MOST_SHOWN) place("answers").lastChild.remove();
}

function byName(files) {
  return (error) => {
    throw new Error(error.message.replace(/image (\d+) of \d+(?=: )/, (all, number) => files[number - 1]?.name || all));
  };
}

async function answerAll(files) {
  let done = 0;
  for (let start = 0; start < files.length; start += AT_ONCE) {
    const some = files.slice(start, start + AT_ONCE);
    const said = await ask("/predict?scores=true", form(some)).catch(byName(some));
    for (const [number, answer] of said.answers.entries()) await showAnswer(some[number], answer);
    done += some.length;
    place("status").textContent = `${done} of ${files.length} answered.`;
  }
}

async function judgeTogether(files) {
  const where = place("together");
  if (things === "clips") {
    where.textContent = "Whether clips differ from the training world is told below, once they came from eight sources or more.";
    return;
  }
  if (files.length < ENOUGH) {
    where.textContent = `To learn whether images differ from the training world, drop ${ENOUGH} images or more at once: one, or a few, may be unusual by chance.`;
    return;
  }
  where.textContent = "Looking at them together …";
  try {
    where.replaceChildren(...gauge(await ask("/drift", form(files.slice(0, MOST_SHOWN))), "Together"));
  } catch (error) {
    where.textContent = `No verdict on them together. ${error.message}`;
  }
}

async function watchAll(videos) {
  for (const [number, file] of videos.entries()) {
    place("status").textContent = `Watching ${file.name} …`;
    const said = await ask("/predict", file);
    await showAnswer(file, said.answers[0]);
    const { timeline, frames } = said.answers[0];
    const words = timeline ? `${file.name} answered.` : `${frames.length} frames of ${file.name} answered.`;
    place("status").textContent = videos.length > 1 ? `${words} ${number + 1} of ${videos.length} videos.` : words;
  }
}

async function take(files) {
  const videos = [...files].filter(isFilm);
  const images = [...files].filter((file) => !isFilm(file) && (file.type.startsWith("image/") || !file.type));
  if (!images.length && !videos.length) {
    place("status").textContent = "None of these is an image or a video.";
    return;
  }
  place("status").textContent = "One moment …";
  try {
    if (images.length) {
      await answerAll(images);
      await judgeTogether(images);
    }
    await watchAll(videos);
  } catch (error) {
    place("status").textContent = error.message;
  }
  refresh();
}

// ---- drift

function estimate(verdict) {
  const { accuracy, map50 } = verdict.detail || {}; // their sentence is in the summary, known or not
  const said = accuracy || map50;
  if (!said || said.known === false) return [];
  const [name, value] = accuracy ? ["accuracy", accuracy.accuracy] : ["mAP50", map50.value];
  return [element("meter", { min: 0, max: 1, value, "aria-label": `Estimated ${name} ${percent(value)}` })];
}

function titleOf(verdict) {
  return verdict.level === "too few images" && things === "clips" ? "Too few sources" : LEVELS[verdict.level].title;
}

function gauge(verdict, of) {
  const { sign, words } = LEVELS[verdict.level];
  const title = titleOf(verdict);
  const sentences = verdict.summary.length ? verdict.summary : [words];
  const report = verdict.report ? [element("p", {}, element("a", { href: verdict.report, text: "The whole report" }))] : [];
  return [element("div", { className: `gauge ${verdict.level}` },
    element("p", { className: "level", text: `${sign} ${title}` }),
    element("p", { className: "note", text: `${of}: ${verdict.images} ${things}, ${new Date(verdict.at).toLocaleString()}` }),
    ...sentences.map((text) => element("p", { text })), ...estimate(verdict), ...report)];
}

function strip(history) {
  return history.map((verdict) => {
    const { sign } = LEVELS[verdict.level];
    const name = `${titleOf(verdict)}, ${new Date(verdict.at).toLocaleString()}${verdict.source ? `, ${verdict.source}` : ""}`;
    return element("li", {}, element("a", { href: verdict.report, className: verdict.level, text: sign, title: name, "aria-label": name }));
  });
}

// A screen reader would read the same again.
function isNews(text) {
  const before = shown;
  shown = text;
  return text !== before;
}

// Whoever is on a link stays there.
function replace(where, children) {
  const address = where.contains(document.activeElement) && document.activeElement.getAttribute("href");
  where.replaceChildren(...children);
  if (address) where.querySelector(`a[href="${address}"]`)?.focus();
}

async function refresh() {
  const where = place("gauge");
  try {
    const said = await ask(`/drift?history=${HISTORY}`);
    if (!isNews(JSON.stringify(said))) return;
    const none = `No verdict yet: the first one comes after ${said.window} ${things}${things === "clips" ? "" : " from the same source"}.`;
    replace(where, said.newest ? gauge(said.newest, "Newest window") : [element("p", { text: none })]);
    if (said.behind) where.append(element("p", { text: `The log is behind: newer ${things} are not in this verdict.` }));
    replace(place("history"), strip(said.history));
  } catch (error) {
    if (isNews(error.message)) where.replaceChildren(element("p", { text: error.message }));
  }
}

function nameAll(task) {
  for (const [id, text] of Object.entries(WORDS[task] || {})) place(id).textContent = text;
  document.title = place("title").textContent;
  if (task !== "clips") return;
  things = "clips";
  place("photo").accept = "video/*";
}

async function showModel() {
  try {
    const said = await ask("/model");
    nameAll(said.task);
    const classes = said.classes.length > 12 ? `${said.classes.length} classes` : said.classes.join(", ");
    place("model").textContent = `Model ${said.version} (${said.model}, ${said.runtime} ${said.precision}). It knows: ${classes}`;
  } catch (error) {
    place("model").textContent = error.message;
  }
}

// ---- ways in

function listen() {
  const drop = place("drop");
  for (const id of ["files", "photo"]) {
    place(id).addEventListener("change", (event) => {
      take(event.target.files);
      event.target.value = "";
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files);
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files);
    });
  }
  password.addEventListener("change", () => showModel().then(refresh));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='/drift/'], a[href='/model']");
    if (!link || !password.value) return;
    event.preventDefault();
    save(link.getAttribute("href")).catch((error) => { place("status").textContent = error.message; });
  });
}

listen();
showModel().then(refresh);
setInterval(refresh, REFRESH_MS);
