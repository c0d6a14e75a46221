"""Drift of boxes as a service sees it: `python -m drift_detector_pipeline.proof.served_boxes ARTEFACT others=F name=N`.

In: an exported model that finds boxes, and a processed folder of the same kind of images whose `val` no reference
holds. Every image goes through the file that is served and becomes the bytes of a log row; all else is judged from
these. Out: reports/drift_served_boxes_<name>.json: false notices of windows and streams without change, how often
changes are noticed, by which image of a stream, and what a row costs.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Boxes, Pixels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.drift.boxes.detector import BoxDetector
from drift_detector_pipeline.drift.boxes.twins import change_views
from drift_detector_pipeline.drift.boxes.worth import map50_of
from drift_detector_pipeline.drift.decision import Limits
from drift_detector_pipeline.drift.detecting import Rows
from drift_detector_pipeline.drift.kept_rows import kept_of
from drift_detector_pipeline.drift.stream.detector import StreamDetector, StreamLimits
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.letterbox import into, letterbox
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.serving.engine import MOST, Engine, open_engine

SIZES, ALPHAS = (16, 32, 64), (0.01, 0.05)
SPLITS, TRIES = 1000, 20
SOON = StreamLimits(alpha=0.01, horizon=1000)
CHANGES = ("contrast", "fog", "defocus_blur", "gaussian_noise", "jpeg", "brightness")


class Logged(NamedTuple):
    """Images that were answered, once they are rows."""

    rows: Rows
    found: list[Found]


@exit_status
def main() -> int:
    """Measure the artefact named on the command line."""
    command = read_command(sys.argv[1:])
    words = dict(word.partition("=")[::2] for word in command.overrides)
    if command.target is None or words.keys() != {"others", "name"}:
        raise ConfigError("expected an artefact, others=PROCESSED_FOLDER with images of no reference, and name=NAME")
    set_up_logging()
    engine, images = open_engine(command.target), PackedImages(Path(words["others"]))
    if not isinstance(engine.detector, BoxDetector):
        raise ConfigError(f"{command.target}: no model that finds boxes, or exported without a reference")
    views, truth = _views(images, engine.artefact.side_px)
    found = {"data": words["name"], **_examined(engine, engine.detector, views, truth)}
    facts = {"identity": engine.artefact.identity, "command": this_command(), "when": now()}
    report = Path("reports") / f"drift_served_boxes_{words['name']}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found | facts | {"packages": package_versions()})
    log.info("%s", report)
    return 0


def _examined(engine: Engine, detector: BoxDetector, views: Pixels, truth: Sequence[Boxes]) -> dict[str, Any]:
    started = time.process_time()
    clean = logged(engine, views)
    spent = 1000 * (time.process_time() - started) / len(views)
    bytes_of = [len(kept_of(row, one)) for row, one in zip(clean.rows.scores, clean.found, strict=True)]
    return {
        "reference_images": len(detector.reference.scores), "other_images": len(views), "splits": SPLITS,
        "milliseconds": spent, "milliseconds_without_reference": _alone(engine, views),
        "bytes": {"median": float(np.median(bytes_of)), "largest": max(bytes_of)},
        "false_notices": _false_notices(detector, clean.rows), "false_streams": _false_streams(detector, clean.rows),
        "changes": _changes(engine, detector, views, truth),
    }  # fmt: skip


def logged(engine: Engine, views: Pixels) -> Logged:
    """Answer uint8 (N, S, S, 3) in batches, as the service does, and read the rows from what it would keep."""
    assert engine.detector is not None
    kept, found = list[bytes](), list[Found]()
    for start in range(0, len(views), MOST):
        said = engine.answer(views[start : start + MOST])
        assert said.phi is not None and said.found is not None
        kept += [kept_of(row, one) for row, one in zip(said.phi, said.found, strict=True)]
        found += said.found
    return Logged(engine.detector.rows_from(kept, np.zeros(len(kept), np.int64)), found)


def _views(images: PackedImages, side: int) -> tuple[Pixels, list[Boxes]]:
    views, truth = [], []
    for place in images.indices("val").tolist():
        pixels, boxes = images[place], images.target(place)
        views.append(letterbox(pixels, side))
        truth.append(boxes._replace(boxes=into(boxes.boxes, pixels.shape[0], pixels.shape[1], side)))
    return np.stack(views), truth


def _alone(engine: Engine, views: Pixels) -> float:
    without = Engine(engine.artefact, engine.executable, None)
    started = time.process_time()
    for start in range(0, len(views), MOST):
        without.answer(views[start : start + MOST])
    return 1000 * (time.process_time() - started) / len(views)


def _false_notices(detector: BoxDetector, clean: Rows) -> dict[str, dict[str, float]]:
    """The share of windows without change that raise a notice: references and windows are drawn anew each time."""
    found = dict[str, dict[str, float]]()
    with progress_bar(total=len(SIZES) * SPLITS, title="windows", unit="window") as bar:
        for size in SIZES:
            p = list[float]()
            for split in range(SPLITS):
                own, others = _divided(detector, clean, split)
                p.append(own.check_scores(*others.take(range(size))).p or 0.0)
                bar.update()
            found[str(size)] = {f"{alpha:g}": float(np.mean(np.array(p) <= alpha)) for alpha in ALPHAS}
    return found


def _false_streams(detector: BoxDetector, clean: Rows) -> float:
    """The share of streams without change that raise a notice, which may be one in a hundred."""
    raised = 0
    for split in range(SPLITS // 2):
        own, others = _divided(detector, clean, split)
        raised += bool(StreamDetector(own, SOON).take(*others))
    return raised / (SPLITS // 2)


def _divided(detector: BoxDetector, clean: Rows, seed: int) -> tuple[BoxDetector, Rows]:
    """A detector with as many reference images as before, drawn from all clean ones, and the rest of these."""
    reference, columns = detector.reference, ("scores", "predicted")
    expected = 1 - detector.risks(clean)  # of use in the same place: only its differences count
    own = 1 - detector.world_risks()
    scores, predicted = (np.concatenate([getattr(reference, name), getattr(clean, name)]) for name in columns)
    order = np.random.default_rng(seed).permutation(len(scores))
    ref, rest = order[: len(reference.scores)], order[len(reference.scores) :]
    every = np.concatenate([own, expected]).astype(np.float32)
    drawn = BoxDetector(
        reference._replace(scores=scores[ref], predicted=predicted[ref], expected=every[ref]), detector.model,
        detector.classes, detector.preparation, pictures=[], facts=detector.facts,
    )  # fmt: skip
    drawn.limits = Limits(promise="average")
    assert clean.sure is not None
    sure = [clean.sure[place % len(clean.sure)] for place in rest.tolist()]  # decides no p-value
    return drawn, Rows(scores[rest], predicted[rest], sure)


def _changes(
    engine: Engine, detector: BoxDetector, views: Pixels, truth: Sequence[Boxes]
) -> dict[str, dict[str, Any]]:  # fmt: skip
    found, rng = dict[str, dict[str, Any]](), np.random.default_rng(0)
    for kind in CHANGES:
        for level in (1, 3):
            changed = logged(engine, change_views(views, kind, level, np.arange(len(views))))
            verdicts = [
                detector.check_scores(*changed.rows.take(rng.permutation(len(views))[:32].tolist()))
                for _ in range(TRIES)
            ]
            alarms = StreamDetector(detector, SOON).take(*changed.rows)
            whole = detector.check_scores(*changed.rows)
            assert whole.map50 is not None
            found[f"{kind} {level}"] = {
                "noticed_of_32": float(np.mean([one.level != "quiet" for one in verdicts])),
                "stream_noticed_at": alarms[0].image if alarms else None, "stream": [one.level for one in alarms],
                "map50": map50_of(changed.found, truth, len(detector.classes)), "estimated": whole.map50.accuracy,
                "low": whole.map50.low, "high": whole.map50.high, "known": whole.map50.known,
                "by_risks": 1 - float(detector.risks(changed.rows).mean()), "cause": whole.cause and whole.cause.kind,
            }  # fmt: skip
    return found


if __name__ == "__main__":
    sys.exit(main())
