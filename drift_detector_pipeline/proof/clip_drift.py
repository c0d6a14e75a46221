"""What clips of one source do to a test: `python -m drift_detector_pipeline.proof.clip_drift RUN name=NAME`.

In: a finished run whose task is clips, with a reference. Out: reports/drift_clips_<name>.json: how often windows of
`val` without any change raise a notice, if clips are taken for independent and if sources are. Sources are divided
anew each time; nothing of them was learned from.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.drift.clips.build import frames_of, load_clip_detector
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.clips.groups import LEAST, of_sources
from drift_detector_pipeline.drift.clips.signals import read_clip_signals
from drift_detector_pipeline.drift.decision import scale_for
from drift_detector_pipeline.drift.detecting import Rows
from drift_detector_pipeline.drift.permutation import labellings_of, test_window
from drift_detector_pipeline.drift.reference import one_blas_thread, predictions
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.networks.clips import deviation_of
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import FINAL, read_receipt
from drift_detector_pipeline.settings import Run

SPLITS, ALPHAS, PERMUTATIONS = 500, (0.01, 0.05), 999


@exit_status
def main() -> int:
    """Measure the run named on the command line."""
    command = read_command(sys.argv[1:])
    words = dict(word.partition("=")[::2] for word in command.overrides)
    if command.target is None or words.keys() != {"name"}:
        raise ConfigError("expected a run whose task is clips, with a reference, and name=NAME")
    set_up_logging()
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained, processed = open_trained(command.target / FINAL, machine), read_receipt(command.target).data()
        deviation = deviation_of(trained.network.module)
        detector, places = load_clip_detector(command.target, trained), processed.images.indices("val")
        signals = read_clip_signals(frames_of(trained, processed, places), detector.forward, deviation)
    assert processed.images.sources is not None
    sources = [processed.images.sources[place] for place in places.tolist()]
    with one_blas_thread():
        rows = Rows(phi(signals, detector.reference.learned.parameters), predictions(signals))
        own = {"clips_of_val": len(sources), "sources_of_val": len(set(sources)), "splits": SPLITS}
        found = own | {"noticed": rates(detector, rows, sources)}
    report = Path("reports") / f"drift_clips_{words['name']}.json"
    facts = {"weights_sha256": trained.sha256, "command": this_command(), "when": now(), "packages": package_versions()}
    write_json(report, {"data": words["name"]} | found | facts)
    log.info("%s", report)
    return 0


def rates(detector: ClipDetector, rows: Rows, sources: Sequence[str]) -> dict[str, dict[str, float]]:
    """The share of windows without change that are noticed, by what counts as one and by alpha.

    "clips": those of at least LEAST sources against those of the others; "one source": its clips against all others.
    """
    rng, names = np.random.default_rng(0), sorted(set(sources))
    p = dict[str, list[float]]()
    with progress_bar(total=SPLITS, title="windows", unit="split") as bar:
        for _ in range(SPLITS):
            window = set(rng.permutation(names)[: max(LEAST, len(names) // 2)].tolist())
            before, now_ = (_of(rows, sources, inside=window, wanted=wanted) for wanted in (False, True))
            p.setdefault("clips", []).append(_tested(detector, before[0], now_[0]))
            own, others = (of_sources(*one)[1] for one in (before, now_))
            p.setdefault("sources", []).append(_tested(detector, own, others))
            bar.update()
    for name in names:
        if sources.count(name) >= 4:
            before, now_ = (_of(rows, sources, inside={name}, wanted=wanted) for wanted in (False, True))
            p.setdefault("one source", []).append(_tested(detector, before[0], now_[0]))
    return {what: {f"{alpha:g}": float(np.mean(np.array(own) <= alpha)) for alpha in ALPHAS} for what, own in p.items()}


def _of(rows: Rows, sources: Sequence[str], *, inside: set[str], wanted: bool) -> tuple[Rows, list[str]]:
    places = [place for place, name in enumerate(sources) if (name in inside) == wanted]
    return rows.take(places), [sources[place] for place in places]


def _tested(detector: ClipDetector, before: Rows, window: Rows) -> float:
    scale = scale_for(detector.reference.learned)
    size = len(window.predicted)
    labellings = labellings_of(
        before.scores, before.predicted, len(detector.classes), size, scale, PERMUTATIONS, kept_alpha=None
    )  # fmt: skip
    return test_window(labellings, window.scores, window.predicted).p


if __name__ == "__main__":
    sys.exit(main())
