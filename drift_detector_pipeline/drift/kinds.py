"""Detectors of labels, boxes and clips behind one door: loaded by what they are of, shown by what they are of.

In: a saved reference and a way through its network, or a run. Out: a `Detector`; pages of its verdicts. Read by the
commands, the service and the monitor, which know detectors by drift/detecting.py alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from drift_detector_pipeline.drift.boxes.detector import BoxDetector, BoxModel
from drift_detector_pipeline.drift.boxes.report import box_report_page, write_box_report
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.detecting import AnyVerdict, Detector, Words
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.preparation import Shown
from drift_detector_pipeline.drift.report import report_page, write_report

if TYPE_CHECKING:
    from drift_detector_pipeline.modeling.trained import Trained


class _Kind(NamedTuple):
    words: Words
    load: Callable[[Path, Any], Detector]
    page: Callable[[Any, Shown | None, Any, dict[str, Any]], str]
    write: Callable[[Path, Any, Any, Any, dict[str, Any]], Path]


def load_detector(folder: Path, task: str | None, model: Any) -> Detector:
    """The saved detector of a `task`; `model` is what it was built through, and names itself by `identity`.

    Raises DataError if it is damaged, ModelError if it was built through another one.
    """
    return _KINDS[task].load(folder, model)


def detector_of_run(folder: Path, trained: "Trained") -> Detector:
    """The detector of a run, whose network is open. Raises as `load_detector`, and DataError without a reference."""
    if trained.task.name == ClipDetector.task:
        from drift_detector_pipeline.drift.clips.build import load_clip_detector  # brings torch, as the next one

        return load_clip_detector(folder, trained)
    if trained.task.name != BoxDetector.task:
        return DriftDetector.load(folder, trained.network.module)
    from drift_detector_pipeline.drift.boxes.build import box_model_of

    return BoxDetector.load(folder, box_model_of(trained))


def words_of(task: str | None) -> Words:
    """The words for verdicts of a task's detectors."""
    return _KINDS[task].words


class Told(NamedTuple):
    """How well a network does, as a verdict told it."""

    measure: str  # for people: "accuracy" or "mAP50"
    value: float  # 0..1
    low: float
    high: float

    def in_words(self) -> str:
        """Such as "accuracy 58 % (32 to 81)"."""
        value, low, high = (f"{100 * one:.0f}" for one in (self.value, self.low, self.high))
        return f"{self.measure} {value}{' %' if self.measure == 'accuracy' else ''} ({low} to {high})"


def told_by(plain: Mapping[str, Any]) -> Told | None:
    """What a verdict, as `Words.as_json` gives it, tells of how well the network does; None if nothing."""
    if found := plain.get("accuracy"):
        return Told("accuracy", found["accuracy"], found["low"], found["high"])
    if found := plain.get("map50"):
        return Told("mAP50", found["value"], found["low"], found["high"])
    return None


def page_of(verdict: AnyVerdict, window: Shown | None, detector: Detector, facts: dict[str, Any]) -> str:
    """A verdict as HTML; without a `window` no picture of its images was kept."""
    return _KINDS[detector.task].page(verdict, window, detector, facts)


def write_page_of(
    place: Path, verdict: AnyVerdict, album: Shown, detector: Detector, facts: dict[str, Any]
) -> Path:  # fmt: skip
    """Write report.html and verdict.json into a new folder below `place`; return the page."""
    return _KINDS[detector.task].write(place, verdict, album, detector, facts)


def _load_boxes(folder: Path, model: Any) -> BoxDetector:
    return BoxDetector.load(folder, BoxModel(model, model.identity))


_KINDS: dict[str | None, _Kind] = {
    DriftDetector.task: _Kind(DriftDetector.words, DriftDetector.load, report_page, write_report),
    ClipDetector.task: _Kind(ClipDetector.words, ClipDetector.load, report_page, write_report),
    BoxDetector.task: _Kind(BoxDetector.words, _load_boxes, box_report_page, write_box_report),
}
