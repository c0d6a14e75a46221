// How an image differs from the training world, in words. A rank is the share of training images that have less.
"use strict";

// score -> [what little of it looks like, what much of it looks like]; scores that say nothing to a person are left out
const LOOKS = {
  luma: ["darker", "brighter"],
  contrast: ["flatter (less contrast)", "harsher (more contrast)"],
  saturation: ["paler (less colour)", "more colourful"],
  red_green: ["greener", "redder"],
  yellow_blue: ["bluer", "yellower"],
  gradient: ["blurrier", "sharper or more detailed"],
  noise: ["smoother", "grainier"],
  blockiness: [null, "blockier (as from strong compression)"],
};
const UNUSUAL = 0.01; // of the training images at most are as far out
const MOST_WORDS = 3;

function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)} %`;
}

function unusualWords(scores) {
  const found = scores.flatMap(({ name, rank }) => {
    const [little, much] = LOOKS[name] || [null, null];
    const out = Math.min(rank, 1 - rank);
    const word = rank < 0.5 ? little : much;
    return word && out <= UNUSUAL ? [{ word, share: Math.max(rank, 1 - rank), out }] : [];
  });
  return found.sort((one, other) => one.out - other.out).slice(0, MOST_WORDS);
}

// One sentence about an image, or two.
function howItDiffers(scores) {
  const unusual = unusualWords(scores);
  const strange = scores.find(({ name }) => name === "strangeness");
  const sentences = [];
  if (unusual.length) {
    const [first, ...others] = unusual.map(({ word, share }) => `${word} than ${share >= 0.9995 ? "all" : percent(share)}`);
    sentences.push(`It is ${[`${first} of the training world`, ...others].join(", ")}.`);
  }
  if (strange && strange.rank >= 1 - UNUSUAL) sentences.push("It may show something that is none of the known classes.");
  return sentences.length ? sentences.join(" ") : "It looks like the training world.";
}

const LEVELS = {
  quiet: { sign: "✓", title: "Quiet", words: "They look like the training world." },
  notice: { sign: "!", title: "Notice", words: "They look different." },
  alert: { sign: "‼", title: "Alert", words: "They look different, and the model has probably lost accuracy." },
  "too few images": { sign: "…", title: "Too few images", words: "" },
};
