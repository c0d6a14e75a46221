"""Drift detection for a network of boxes: build once from labelled images, save, load, check windows.

In: a network and images, as views or as paths. Out: a `BoxVerdict`. The counterpart of drift/detector.py, which is for
classes. Read by the command line and the study.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from drift_detector_pipeline.arrays import Boxes, Float32s, Float64s, Labels, Pixels
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.boxes.phi import box_phi, describe_box_scores, predicted_classes
from drift_detector_pipeline.drift.boxes.pictures import typical_pictures
from drift_detector_pipeline.drift.boxes.reference import BoxReference, learn_boxes, refer_boxes
from drift_detector_pipeline.drift.boxes.reference_file import TASK, load_box_reference, save_box_reference
from drift_detector_pipeline.drift.boxes.signals import BoxForward, find_boxes, read_box_signals
from drift_detector_pipeline.drift.boxes.twins import CHANGES, IMAGES, make_box_twins
from drift_detector_pipeline.drift.boxes.verdict import BoxVerdict, Window, box_labellings, judge_boxes
from drift_detector_pipeline.drift.boxes.verdict_words import BOX_WORDS
from drift_detector_pipeline.drift.boxes.worth import estimate_worth, expected_of_each
from drift_detector_pipeline.drift.decision import AskAgain, Limits
from drift_detector_pipeline.drift.detecting import (
    KEPT_FACTS,
    Detector,
    Rows,
    Sure,
    Watchable,
    Words,
    joined_rows,
)
from drift_detector_pipeline.drift.kept_rows import scores_from, sure_from
from drift_detector_pipeline.drift.permutation import Labellings
from drift_detector_pipeline.drift.preparation import Album, Images, Preparation, Shown
from drift_detector_pipeline.drift.reading import judging
from drift_detector_pipeline.drift.reference import one_blas_thread
from drift_detector_pipeline.drift.scores.phi import Score
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.networks.boxes.found import Found

BUILD_AGAIN = "build it again for this model: make drift_reference RUN=..., or make export for one that is served"


class LabelledViews(NamedTuple):
    """Images with their true boxes."""

    views: Pixels  # uint8 (N, S, S, 3), letterboxed
    truth: list[Boxes]  # N, in px of the views


class BoxModel(NamedTuple):
    """A network, and which one it is."""

    forward: BoxForward
    identity: str  # a text that changes with the network


class BoxDetector(Detector):
    """Knows one network's training world and says whether a window of images looks like it."""

    task: ClassVar[str | None] = TASK
    words: ClassVar[Words] = BOX_WORDS

    def __init__(
        self, reference: BoxReference, model: BoxModel, classes: list[str], preparation: Preparation,
        *, pictures: list[bytes], facts: dict[str, Any],
    ) -> None:  # fmt: skip
        self._reference, self.model, self.classes, self.preparation = reference, model, classes, preparation
        self.pictures, self.facts = pictures, facts
        self._limits = Limits()
        self._labellings: dict[tuple[int, Limits], Labellings] = {}

    @classmethod
    def build(
        cls, model: BoxModel, fit: LabelledViews, ref: LabelledViews, *, classes: Sequence[str],
        preparation: Preparation, kinds: Sequence[str] = CHANGES, twins: int = IMAGES,
        facts: dict[str, Any] | None = None,
    ) -> Self:  # fmt: skip
        """Learn from labelled images the network was not trained on (`fit`) and describe others like them (`ref`).

        Raises DataError if there is nothing to learn from.
        """
        names = list(classes)
        try:
            clean, signals = (read_box_signals(one.views, model.forward) for one in (fit, ref))
            made = make_box_twins(fit.views, model.forward, kinds=kinds, count=twins)
            with one_blas_thread():
                learned = learn_boxes(clean, fit.truth, made, names)
                reference = refer_boxes(learned, signals, ref.truth, names)
        except ValueError as error:
            raise DataError(f"no detector can be built: {error}") from error
        known = {"fit_images": len(fit.views), "twin_kinds": list(kinds), "images_per_twin": len(made[0].rows)}
        pictures = typical_pictures(reference, ref.views, signals.found, names)
        return cls(reference, model, names, preparation, pictures=pictures, facts=known | (facts or {}))

    @property
    def reference(self) -> BoxReference:
        """Everything that is known."""
        return self._reference

    @property
    def identity(self) -> str:
        """Changes with the network, and with what runs it."""
        return self.model.identity

    @property
    def columns(self) -> list[Score]:
        """Name, channel and group of each of the S scores."""
        return describe_box_scores(self.reference.learned.parameters)

    @property
    def watchable(self) -> Watchable:
        """What a stream may watch."""
        learned = self.reference.learned
        parameters = learned.parameters
        return Watchable(self.columns, parameters.centre, parameters.covariance, learned.moves, sums=())

    def save(self, folder: Path) -> None:
        """Write reference.npz and reference.json into `folder`, which need not exist."""
        own = {"identity": self.model.identity, "classes": self.classes, "preparation": self.preparation.as_values()}
        save_box_reference(folder, self.reference, self.facts | own, self.pictures)

    @classmethod
    def load(cls, folder: Path, model: BoxModel) -> Self:
        """Read a saved detector. Raises DataError if it is damaged, ModelError if it was built for another network."""
        saved = load_box_reference(folder)
        if saved.identity != model.identity:
            raise ModelError(f"{folder}: built for the model {saved.identity}, not for {model.identity}; {BUILD_AGAIN}")
        return cls(saved.reference, model, saved.classes, saved.preparation, pictures=saved.pictures, facts=saved.facts)

    def check(self, images: Images) -> BoxVerdict:
        """Judge a window. Files that cannot be read are left out and named in the verdict."""
        return self.check_album(self.album(images))

    def check_album(self, album: Album) -> BoxVerdict:
        """Judge what `album` gives. Raises DataError if the network gives no finite numbers for it."""
        parts, seen = list[Rows](), set[int]()
        for views in album.chunks():
            parts.append(self.rows_of(views))
            seen |= {hash(view.tobytes()) for view in views}
        return self.check_rows(rows := joined_rows(parts), len(rows.scores) - len(seen), album)

    def check_rows(self, rows: Rows, copies: int, window: Shown) -> BoxVerdict:
        """As `check_album`, of images that others have read; `copies` of them are equal to an earlier one."""
        said = self.check_scores(*rows, names=window.names) if len(rows.scores) else BoxVerdict("too few images", 0)
        return said._replace(unreadable=tuple(window.unreadable), copies=copies if said.channels else 0)

    def check_scores(
        self, scores: Float32s, predicted: Labels, sure: Sequence[Sure] | None = None,
        *, ask_again: AskAgain = lambda looks_changed: None, names: Sequence[str] = (),
    ) -> BoxVerdict:  # fmt: skip
        """Judge `rows_of` images; `names` are of all of them. Nobody asks again: mAP50 is told by `sure` alone.

        Raises DataError if shapes do not fit, or a score is not finite.
        """
        del ask_again
        self._check_rows(scores, predicted, sure)
        if len(scores) < self.limits.min_images:
            return BoxVerdict("too few images", len(scores))
        key = len(scores), self.limits
        with one_blas_thread():
            if (labellings := self._labellings.get(key)) is None:
                labellings = box_labellings(self.reference, len(self.classes), len(scores), self.limits)
                self._labellings = {key: labellings}

            def worth(noticed: bool) -> Estimate:
                return estimate_worth(sure or (), self.reference.usual, self.reference.learned.worth)

            said = judge_boxes(
                self.reference, labellings, Window(scores, predicted), self.classes, self.limits, worth
            )  # fmt: skip
        return said._replace(carrier_names=tuple(names[place] for place in said.carriers if names))

    def rows_of(self, crops: Pixels) -> Rows:
        """The rows of uint8 (m, S, S, 3) views. Raises DataError if the network gives no finite numbers for them."""
        with judging():
            signals = read_box_signals(crops, self.model.forward)
        parameters = self.reference.learned.parameters
        with one_blas_thread():
            scores = box_phi(signals, parameters)
        predicted = predicted_classes(signals.found, parameters, len(self.classes))
        return Rows(scores, predicted, [Sure(one.scores, one.labels) for one in signals.found])

    def rows_from(self, kept: Sequence[bytes], predicted: Labels) -> Rows:
        """Rows from what a service keeps of each image. Raises DataError if that is not of this detector's network.

        The class of most boxes follows from the boxes; `predicted`, of the surest one, is of no use here.
        """
        del predicted
        columns = self.reference.scores.shape[1]
        scores, sure = scores_from(kept, columns, boxes=True), sure_from(kept, columns)
        return Rows(scores, predicted_classes(sure, self.reference.learned.parameters, len(self.classes)), sure)

    def risks(self, rows: Rows) -> Float64s:
        """What each image seems to lack of an mAP50 of 1: (m,), whose mean over the training world is what that lacks.

        Raises DataError if the reference was made before streams of boxes were watched.
        """
        return self._lacking(expected_of_each(rows.sure or (), self.reference.learned.worth.rates))

    def world_risks(self) -> Float64s:
        """The same of the reference images, (n,)."""
        return self._lacking(self._expected)

    @property
    def _expected(self) -> Float32s:
        if self.reference.expected is None:
            raise DataError(f"this reference is older than streams of boxes; {BUILD_AGAIN}")
        return self.reference.expected

    def _lacking(self, expected: Float32s) -> Float64s:
        fallen = self._expected.mean(dtype=np.float64) - expected.astype(np.float64)
        lacking = 1 - self.reference.usual.map50 + self.reference.learned.worth.slope * fallen
        return np.asarray(np.clip(lacking, 0, 1))

    def asker(self, crops: Pixels) -> AskAgain:
        """No second look: an adapted copy places boxes as wrongly as the network, see worth.py."""
        return lambda looks_changed: None

    def about(self) -> dict[str, Any]:
        """What is asked of a verdict, and which reference it compares with."""
        reference = self.reference
        own = {
            "identity": self.identity, "images": len(reference.scores), "map50": reference.usual.map50,
            "map50_standard_error": reference.usual.error, "map50_error_left_out": reference.learned.worth.error,
        }  # fmt: skip
        kept = {name: self.facts[name] for name in KEPT_FACTS if name in self.facts}
        return {"limits": self.limits._asdict(), "reference": own | kept}

    def found_in(self, views: Pixels) -> list[Found]:
        """The boxes in uint8 (N, S, S, 3)."""
        return find_boxes(views, self.model.forward)

    def _check_rows(self, scores: Float32s, predicted: Labels, sure: Sequence[Sure] | None) -> None:
        columns = self.reference.scores.shape[1]
        if scores.ndim != 2 or scores.shape[1] != columns or not np.isfinite(scores).all():
            raise DataError(f"scores: expected finite numbers (m, {columns}), got {scores.dtype} {scores.shape}")
        if sure is None or not len(scores) == len(predicted) == len(sure):
            raise DataError(f"sure: expected what was found in each of {len(scores)} images, from rows_of or rows_from")
