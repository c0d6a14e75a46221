"""An artefact, opened: bytes -> crop -> answer and scores.

In: an artefact's folder. Out: an `Engine`, warm, with the drift reference that was built through the same file. The
batcher asks it from one thread. N: images, K: classes, S: scores, px: pixels of an image's side.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.drift.boxes.detector import BoxDetector
from drift_detector_pipeline.drift.boxes.phi import box_phi
from drift_detector_pipeline.drift.boxes.signals import BoxOutputs, box_signals
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.clips.signals import over_frames
from drift_detector_pipeline.drift.detecting import Detector
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.kinds import load_detector
from drift_detector_pipeline.drift.scores.phi import Score, phi
from drift_detector_pipeline.drift.scores.pixels import pixel_scores
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import Side, decode_picture, fit
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.release.artefact import BOXES, CLIPS, REFERENCE, Artefact, read_artefact, version_of
from drift_detector_pipeline.release.box_executable import BoxExecutable, open_box_executable
from drift_detector_pipeline.release.executable import Executable, open_executable, read_deviation
from drift_detector_pipeline.tasks.clips.frames import said_together

MOST = 16  # images of a batch: more are hardly faster an image, and make the first of them wait
NAME_LETTERS = 12  # of the served file's SHA-256 are a model's name in answers and metrics


class Answers(NamedTuple):
    """What is said of N images."""

    probabilities: Float32s  # (N, K); where boxes are found: the score of each class's best box, 0 without one
    phi: Float32s | None  # (N, S); None of a model without drift reference
    found: list[Found] | None = None  # N; None of a model that says labels
    logits: Float32s | None = None  # (N, K); None where boxes are found
    signals: Signals | None = None  # of N frames of clips; None of other models, and without drift reference
    features: Float32s | None = None  # (N, D) of N frames of clips whose deviation counts; None of other models


class Crop(NamedTuple):
    """An image as the model is given it, and how large it is for people."""

    pixels: Pixels  # (px, px, 3)
    image: tuple[int, int]  # height and width of the upright image
    stored: tuple[int, int]  # the same after decoding, which may make it smaller


class Engine:
    """A model that answers. An image's answer has the same bits alone and in any batch."""

    def __init__(self, artefact: Artefact, executable: Executable | BoxExecutable, detector: Detector | None) -> None:
        self.artefact, self.executable, self.detector = artefact, executable, detector
        self.deviation = read_deviation(artefact)
        self.log_id = 0  # its number in the request log, once it is registered
        self.model = artefact.sha256[artefact.file][:NAME_LETTERS]
        self.version = version_of(artefact.folder)  # now: the folder may be replaced while this answers
        self.scores = detector.columns if detector else list[Score]()
        self._sorted = None if detector is None else np.sort(detector.reference.scores, axis=0)

    @property
    def sizes_px(self) -> tuple[int, int]:
        """Sides that images are decoded and cropped to; models with the same can take over each other's crops."""
        return self.artefact.stored_side_px, self.artefact.side_px

    @property
    def why_no_drift(self) -> str:
        """Why nothing is said about drift, as the export put it."""
        without = "exported from a run without `fit` images, so nothing can be said about drift"
        return str(self.artefact.facts.get("drift", without))

    @property
    def finds_boxes(self) -> bool:
        """Whether it says where things are, not what an image shows."""
        return self.artefact.task == BOXES

    @property
    def looks_at_clips(self) -> bool:
        """Whether it says what happens, over the frames of a clip."""
        return self.artefact.task == CLIPS

    def view(self, content: bytes) -> Crop:
        """Decode an image file and cut what the model is given. Raises DataError if it is no complete image."""
        picture = decode_picture(content, self.artefact.stored_side_px, self._side)
        return self._cut(picture.pixels, picture.upright)

    def view_frame(self, pixels: Pixels) -> Crop:
        """The same of a decoded frame (H, W, 3), upright, as `make predict` looks at it."""
        height, width = pixels.shape[:2]
        return self._cut(fit(Image.fromarray(pixels), self.artefact.stored_side_px, self._side), (height, width))

    @property
    def _side(self) -> Side:
        return "longer" if self.finds_boxes else "shorter"

    def _cut(self, stored: Pixels, image: tuple[int, int]) -> Crop:
        height, width = stored.shape[:2]
        cut = letterbox if self.finds_boxes else inference_crop
        return Crop(cut(stored, self.artefact.side_px), image, (height, width))

    def prepare(self, content: bytes) -> Pixels:
        """The pixels of `view`: uint8 (px, px, 3)."""
        return self.view(content).pixels

    def answer(self, crops: Pixels) -> Answers:
        """Answer uint8 (N, px, px, 3). Raises ValueError if shapes do not fit the reference."""
        if isinstance(self.executable, BoxExecutable):
            return self._where(crops, self.executable(crops))
        said = self.executable.say(crops)
        features = None if self.deviation is None else said.features
        if not isinstance(self.detector, DriftDetector):
            return Answers(said.probabilities, None, None, said.logits, None, features)
        early = np.zeros((len(crops), 0), np.float32) if said.early is None else said.early
        signals = Signals(pixel_scores(crops), early, said.features, said.logits)
        if isinstance(self.detector, ClipDetector):
            return Answers(said.probabilities, None, None, said.logits, signals, features)
        row = phi(signals, self.detector.reference.learned.parameters)
        return Answers(said.probabilities, row, None, said.logits)

    def logits_of_clip(self, logits: Float32s, features: Float32s | None) -> Float32s:
        """What is said of a clip, logits (K,), from logits (k, K) and features (k, D) of its frames in `Answers`."""
        return said_together(logits, features=features, deviation=self.deviation)

    def row_of_clip(self, frames: Signals) -> Float32s:
        """The scores (S,) of a clip from the signals of its frames; needs a drift reference."""
        assert isinstance(self.detector, ClipDetector)
        row: Float32s = phi(over_frames(frames, self.deviation), self.detector.reference.learned.parameters)[0]
        return row

    def _where(self, crops: Pixels, said: BoxOutputs) -> Answers:
        found = list(said.found)
        best = np.zeros((len(found), len(self.artefact.classes)), np.float32)
        for row, one in zip(best, found, strict=True):
            np.maximum.at(row, one.labels, one.scores)
        if not isinstance(self.detector, BoxDetector):
            return Answers(best, None, found)
        return Answers(best, box_phi(box_signals(crops, said), self.detector.reference.learned.parameters), found)

    def explain(self, row: Float32s) -> list[dict[str, Any]]:
        """The scores (S,) of an image by name; `rank` is the share of the training world's images that have less.

        Those that have as much count half, so that a score that is the same for all of them is nothing unusual.
        """
        if self._sorted is None:
            return []
        ranks = [
            sum(np.searchsorted(column, value, side) for side in ("left", "right")) / (2 * len(column))
            for column, value in zip(self._sorted.T, row, strict=True)
        ]
        return [
            {"name": score.name, "channel": score.channel, "value": float(value), "rank": round(float(rank), 4)}
            for score, value, rank in zip(self.scores, row, ranks, strict=True)
        ]

    def facts(self) -> dict[str, Any]:
        """What people and programs may know of the model; nothing of the machine."""
        artefact = self.artefact
        return {
            "model": self.model, "version": self.version, "name": artefact.name, "classes": artefact.classes,
            "runtime": artefact.runtime,
            "precision": artefact.precision, "file": artefact.file, "sha256": artefact.sha256[artefact.file],
            "side_px": artefact.side_px, "stored_side_px": artefact.stored_side_px,
            "task": artefact.task or "classification", "rows_independent": artefact.rows_independent,
            "receipt_sha256": artefact.receipt_sha256,
            "reference_sha256": artefact.sha256.get(REFERENCE), "scores": [score.name for score in self.scores],
            "facts": artefact.facts,
        }  # fmt: skip


def open_engine(folder: Path) -> Engine:
    """Open the artefact in `folder` and answer once, so that the first request need not wait.

    Raises DataError if a file is damaged or does not answer, ModelError if the reference belongs to another one or
    another runtime.
    """
    artefact = read_artefact(folder)
    executable = open_box_executable(artefact) if artefact.task == BOXES else open_executable(artefact, seldom=True)
    detector = None
    if REFERENCE in artefact.sha256:
        detector = load_detector(folder, artefact.task, _watched(artefact, executable))
    engine = Engine(artefact, executable, detector)
    try:
        for images in (1, MOST):
            said = engine.answer(np.zeros((images, artefact.side_px, artefact.side_px, 3), np.uint8))
            if (width := said.probabilities.shape[1]) != len(artefact.classes):
                raise ValueError(f"{width} probabilities an image, and {len(artefact.classes)} classes are named")
            if said.features is not None and said.logits is not None:
                engine.logits_of_clip(said.logits, said.features)
    except Exception as error:  # of a runtime: its errors have no common class
        raise DataError(f"{folder / artefact.file}: does not answer ({str(error)[:200]}); export again") from error
    return engine


def _watched(artefact: Artefact, executable: Executable | BoxExecutable) -> Executable | BoxExecutable:
    """The way that second looks take, beside requests: ONNX Runtime takes several threads, OpenVINO's request one."""
    alone = artefact.runtime == "onnxruntime" or isinstance(executable, BoxExecutable)
    return executable if alone else open_executable(artefact, seldom=True)
