"""Drift of clips as a service sees it: `python -m drift_detector_pipeline.proof.served_clips ARTEFACT name=NAME`.

In: an exported model of clips and the processed data of its run, which must be here. Every clip of `val` goes through
the file that is served and becomes the bytes of a log row; windows are judged from these as the service does. Out:
reports/drift_served_clips_<name>.json: false notices of windows without change, how often changes are noticed, and what
a row costs. Sources are divided anew each time, those of the window being in no reference.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.corruptions.faults import change
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.clips.groups import LEAST, of_sources
from drift_detector_pipeline.drift.detecting import Rows
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.lifecycle.gating.origin import data_of
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.serving.batcher import each_of
from drift_detector_pipeline.serving.clips import of_frames
from drift_detector_pipeline.serving.engine import Engine, open_engine
from drift_detector_pipeline.tasks.clips.frames import looked_at

SPLITS, TRIES, ALPHAS = 500, 40, (0.01, 0.05)
CHANGES = (("contrast", 3), ("fog", 3), ("gaussian_noise", 3), ("jpeg", 3))


@exit_status
def main() -> int:
    """Measure the artefact named on the command line."""
    command = read_command(sys.argv[1:])
    words = dict(word.partition("=")[::2] for word in command.overrides)
    if command.target is None or words.keys() != {"name"}:
        raise ConfigError("expected an artefact of a model of clips, and name=NAME")
    set_up_logging()
    engine = open_engine(command.target)
    cut, detector = engine.artefact.clip, engine.detector
    if cut is None or not isinstance(detector, ClipDetector):
        raise ConfigError(f"{command.target}: no model of clips, or exported without a reference")
    images = data_of(engine.artefact).images
    places = images.indices("val").tolist()
    assert images.sources is not None
    clips = [looked_at(images[place], cut.k_frames, engine.artefact.side_px) for place in places]
    found = examined(engine, detector, clips, [images.sources[place] for place in places])
    facts = {"identity": engine.artefact.identity, "command": this_command(), "when": now()}
    report = Path("reports") / f"drift_served_clips_{words['name']}.json"
    write_json(report, {"data": words["name"]} | found | facts | {"packages": package_versions()})
    log.info("%s", report)
    return 0


def examined(engine: Engine, detector: ClipDetector, clips: Sequence[Pixels], sources: Sequence[str]) -> dict[str, Any]:
    """All that is measured of clips, each uint8 (k, S, S, 3), that no weight was learned from."""
    started = time.process_time()
    kept, predicted = logged(engine, clips)
    spent = 1000 * (time.process_time() - started) / len(clips)
    clean = detector.rows_from(kept, predicted)
    p = [_judged(detector, clean, clean, sources, split) for split in range(SPLITS)]
    noticed = dict[str, float]()
    with progress_bar(total=len(CHANGES), title="changes", unit="kind") as bar:
        for kind, level in CHANGES:
            changed = detector.rows_from(*logged(engine, [_changed(clip, kind, level) for clip in clips]))
            tried = [_judged(detector, clean, changed, sources, split) for split in range(TRIES)]
            noticed[f"{kind} {level}"] = float(np.mean(np.array(tried) <= ALPHAS[0]))
            bar.update()
    return {
        "clips": len(clips), "sources": len(set(sources)), "splits": SPLITS, "milliseconds_a_clip": spent,
        "bytes_a_row": len(kept[0]), "noticed_at_alpha_0.01": noticed,
        "false_notices": {f"{alpha:g}": float(np.mean(np.array(p) <= alpha)) for alpha in ALPHAS},
    }  # fmt: skip


def logged(engine: Engine, clips: Sequence[Pixels]) -> tuple[list[bytes], np.ndarray]:
    """What the log keeps of clips, and the classes that were said."""
    said = [of_frames(each_of(engine, engine.answer(clip))) for clip in clips]
    return [one.kept for one in said], np.array([one.probabilities.argmax() for one in said], dtype=np.int64)


def _judged(detector: ClipDetector, clean: Rows, window: Rows, sources: Sequence[str], seed: int) -> float:
    """The p-value of a window of half the sources, compared with the others as they were."""
    names = sorted(set(sources))
    chosen = set(np.random.default_rng(seed).permutation(names)[: max(LEAST, len(names) // 2)].tolist())
    inside, outside = ([place for place, one in enumerate(sources) if (one in chosen) is own] for own in (True, False))
    _, before = of_sources(clean.take(outside), [sources[place] for place in outside])
    _, own = detector.counted(window.take(inside), [], [sources[place] for place in inside])
    drawn = ClipDetector(
        detector.reference._replace(scores=before.scores, predicted=before.predicted), detector.forward,
        detector.classes, detector.preparation, identity=detector.identity, thumbnails=[], facts=detector.facts,
    )  # fmt: skip
    p = drawn.check_scores(*own).p
    assert p is not None
    return p


def _changed(clip: Pixels, kind: str, level: int) -> Pixels:
    return change(clip, kind, level, keys=range(len(clip)))


if __name__ == "__main__":
    sys.exit(main())
