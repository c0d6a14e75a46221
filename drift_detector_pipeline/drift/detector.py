"""Drift detection for anybody's model, in Python: build once from labelled images, save, load, check windows.

    detector = DriftDetector.build(model, fit_images, fit_labels, ref_images, ref_labels, mean=MEAN, std=STD)
    detector.save("detector")
    verdict = DriftDetector.load("detector", model).check(images)
    print(verdict.level, verdict.p, verdict.accuracy)

In: a model and images as uint8 (m, H, W, 3) or as paths. Out: a `Verdict`. Nothing of the training or its configuration
is needed. Read by the command line and the study.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Labels, Pixels
from drift_detector_pipeline.drift.inverse import asker
from drift_detector_pipeline.drift.permutation import Labellings
from drift_detector_pipeline.drift.preparation import (
    CHUNK,
    Album,
    Images,
    Preparation,
    Window,
    all_readable,
    open_images,
    preparation_from,
)
from drift_detector_pipeline.drift.reading import read_chunks
from drift_detector_pipeline.drift.reference import Reference, learn, one_blas_thread, refer
from drift_detector_pipeline.drift.reference_file import load_reference, save_reference
from drift_detector_pipeline.drift.scores.signals import Forward, Layers, Outputs, read_signals
from drift_detector_pipeline.drift.thumbnails import typical_images
from drift_detector_pipeline.drift.twins import CHANGES, look_at_clean, make_twins
from drift_detector_pipeline.drift.verdict import AskAgain, Limits, Verdict, checked_limits, judge, labellings_for
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from torch import nn

MOST_SHARED = 0.1  # of the reference that may be among `fit`, too
BUILD_AGAIN = "make drift_reference RUN=..., or DriftDetector.build(...).save(...)"

Model: TypeAlias = "nn.Module | Callable[[Pixels], Outputs]"


class DriftDetector:
    """Knows one model's training world and says whether a window of images looks like it.

    The reference's scores, identity of the model and classes are fixed.
    """

    def __init__(
        self, reference: Reference, forward: Forward, classes: list[str], preparation: Preparation,
        *, identity: str, thumbnails: list[tuple[str, bytes]], facts: dict[str, Any],
    ) -> None:  # fmt: skip
        self.reference, self.forward, self.classes, self.preparation = reference, forward, classes, preparation
        self.identity, self.thumbnails, self.facts = identity, thumbnails, facts
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
        forward, identity = _way_through(model, preparation)
        fit, ref = (all_readable(images, preparation) for images in (fit_images, ref_images))
        _refuse_shared(fit, ref)
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
    def limits(self) -> Limits:
        """What is asked of verdicts; may be set at any time. Raises ConfigError if nothing could be noticed."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = checked_limits(limits)

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
        forward, identity = _way_through(model, preparation)
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

    def open(self, images: Images, names: Sequence[str] | None = None) -> Window:
        """Decode and crop a few images; arrays are named by their place. Raises DataError as `check` does."""
        return open_images(images, self.preparation, names)

    def album(self, images: Images, names: Sequence[str] | None = None) -> Album:
        """Any number of images, to be opened a chunk at a time. Raises DataError as `check` does."""
        return Album(images, self.preparation, names)

    def check_album(self, album: Album) -> Verdict:
        """Judge what `album` gives, in bounded memory. Raises DataError if the model gives no finite numbers for it."""
        verdict = self._check_chunks(album.chunks(), album.crops_of)
        names = tuple(album.names[place] for place in verdict.carriers)
        return verdict._replace(carrier_names=names, unreadable=tuple(album.unreadable))

    def check_crops(self, crops: Pixels) -> Verdict:
        """Judge uint8 (m, S, S, 3) crops, as `open` gives them. Raises DataError for another shape."""
        side = self.preparation.side_px
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise DataError(f"crops: expected uint8 (m, {side}, {side}, 3), got {crops.dtype} {crops.shape}")
        chunks = (crops[start : start + CHUNK] for start in range(0, len(crops), CHUNK))
        return self._check_chunks(chunks, lambda places: crops[list(places)])

    def check_scores(
        self, scores: Float32s, predicted: Labels, *, ask_again: AskAgain = lambda looks_changed: None
    ) -> Verdict:
        """Judge images whose scores (m, S), as `scores.phi` gives them, and predicted classes (m,) are known.

        `ask_again` takes a second look at the images after a notice, as `inverse.asker` does; without it the accuracy
        of a changed window is less certain than it seems. Raises DataError if shapes do not fit, a score is not finite
        or a class not in 0..K-1.
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
            return judge(self.reference, labellings, scores, predicted, self.classes, self.limits, ask_again)

    def _check_chunks(self, chunks: Iterable[Pixels], crops_of: Callable[[Sequence[int]], Pixels]) -> Verdict:
        parameters, least = self.reference.learned.parameters, self.limits.min_images
        found = read_chunks(chunks, self.forward, parameters, least)
        if found.images < least:
            return Verdict("too few images", found.images)
        ask_again = asker(self.reference, found, crops_of, self.forward)
        return self.check_scores(found.scores, found.predicted, ask_again=ask_again)._replace(copies=found.copies)


def _checked_labels(name: str, labels: npt.ArrayLike, images: int, classes: int) -> Labels:
    found = np.asarray(labels)
    if found.shape != (images,) or found.dtype.kind not in "iu" or not ((found >= 0) & (found < classes)).all():
        raise DataError(
            f"{name}: expected whole numbers in 0..{classes - 1} for {images} images, got {found.dtype} {found.shape}"
            + (f" in {found.min()}..{found.max()}" if found.dtype.kind in "iu" and found.size else "")
        )
    return found.astype(np.int64)


def _refuse_shared(fit: Pixels, ref: Pixels) -> None:
    """A few images that appear twice in a data set do no harm; the same images for both do."""
    of_fit, of_ref = ({hashlib.sha256(image.tobytes()).digest() for image in images} for images in (fit, ref))
    shared = len(of_fit & of_ref)
    if shared > MOST_SHARED * len(of_ref):
        raise DataError(
            f"ref_images: {shared} of {len(of_ref)} are among fit_images, too; what was learned from them would take "
            "them for more usual than new ones: give others"
        )


def _way_through(model: Model, preparation: Preparation) -> tuple[Forward, str]:
    if (torch := sys.modules.get("torch")) and isinstance(model, torch.nn.Module):
        return _way_through_module(model, preparation)
    if not isinstance(identity := getattr(model, "identity", None), str):
        raise ModelError("model: a callable must have an attribute `identity`, a text that changes with the model")
    return model, identity


def _way_through_module(module: "nn.Module", preparation: Preparation) -> tuple[Forward, str]:
    from drift_detector_pipeline.drift.scores.module_forward import through  # nothing else here needs torch
    from drift_detector_pipeline.networks.tensors_hash import tensors_hash

    given = preparation.classifier
    layers = None if given is None else Layers(preparation.early or (), given)
    try:
        return through(module, preparation.mean, preparation.std, layers), tensors_hash(module.state_dict())
    except ValueError as error:
        raise ModelError(str(error)) from error


def _named_classes(names: object, reference: Reference) -> list[str]:
    """The names of the classes that a reference predicts. Raises ValueError if they cannot be."""
    known = names if isinstance(names, list) else []
    if not all(isinstance(name, str) for name in known) or len(known) <= max(1, reference.predicted.max(initial=0)):
        raise ValueError("its classes are not those of its predictions")
    return known
