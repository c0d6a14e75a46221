"""Drift detection for a network of boxes: build once from labelled images, save, load, check windows.

In: a network and images, as views or as paths. Out: a `BoxVerdict`. The counterpart of drift/detector.py, which is for
classes. Read by the command line and the study.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from drift_detector_pipeline.arrays import Boxes, Pixels
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.boxes.phi import box_phi, predicted_classes
from drift_detector_pipeline.drift.boxes.pictures import typical_pictures
from drift_detector_pipeline.drift.boxes.reference import BoxReference, learn_boxes, refer_boxes
from drift_detector_pipeline.drift.boxes.reference_file import load_box_reference, save_box_reference
from drift_detector_pipeline.drift.boxes.signals import BoxForward, find_boxes, read_box_signals
from drift_detector_pipeline.drift.boxes.twins import CHANGES, IMAGES, make_box_twins
from drift_detector_pipeline.drift.boxes.verdict import BoxVerdict, Window, box_labellings, judge_boxes
from drift_detector_pipeline.drift.boxes.worth import estimate_worth
from drift_detector_pipeline.drift.permutation import Labellings
from drift_detector_pipeline.drift.preparation import Album, Images, Preparation
from drift_detector_pipeline.drift.reading import judging
from drift_detector_pipeline.drift.reference import one_blas_thread
from drift_detector_pipeline.drift.verdict import Limits, checked_limits
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.networks.boxes.found import Found


class LabelledViews(NamedTuple):
    """Images with their true boxes."""

    views: Pixels  # uint8 (N, S, S, 3), letterboxed
    truth: list[Boxes]  # N, in px of the views


class BoxModel(NamedTuple):
    """A network, and which one it is."""

    forward: BoxForward
    identity: str  # a text that changes with the network


class _Reading(NamedTuple):
    window: Window
    found: list[Found]
    copies: int


class BoxDetector:
    """Knows one network's training world and says whether a window of images looks like it."""

    def __init__(
        self, reference: BoxReference, model: BoxModel, classes: list[str], preparation: Preparation,
        *, pictures: list[bytes], facts: dict[str, Any],
    ) -> None:  # fmt: skip
        self.reference, self.model, self.classes, self.preparation = reference, model, classes, preparation
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
    def limits(self) -> Limits:
        """What is asked of verdicts; may be set at any time. Raises ConfigError if nothing could be noticed."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = checked_limits(limits)

    def save(self, folder: Path) -> None:
        """Write reference.npz and reference.json into `folder`, which need not exist."""
        own = {"identity": self.model.identity, "classes": self.classes, "preparation": self.preparation.as_values()}
        save_box_reference(folder, self.reference, self.facts | own, self.pictures)

    @classmethod
    def load(cls, folder: Path, model: BoxModel) -> Self:
        """Read a saved detector. Raises DataError if it is damaged, ModelError if it was built for another network."""
        saved = load_box_reference(folder)
        if saved.identity != model.identity:
            raise ModelError(
                f"{folder}: built for the model {saved.identity}, not for {model.identity}; build it again for this "
                "model: make drift_reference RUN=..."
            )
        return cls(saved.reference, model, saved.classes, saved.preparation, pictures=saved.pictures, facts=saved.facts)

    def album(self, images: Images, names: Sequence[str] | None = None) -> Album:
        """Any number of images, to be opened a chunk at a time; arrays or paths, else DataError is raised."""
        return Album(images, self.preparation, names)

    def check(self, images: Images) -> BoxVerdict:
        """Judge a window. Files that cannot be read are left out and named in the verdict."""
        return self.check_album(self.album(images))

    def check_album(self, album: Album) -> BoxVerdict:
        """Judge what `album` gives. Raises DataError if the network gives no finite numbers for it."""
        read = self._read(album.chunks())
        if read is None or len(read.found) < self.limits.min_images:
            return BoxVerdict("too few images", len(read.found) if read else 0, unreadable=tuple(album.unreadable))
        verdict = self._judge(read)
        names = tuple(album.names[place] for place in verdict.carriers)
        return verdict._replace(carrier_names=names, unreadable=tuple(album.unreadable), copies=read.copies)

    def found_in(self, views: Pixels) -> list[Found]:
        """The boxes in uint8 (N, S, S, 3)."""
        return find_boxes(views, self.model.forward)

    def _judge(self, read: _Reading) -> BoxVerdict:
        key = len(read.found), self.limits
        with one_blas_thread():
            if (labellings := self._labellings.get(key)) is None:
                labellings = box_labellings(self.reference, len(self.classes), len(read.found), self.limits)
                self._labellings = {key: labellings}

            def worth(noticed: bool) -> Estimate:
                return estimate_worth(read.found, self.reference.usual, self.reference.learned.worth)

            return judge_boxes(self.reference, labellings, read.window, self.classes, self.limits, worth)

    def _read(self, chunks: Iterable[Pixels]) -> _Reading | None:
        """What the network says of a window of any size; None if there is no image."""
        scores, predicted, found, seen = [], [], list[Found](), set[int]()
        parameters = self.reference.learned.parameters
        for views in chunks:
            with judging():
                signals = read_box_signals(views, self.model.forward)
            with one_blas_thread():
                scores.append(box_phi(signals, parameters))
            predicted.append(predicted_classes(signals, parameters, len(self.classes)))
            found += signals.found
            seen |= {hash(view.tobytes()) for view in views}
        if not found:
            return None
        return _Reading(Window(np.concatenate(scores), np.concatenate(predicted)), found, len(found) - len(seen))
