// A short video that plays with what was said of each of its frames: boxes over it, or labels along its time.
"use strict";

const VIDEO_ENDINGS = /\.(mp4|m4v|mov|webm|mkv|avi)$/i;

// What is asked about alone: a video, or an .npz of frames.
function isFilm(file) {
  return file.type.startsWith("video/") || VIDEO_ENDINGS.test(file.name || "") || isArray(file);
}

function isArray(file) {
  return /\.npz$/i.test(file.name || "");
}

// The last frame that has begun at `seconds`, or will a moment later: half a frame, of whole seconds less; players round.
function frameAt(frames, seconds) {
  const gap = frames.length > 1 ? Math.min(0.1, (frames[frames.length - 1].seconds - frames[0].seconds) / (frames.length - 1)) : 0;
  let [low, high] = [0, frames.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (frames[middle].seconds <= seconds + gap / 2) low = middle;
    else high = middle - 1;
  }
  return low;
}

// Calls `show(seconds)` for each frame that the player brings on the screen.
function follow(player, show) {
  if (player.requestVideoFrameCallback) {
    const shown = (now, { mediaTime }) => {
      show(mediaTime);
      player.requestVideoFrameCallback(shown);
    };
    player.requestVideoFrameCallback(shown);
  } else {
    for (const name of ["timeupdate", "seeked"]) player.addEventListener(name, () => show(player.currentTime));
  }
}

function thingsWords(frames, least) {
  const kinds = new Map();
  for (const { boxes } of frames) {
    for (const { label, track, score } of boxes) if (track && score >= least) kinds.set(track, { label });
  }
  return countedWords([...kinds.values()]);
}

// Stretches of frames with one label, as buttons that lead there.
function labelStrip(frames, goTo) {
  const stretches = [];
  for (const { label, seconds } of frames) {
    const last = stretches[stretches.length - 1];
    if (last && last.label === label) last.end = seconds;
    else stretches.push({ label, start: seconds, end: seconds });
  }
  const labels = [...new Set(frames.map(({ label }) => label))].sort();
  const total = frames[frames.length - 1].seconds || 1;
  const items = stretches.map(({ label, start, end }, place) => {
    const until = place + 1 < stretches.length ? stretches[place + 1].start : end;
    const words = `${label}, ${start.toFixed(1)} to ${until.toFixed(1)} s`;
    const button = element("button", { type: "button", text: label, title: words, "aria-label": words });
    button.style.borderTopColor = colourOf(label, labels);
    button.addEventListener("click", () => goTo(start));
    const item = element("li", {}, button);
    item.style.flexGrow = String(Math.max(0.02, (until - start) / total));
    return item;
  });
  return element("ol", { className: "timeline", "aria-label": "Labels along the video" }, ...items);
}

// The player with a canvas over it, buttons that go from frame to frame, and what is said of the frame on the screen.
function filmPlayer(file, answer, draw, unit = "frame") {
  const player = element("video", { controls: "", muted: "", playsinline: "", controlslist: "nofullscreen", "aria-label": file.name });
  player.muted = true;
  player.src = URL.createObjectURL(file);
  const canvas = element("canvas", { role: "img" });
  const trouble = element("p", { className: "unlike" });
  let number = 0;
  const show = (which) => {
    number = Math.min(Math.max(which, 0), answer.frames.length - 1);
    draw(canvas, answer.frames[number]);
  };
  const goTo = (seconds) => {
    show(frameAt(answer.frames, seconds));
    if (player.error) return;
    player.pause();
    player.currentTime = seconds + 0.001;
  };
  const step = (by, text) => {
    const button = element("button", { type: "button", className: "button", text });
    button.addEventListener("click", () => goTo(answer.frames[Math.min(Math.max(number + by, 0), answer.frames.length - 1)].seconds));
    return button;
  };
  player.addEventListener("error", () => {
    trouble.textContent = "This browser cannot play the file; the buttons lead through it.";
    player.hidden = true;
  });
  follow(player, (seconds) => {
    if (!player.seeking) show(frameAt(answer.frames, seconds)); // else it is on its way to where a button leads
  });
  const steps = element("p", { className: "steps" }, step(-1, `◀ one ${unit}`), step(1, `one ${unit} ▶`));
  const screen = element("div", { className: "screen" }, player, canvas);
  screen.style.aspectRatio = `${answer.width} / ${answer.height}`;
  return { parts: [screen, trouble, steps], again: () => show(number), goTo };
}

function boxedFilm(file, answer) {
  const words = element("p");
  const now = element("p", { className: "note" });
  const slider = element("input", { type: "range", min: LEAST, max: 1, step: 0.01, value: SURE });
  const value = element("output", { text: percent(SURE) });
  const labels = [...new Set(answer.frames.flatMap(({ boxes }) => boxes.map(({ label }) => label)))].sort();
  const film = filmPlayer(file, answer, (canvas, frame) => {
    const least = Number(slider.value);
    drawBoxes(canvas, null, { ...answer, boxes: frame.boxes }, labels, least);
    const said = `frame ${frame.frame}, ${frame.seconds.toFixed(2)} s: ${countedWords(frame.boxes.filter(({ score }) => score >= least))}`;
    now.textContent = said;
    canvas.setAttribute("aria-label", said);
  });
  const all = () => {
    value.textContent = percent(Number(slider.value));
    words.replaceChildren(element("strong", { text: thingsWords(answer.frames, Number(slider.value)) }), ` · ${file.name}`);
    film.again();
  };
  slider.addEventListener("input", all);
  all();
  const threshold = element("label", { className: "threshold", text: "Boxes with a score of at least " }, slider, value);
  return [...film.parts, now, words, threshold, histogram(answer.frames.flatMap(({ boxes }) => boxes))];
}

function labelledFilm(file, answer) {
  const now = element("div", { className: "now" });
  const film = filmPlayer(file, answer, (canvas, frame) => {
    const said = `frame ${frame.frame}, ${frame.seconds.toFixed(2)} s`;
    now.replaceChildren(element("p", { className: "note", text: said }), bars(frame.top3));
    canvas.setAttribute("aria-label", `${said}: ${frame.label} ${percent(frame.probability)}`);
  });
  film.again();
  return [...film.parts, labelStrip(answer.frames, film.goTo), now, element("p", { text: file.name })];
}

// Each second as a column, as high as its label is probable; a button that leads there.
function secondsStrip(seconds, labels, goTo) {
  const items = seconds.map(({ second, end, label, probability }) => {
    const words = `${second} to ${end.toFixed(1)} s: ${label} ${percent(probability)}`;
    const button = element("button", { type: "button", title: words, "aria-label": words });
    button.style.height = `${Math.max(4, Math.round(100 * probability))}%`;
    button.style.backgroundColor = colourOf(label, labels);
    button.addEventListener("click", () => goTo(second));
    return element("li", {}, button);
  });
  const key = labels.map((label) => {
    const mark = element("span", { className: "mark", "aria-hidden": "true" });
    mark.style.backgroundColor = colourOf(label, labels);
    return element("span", {}, mark, ` ${label} `);
  });
  const strip = element("ol", { className: "seconds", "aria-label": "Second by second" }, ...items);
  return [strip, element("p", { className: "note" }, "What the clip shows that begins at each second: ", ...key)];
}

function clipSaid(file, answer) {
  const looked = answer.frames ? `, ${answer.frames} frames looked at` : "";
  return [element("p", {}, element("strong", { text: answer.label }), ` · ${file.name}${looked}`), bars(answer.top3)];
}

function clipFilm(file, answer) {
  const seconds = answer.timeline.map((one) => ({ ...one, frame: one.second, seconds: one.start }));
  if (!seconds.length) return clipSaid(file, answer);
  const labels = [...new Set(seconds.map(({ label }) => label))].sort();
  const now = element("div", { className: "now" });
  const film = filmPlayer(file, { ...answer, frames: seconds }, (canvas, one) => {
    const said = `from ${one.second} to ${one.end.toFixed(1)} s`;
    now.replaceChildren(element("p", { className: "note", text: said }), bars(one.top3));
    canvas.setAttribute("aria-label", `${said}: ${one.label} ${percent(one.probability)}`);
  }, "second");
  film.again();
  return [...film.parts, ...secondsStrip(seconds, labels, film.goTo), now, ...clipSaid(file, answer)];
}

// A list item with the video and all that is said of it.
async function filmShown(file, answer) {
  const parts = answer.timeline ? clipFilm(file, answer) : answer.frames[0].boxes ? boxedFilm(file, answer) : labelledFilm(file, answer);
  const problem = answer.problem ? [element("p", { className: "unlike", text: answer.problem })] : [];
  return element("li", { className: "found film" }, ...parts, ...problem);
}
