// An image with what was found in it: boxes by class, a threshold to move, how sure the model was.
"use strict";

const SURE = 0.5; // score from which a box is drawn at first
const LEAST = 0.05; // what a service says at all
const LONGEST_PX = 640; // of a picture on the page
const BINS = 10;
const COLOURS = ["#d1495b", "#2e86ab", "#3c8d2f", "#b8690f", "#7b4fa3", "#0f8b8d", "#8f5a2a", "#50577a"];

function colourOf(label, labels) {
  return COLOURS[labels.indexOf(label) % COLOURS.length];
}

function countedWords(boxes) {
  const counts = new Map();
  for (const { label } of boxes) counts.set(label, (counts.get(label) || 0) + 1);
  return [...counts].sort().map(([label, count]) => `${count} ${label}`).join(", ") || "nothing";
}

function drawBoxes(canvas, image, answer, labels, least) {
  const scale = Math.min(1, LONGEST_PX / Math.max(answer.width, answer.height));
  canvas.width = Math.round(answer.width * scale);
  canvas.height = Math.round(answer.height * scale);
  const on = canvas.getContext("2d");
  if (image) on.drawImage(image, 0, 0, canvas.width, canvas.height);
  on.font = "13px system-ui, sans-serif";
  on.lineWidth = 2;
  for (const { label, score, box, track } of answer.boxes.filter((one) => one.score >= least).reverse()) {
    const [x0, y0, x1, y1] = box.map((value) => value * scale);
    on.strokeStyle = on.fillStyle = colourOf(label, labels);
    on.strokeRect(x0, y0, x1 - x0, y1 - y0);
    const words = `${label}${track ? ` ${track}` : ""} ${percent(score)}`;
    const top = Math.max(0, y0 - 16);
    on.fillRect(x0 - 1, top, on.measureText(words).width + 6, 16);
    on.fillStyle = "#fff";
    on.fillText(words, x0 + 2, top + 12);
  }
}

function histogram(boxes) {
  const bins = new Array(BINS).fill(0);
  for (const { score } of boxes) bins[Math.min(BINS - 1, Math.floor(score * BINS))] += 1;
  const most = Math.max(1, ...bins);
  const said = bins.map((count, bin) => `${bin * 10} to ${bin * 10 + 10} %: ${count}`).join(", ");
  const bars = bins.map((count, bin) => {
    const bar = element("span", { title: `${bin * 10} to ${bin * 10 + 10} %: ${count}` });
    bar.style.height = `${Math.round((100 * count) / most)}%`;
    return bar;
  });
  return element("div", { className: "histogram", role: "img", "aria-label": `Boxes by score: ${said}` }, ...bars);
}

// A list item with the picture, its boxes, the slider and the histogram.
async function boxesShown(file, answer) {
  const canvas = element("canvas", { role: "img", className: "boxes" });
  const words = element("p");
  const slider = element("input", { type: "range", min: LEAST, max: 1, step: 0.01, value: SURE });
  const value = element("output", { text: percent(SURE) });
  const labels = [...new Set(answer.boxes.map(({ label }) => label))].sort();
  let image = null;
  try {
    image = await createImageBitmap(file);
  } catch {
    words.append("This browser cannot show the image. ");
  }
  const show = () => {
    const least = Number(slider.value);
    const shown = answer.boxes.filter(({ score }) => score >= least);
    drawBoxes(canvas, image, answer, labels, least);
    value.textContent = percent(least);
    const said = countedWords(shown);
    words.replaceChildren(element("strong", { text: said }), ` · ${file.name}`);
    canvas.setAttribute("aria-label", `${file.name} with ${said}`);
  };
  slider.addEventListener("input", show);
  show();
  const threshold = element("label", { className: "threshold", text: "Boxes with a score of at least " }, slider, value);
  return element("li", { className: "found" }, canvas, words, threshold, histogram(answer.boxes));
}
