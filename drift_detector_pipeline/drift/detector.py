"""Drift detection for anybody's model, in Python: build once from labelled images, save, load, check windows.

    detector = DriftDetector.build(model, fit_images, fit_labels, ref_images, ref_labels, mean=MEAN, std=STD)
    detector.save("detector")
    verdict = DriftDetector.load("detector", model).check(images)
    print(verdict.level, verdict.p, verdict.accuracy)

In: a model and images as uint8 (m, H, W, 3) or as paths. Out: a `Verdict`. Nothing of the training or its configuration
is needed. Read by the command line and the study.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels, Pixels
from drift_detector_pipeline.drift.asking import asker
from drift_detector_pipeline.drift.decision import AskAgain, Limits, labellings_for
from drift_detector_pipeline.drift.detecting import KEPT_FACTS, Detector, Rows, Sure, Watchable, Words, watchable_of
from drift_detector_pipeline.drift.kept_rows import scores_from
from drift_detector_pipeline.drift.permutation import Labellings
from drift_detector_pipeline.drift.preparation import (
    Album,
    Images,
    Preparation,
    Shown,
    Window,
    all_readable,
    preparation_from,
    refuse_shared,
)
from drift_detector_pipeline.drift.reading import Reading, judging, read_chunks
from drift_detector_pipeline.drift.reference import (
    FEW,
    Reference,
    View,
    learn,
    one_blas_thread,
    predictions,
    refer,
    risks_of,
    view_of,
)
from drift_detector_pipeline.drift.reference_file import load_reference, save_reference
from drift_detector_pipeline.drift.scores.phi import Score, describe_scores, missing, phi
from drift_detector_pipeline.drift.scores.signals import Forward, Layers, read_signals
from drift_detector_pipeline.drift.thumbnails import typical_images
from drift_detector_pipeline.drift.twins import CHANGES, look_at_clean, make_twins
from drift_detector_pipeline.drift.verdict import Verdict, judge
from drift_detector_pipeline.drift.verdict_words import LABEL_WORDS
from drift_detector_pipeline.drift.way_through import Model, way_through
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD

BUILD_AGAIN = "make drift_reference RUN=..., or DriftDetector.build(...).save(...)"


class DriftDetector(Detector):
    """Knows one model's training world and says whether a window of images looks like it.

    The reference's scores, identity of the model and classes are fixed.
    """

    task: ClassVar[str | None] = None
    words: ClassVar[Words] = LABEL_WORDS

    def __init__(
        self, reference: Reference, forward: Forward, classes: list[str], preparation: Preparation,
        *, identity: str, thumbnails: list[tuple[str, bytes]], facts: dict[str, Any],
    ) -> None:  # fmt: skip
        self._reference, self.forward, self.classes, self.preparation = reference, forward, classes, preparation
        self._identity, self.thumbnails, self.facts = identity, thumbnails, facts
        self._limits = Limits()
        self._labellings: dict[tuple[int, Limits], Labellings] = {}

    @classmethod
    def build(
        cls, model: Model, fit_images: Images, fit_labels: Labels, ref_images: Images, ref_labels: Labels | None = None,
        *, classes: Sequence[str] | None = None, mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD, layers: Layers | None = None, side_px: int | None = None,
        stored_side_px: int | None = None, kinds: Sequence[str] = CHANGES, twins: int | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Self:  # fmt: skip
        """Learn from labelled images the model was not trained on (`fit`) and describe others like them (`ref`).

        `model`: a module taking float32 (N, 3, S, S) normalised by `mean` and `std` of values in 0..1, with `layers` to
        watch (found by themselves in timm models), or a callable from uint8 (N, S, S, 3) to `Outputs` with an attribute
        `identity`, a text that changes with the model. Labels are whole numbers (n,) in 0..K-1, K the number of logits.
        Arrays are cropped to `side_px` [their own shorter side], files decoded to `stored_side_px` [side_px] first.
        Raises ModelError or DataError if something does not fit, and DataError if `fit` and `ref` share images.
        """
        if side_px is None:
            if not isinstance(fit_images, np.ndarray):
                raise DataError("side_px: needed when images are files; give the side of the model's input in px")
            side_px = min(fit_images.shape[1:3])
        named = (layers.early, layers.classifier) if layers else (None, None)
        preparation = Preparation(side_px, stored_side_px or side_px, tuple(mean), tuple(std), *named)
        forward, identity = way_through(model, preparation)
        fit, ref = (all_readable(images, preparation) for images in (fit_images, ref_images))
        refuse_shared(fit, ref)
        if not kinds:
            raise DataError(f"kinds: none given, so there is nothing to learn from; name some of {', '.join(CHANGES)}")
        try:
            clean, signals = read_signals(fit, forward), read_signals(ref, forward)
            count = signals.logits.shape[1]
            names = list(map(str, range(count) if classes is None else classes))
            if count < 2 or len(names) != count or len(set(names)) < count:
                raise DataError(
                    f"classes: {len(set(names))} different names for {count} logits; expected as many, at least two"
                )
            labels = _checked_labels("fit_labels", fit_labels, len(fit), count)
            of_ref = None if ref_labels is None else _checked_labels("ref_labels", ref_labels, len(ref), count)
            made = make_twins(fit, forward, kinds=kinds, count=twins)
            looks = [look_at_clean(*of, forward) for of in ((fit, clean), (ref, signals))]
            with one_blas_thread():
                learned = learn(clean, labels, made, side_px, looks[0])
                reference = refer(learned, signals, of_ref, looks[1])
        except ValueError as error:
            raise DataError(f"no detector can be built: {error}") from error
        known = {"fit_images": len(fit), "twin_kinds": list(kinds), "images_per_twin": len(made[0].rows)}
        return cls(
            reference, forward, names, preparation, identity=identity, facts=known | (facts or {}),
            thumbnails=typical_images(reference, ref, names),
        )  # fmt: skip

    @property
    def reference(self) -> Reference:
        """Everything that is known; may be exchanged for a part of it."""
        return self._reference

    @reference.setter
    def reference(self, reference: Reference) -> None:
        self._reference = reference

    @property
    def identity(self) -> str:
        """Changes with the model."""
        return self._identity

    @property
    def columns(self) -> list[Score]:
        """Name, channel and group of each of the S scores."""
        return describe_scores(self.reference.learned.parameters)

    @property
    def watchable(self) -> Watchable:
        """What a stream may watch."""
        return watchable_of(self.reference.learned)

    def save(self, folder: str | Path) -> None:
        """Write reference.npz and reference.json into `folder`, which need not exist."""
        encoded = [np.frombuffer(jpeg, np.uint8) for _, jpeg in self.thumbnails]
        extra = {
            "thumbnails": np.concatenate([*encoded, np.zeros(0, np.uint8)]),
            "thumbnail_bytes": np.array([len(jpeg) for jpeg in encoded], np.int64),
            "thumbnail_classes": np.array([self.classes.index(name) for name, _ in self.thumbnails], np.int32),
        }
        own = {"identity": self.identity, "classes": self.classes, "preparation": self.preparation.as_values()}
        save_reference(Path(folder), self.reference, self.facts | own, extra)

    @classmethod
    def load(cls, folder: str | Path, model: Model) -> Self:
        """Read a saved detector. Raises DataError if it is damaged, ModelError if it was built for another model."""
        reference, facts, extra = load_reference(Path(folder))
        try:
            preparation, classes = preparation_from(facts["preparation"]), _named_classes(facts["classes"], reference)
            built_for = str(facts["identity"])
            ends = np.cumsum(extra["thumbnail_bytes"])
            jpegs = [part.tobytes() for part in np.split(extra["thumbnails"], ends)][:-1]
            names = [classes[number] for number in extra["thumbnail_classes"].tolist()]
            thumbnails = list(zip(names, jpegs, strict=True))
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise DataError(
                f"{folder}: damaged ({type(error).__name__}: {error}); build it again: {BUILD_AGAIN}"
            ) from error
        forward, identity = way_through(model, preparation)
        if identity != built_for:
            raise ModelError(
                f"{folder}: built for the model {built_for}, not for {identity}; build it again for this model: "
                f"{BUILD_AGAIN}"
            )
        return cls(reference, forward, classes, preparation, identity=identity, thumbnails=thumbnails, facts=facts)

    def check(self, images: Images) -> Verdict:
        """Judge a window. Files that cannot be read are left out and named in the verdict.

        Raises DataError if `images` are neither uint8 (m, H, W, 3) nor a list of paths.
        """
        return self.check_album(self.album(images))

    def check_album(self, album: Album | Window) -> Verdict:
        """Judge what `album` gives, in bounded memory. Raises DataError if the model gives no finite numbers for it."""
        found = read_chunks(album.chunks(), self.forward, self.reference.learned.parameters, self.limits.min_images)
        return self._judged(found, album)

    def check_rows(self, rows: Rows, copies: int, window: Shown) -> Verdict:
        """As `check_album`, of images that others have read; `copies` of them are equal to an earlier one."""
        return self._judged(Reading(len(rows.scores), *rows[:2], copies, None), window)

    def check_crops(self, crops: Pixels) -> Verdict:
        """Judge uint8 (m, S, S, 3) crops, as `open` gives them. Raises DataError for another shape."""
        side = self.preparation.side_px
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise DataError(f"crops: expected uint8 (m, {side}, {side}, 3), got {crops.dtype} {crops.shape}")
        return self.check_album(Window(crops, [], {}))

    def check_scores(
        self, scores: Float32s, predicted: Labels, sure: Sequence[Sure] | None = None,
        *, ask_again: AskAgain = lambda looks_changed: None, names: Sequence[str] = (),
    ) -> Verdict:  # fmt: skip
        """Judge images whose scores (m, S), as `scores.phi` gives them, and predicted classes (m,) are known.

        `ask_again` takes a second look at the images after a notice, as `asker` does; without it the accuracy of a
        changed window is less certain than it seems. `names` are of all images; `sure` is of boxes and of no use here.
        Raises DataError if shapes do not fit, a score is not finite or a class not in 0..K-1.
        """
        columns, scores = self.reference.scores.shape[1], np.asarray(scores)
        numbers = scores.ndim == 2 and scores.dtype.kind in "fiu" and np.isfinite(scores).all()
        if not numbers or scores.shape[1] != columns:
            raise DataError(f"scores: expected finite numbers (m, {columns}), got {scores.dtype} {scores.shape}")
        predicted = _checked_labels("predicted", predicted, len(scores), len(self.classes))
        if len(scores) < self.limits.min_images:
            return Verdict("too few images", len(scores))
        key = len(scores), self.limits
        with one_blas_thread():
            if (labellings := self._labellings.get(key)) is None:
                labellings = labellings_for(self.reference, len(self.classes), len(scores), self.limits)
                self._labellings = {key: labellings}
            said = judge(self.reference, labellings, scores, predicted, self.classes, self.limits, ask_again)
        return said._replace(carrier_names=tuple(names[place] for place in said.carriers if names))

    def rows_of(self, crops: Pixels) -> Rows:
        """The rows of uint8 (m, S, S, 3) crops, as `open` gives them. Raises DataError for numbers that do not fit."""
        with judging():
            signals = read_signals(crops, self.forward)
        with one_blas_thread():
            return Rows(phi(signals, self.reference.learned.parameters), predictions(signals))

    def rows_from(self, kept: Sequence[bytes], predicted: Labels) -> Rows:
        """Rows from the bytes that a service keeps of each image, and its predicted class. Raises DataError as well."""
        return Rows(scores_from(kept, self.reference.scores.shape[1]), predicted)

    def risks(self, rows: Rows) -> Float64s:
        """The probability that each prediction is wrong, (m,)."""
        with one_blas_thread() if len(rows.scores) > FEW else nullcontext():
            return risks_of(rows.scores, self.reference.learned, self._view)

    def world_risks(self) -> Float64s:
        """The same of the reference images, (n,)."""
        return self.risks(Rows(self.reference.scores, self.reference.predicted))

    def asker(self, crops: Pixels) -> AskAgain:
        """A second look at uint8 (m, S, S, 3) crops of a window: by undoing a fault, or by an adapted copy."""
        unread = Reading(len(crops), np.zeros((0, 0), np.float32), np.zeros(0, np.int64), 0, None)
        return asker(self.reference, unread, lambda places: crops[list(places)], self.forward)

    def about(self) -> dict[str, Any]:
        """What is asked of a verdict, and which reference it compares with."""
        reference = self.reference
        own = {
            "identity": self.identity, "images": len(reference.scores), "accuracy": reference.known.accuracy,
            "labelled": reference.labelled, "missing": missing(reference.learned.parameters),
        }  # fmt: skip
        kept = {name: self.facts[name] for name in KEPT_FACTS if name in self.facts}
        return {"limits": self.limits._asdict(), "reference": own | kept}

    @cached_property
    def _view(self) -> View:
        return view_of(self.reference.learned.parameters)

    def _judged(self, found: Reading, window: Shown) -> Verdict:
        said = Verdict("too few images", found.images)
        if found.images >= self.limits.min_images:
            ask = asker(self.reference, found, window.crops_of, self.forward)
            said = self.check_scores(found.scores, found.predicted, ask_again=ask, names=window.names)
            said = said._replace(copies=found.copies)
        return said._replace(unreadable=tuple(window.unreadable))


def _checked_labels(name: str, labels: npt.ArrayLike, images: int, classes: int) -> Labels:
    found = np.asarray(labels)
    if found.shape != (images,) or found.dtype.kind not in "iu" or not ((found >= 0) & (found < classes)).all():
        raise DataError(
            f"{name}: expected whole numbers in 0..{classes - 1} for {images} images, got {found.dtype} {found.shape}"
            + (f" in {found.min()}..{found.max()}" if found.dtype.kind in "iu" and found.size else "")
        )
    return found.astype(np.int64)


def _named_classes(names: object, reference: Reference) -> list[str]:
    """The names of the classes that a reference predicts. Raises ValueError if they cannot be."""
    known = names if isinstance(names, list) else []
    if not all(isinstance(name, str) for name in known) or len(known) <= max(1, reference.predicted.max(initial=0)):
        raise ValueError("its classes are not those of its predictions")
    return known
