"""The proof for streams: `python -m drift_detector_pipeline.proof.stream_study RUN alibi=build/alibi/bin/python`.

In: a finished run and its processed data. Out: reports/stream_study_<data>.json: false notices of streams in which
nothing changes, images until a notice and an alert for 75 changes, whether the beginning is found, what an update
costs, and delays beside an EWMA chart and alibi-detect's detectors at one rate of false alarms. `alibi`: a Python that
has alibi-detect (stream_peers.py says how); without it that is left out. Other words: see DEFAULTS.
"""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.corruptions.corrupt import FAMILIES, KINDS, SEVERITIES, corrupt
from drift_detector_pipeline.drift.detecting import watchable_of
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.drift.reference import Learned, learn, mistakes, one_blas_thread, predictions, refer
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.scores.signals import Forward, Signals, Twin, read_signals
from drift_detector_pipeline.drift.stream.channels import channel_values, channels_of
from drift_detector_pipeline.drift.stream.detector import StreamDetector
from drift_detector_pipeline.drift.twins import make_twins
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof.stream_null import of_draws, of_normal_numbers, of_splits
from drift_detector_pipeline.proof.stream_peers import HOW, LONGEST, Watched, compare, endless, streams_of
from drift_detector_pipeline.proof.stream_summary import as_text, summarise
from drift_detector_pipeline.proof.study_material import Labelled, drawn_for
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run

DEFAULTS = {"images": 1000, "twins": 2000, "runs": 3, "splits": 100, "streams": 20, "horizon": 10**6, "seed": 0}
CLEAN_BEFORE = 1000  # images before a change whose beginning is to be found
MEAN_OF = 8  # images in a group, to show what means of groups would do


class Changed(NamedTuple):
    """Images of `pool` after one change."""

    name: str
    kind: str
    signals: Signals
    labels: Labels


class Material(NamedTuple):
    """All signals that are needed; no image plays two parts."""

    side_px: int
    fit: Signals
    fit_labels: Labels
    twins: list[Twin]
    ref: Signals
    ref_labels: Labels
    pool: Signals
    pool_labels: Labels
    cells: list[Changed]  # 75


class Scored(NamedTuple):
    """Images as a stream sees them."""

    scores: Float32s  # (N, S)
    predicted: Labels  # (N,)

    def take(self, rows: Labels) -> "Scored":
        """Some of them."""
        return Scored(self.scores[rows], self.predicted[rows])


@exit_status
def main() -> int:
    """Study the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    given = dict(word.partition("=")[::2] for word in command.overrides)
    alibi, numbers = given.pop("alibi", ""), DEFAULTS | _numbers(given)
    set_up_logging()
    folder = command.target or newest_finished()
    started, processed = time.perf_counter(), read_receipt(folder).data()
    roles = roles_of(processed)
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        forward = through(trained.network.module, trained.network.mean, trained.network.std)
        fit, ref, pool = (
            Labelled(crops_of(processed, part, trained.img_size), processed.images.labels[part]) for part in roles
        )
        material = gather(fit, ref, pool, forward, numbers)
    facts = {
        "data": processed.folder.name, "weights_sha256": trained.sha256, "model": trained.architecture,
        "command": this_command(), "when": now(), "packages": package_versions(),
    }  # fmt: skip
    found = facts | examine(material, numbers, alibi)
    found["minutes"] = round((time.perf_counter() - started) / 60, 1)
    report = Path("reports") / f"stream_study_{processed.folder.name}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    print("\n".join(as_text(found)))
    log.info("%s", report)
    return 0


def gather(fit: Labelled, ref: Labelled, pool: Labelled, forward: Forward, numbers: dict[str, int]) -> Material:
    """Read everything once: clean, as twins, and `pool` corrupted in 75 ways, each time other images of it."""
    clean = [read_signals(part.images, forward) for part in (fit, ref, pool)]
    made = make_twins(fit.images, forward, count=numbers["twins"], seed=numbers["seed"])
    cells = list[Changed]()
    for number, (kind, severity) in enumerate(product(KINDS, SEVERITIES)):
        rows = drawn_for(number, len(pool.labels), numbers["images"], numbers["seed"])
        changed = corrupt(pool.images[rows], kind, severity, keys=rows.tolist(), seed=numbers["seed"] + 1)
        cells.append(Changed(f"{kind} {severity}", kind, read_signals(changed, forward), pool.labels[rows]))
    return Material(fit.images.shape[1], clean[0], fit.labels, made, clean[1], ref.labels, clean[2], pool.labels, cells)


def examine(material: Material, numbers: dict[str, int], alibi: str) -> dict[str, Any]:
    """Everything that is measured, from the signals alone."""
    with one_blas_thread():
        known = _learned(material, ())
        watch = _watch(material, known)
        pool = _scored(material.pool, known)
        found: dict[str, Any] = {
            "numbers": numbers, "channels": list(watch.channels), "reference": len(material.ref_labels),
            "false_notices": _false_notices(material, known, numbers),
            "means_of_groups": _means_of_groups(watch, pool, numbers["seed"]),
            "cost": _cost(watch, pool),
            "known_kind": _delays(material, material.cells, known, numbers),
        }  # fmt: skip
        left_out = dict[str, Any]()
        for kinds in FAMILIES.values():
            cells = [cell for cell in material.cells if cell.kind in kinds]
            left_out |= _delays(material, cells, _learned(material, kinds), numbers)
        found["held_out_family"] = left_out
        found["at_one_rate"] = _at_one_rate(material, known, numbers, alibi)
    one_rate = {f"{name}, one rate": row["delays"] for name, row in found["at_one_rate"].items()}
    regimes = {name: found[name] for name in ("known_kind", "held_out_family")} | one_rate
    found["summary"] = {name: summarise(rows) for name, rows in regimes.items()}
    return found


def _learned(material: Material, without: Sequence[str]) -> Learned:
    twins = [twin for twin in material.twins if twin.kind not in without]
    return learn(material.fit, material.fit_labels, twins, material.side_px)


def _scored(signals: Signals, learned: Learned) -> Scored:
    return Scored(phi(signals, learned.parameters), predictions(signals))


def _watch(material: Material, learned: Learned) -> StreamDetector:
    side, classes = material.side_px, list(map(str, range(material.ref.logits.shape[1])))
    reference = refer(learned, material.ref, material.ref_labels)
    detector = DriftDetector(
        reference, _never, classes, Preparation(side, side), identity="studied", thumbnails=[], facts={}
    )
    return StreamDetector(detector)


def _never(images: Any) -> Any:
    raise NotImplementedError("everything was read before")


def _false_notices(material: Material, learned: Learned, numbers: dict[str, int]) -> dict[str, Any]:
    channels = channels_of(watchable_of(learned))
    values = np.concatenate(
        [channel_values(*_scored(part, learned), channels) for part in (material.ref, material.pool)]
    )
    reference, seed = len(material.ref_labels), numbers["seed"]
    long = reference, numbers["horizon"], numbers["streams"], seed
    return {
        "every image once": of_splits(values, reference, numbers["splits"], seed),
        "draws from the clean images": of_draws(values, *long),
        "independent channels": of_normal_numbers(values.shape[1], *long),
    }


def _means_of_groups(watch: StreamDetector, pool: Scored, seed: int) -> dict[str, float]:
    """Share of clean streams of groups that raise a notice: by the mean of a group's scores, and as it is done."""
    rng, groups, tries = np.random.default_rng(seed), min(200, len(pool.predicted) // MEAN_OF), 20
    found = {"mean": 0, "one frame": 0}
    for number in range(tries):
        rows = rng.permutation(len(pool.predicted))[: groups * MEAN_OF]
        part = pool.take(rows)
        means = part.scores.reshape(groups, MEAN_OF, -1).mean(axis=1)
        keys = [str(place // MEAN_OF) for place in range(len(rows))]
        found["mean"] += bool(watch.take(means, part.predicted[::MEAN_OF], source=f"mean {number}"))
        found["one frame"] += bool(watch.take(*part, source=f"frame {number}", groups=keys))
    watch.sources.clear()
    return {name: count / tries for name, count in found.items()}


def _cost(watch: StreamDetector, pool: Scored) -> dict[str, float]:
    """CPU microseconds an image beside its scores, in calls of 64 and of 1 image."""
    rng, found = np.random.default_rng(0), dict[str, float]()
    for size, images in ((64, 4096), (1, 512)):
        rows = rng.integers(0, len(pool.predicted), images)
        started = time.process_time()
        for start in range(0, images, size):
            watch.take(*pool.take(rows[start : start + size]), source="cost")
        found[str(size)] = (time.process_time() - started) / images * 1e6
    watch.sources.clear()
    return found


def _delays(
    material: Material, cells: Iterable[Changed], learned: Learned, numbers: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """For each cell: images from the change to a notice, at once and after clean images; to an alert; its beginning."""
    watch, clean = _watch(material, learned), _scored(material.pool, learned)
    right = 1 - float(mistakes(material.pool, material.pool_labels).mean())
    found = dict[str, dict[str, Any]]()
    for cell in cells:
        changed, rng = _scored(cell.signals, learned), np.random.default_rng((numbers["seed"], len(found)))
        row: dict[str, Any] = {"delays": [], "later": [], "alerts": [], "beginnings": []}
        row["lost"] = right - 1 + float(mistakes(cell.signals, cell.labels).mean())
        for _ in range(numbers["runs"]):
            stream = changed.take(endless(len(changed.predicted), rng))
            before = clean.take(rng.permutation(len(clean.predicted))[:CLEAN_BEFORE])
            row["delays"].append(_notice(watch, stream)["delay"])
            later = _notice(watch, stream, before)
            row["later"].append(later["delay"])
            row["alerts"].append(later["alert"])
            row["beginnings"].append(later["beginning"])
        found[cell.name] = row
    return found


def _notice(watch: StreamDetector, stream: Scored, before: Scored | None = None) -> dict[str, Any]:
    """Images from the change to a notice, at most LONGEST, and an alert; how far off the beginning is, and if held."""
    watch.sources.clear()
    start = 0
    if before is not None:
        start = len(before.predicted)
        watch.take(*before)
    alarms = list[Any]()
    for place in range(0, LONGEST, 64):
        alarms += watch.take(stream.scores[place : place + 64], stream.predicted[place : place + 64])
        if alarms and (before is None or alarms[-1].level == "alert" or place > LONGEST // 3):
            break
    image = {alarm.level: alarm.image - start for alarm in alarms}
    first = alarms[0] if alarms else None
    beginning = None if first is None else [first.since - start - 1, first.since_low <= start + 1 <= first.since_high]
    return {"delay": image.get("notice", LONGEST), "alert": image.get("alert"), "beginning": beginning}


def _at_one_rate(material: Material, learned: Learned, numbers: dict[str, int], alibi: str) -> dict[str, Any]:
    """Delays of every method when each raises one false alarm in so many images."""
    channels = channels_of(watchable_of(learned))

    def watched(signals: Signals) -> Watched:
        return Watched(channel_values(*_scored(signals, learned), channels), signals.features)

    cells = {cell.name: watched(cell.signals) for cell in material.cells}
    streams = streams_of(
        len(material.pool_labels), [len(cell.labels) for cell in material.cells], numbers["runs"], numbers["seed"]
    )
    if not alibi:
        log.info("alibi-detect is left out; to measure it, too: %s, then alibi=build/alibi/bin/python", HOW)
    return compare(watched(material.ref), watched(material.pool), cells, streams, alibi)


def _numbers(words: Mapping[str, str]) -> dict[str, int]:
    found = dict[str, int]()
    for name, value in words.items():
        if name not in DEFAULTS or not value.isdecimal() or (int(value) < 1 and name != "seed"):
            raise ConfigError(f"{name}={value}: expected one of {', '.join(f'{key}=NUMBER' for key in DEFAULTS)}")
        found[name] = int(value)
    return found


if __name__ == "__main__":
    sys.exit(main())
