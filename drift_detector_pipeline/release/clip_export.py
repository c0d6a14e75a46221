"""A network of clips -> the graph of its single frames, and the clips that every file of it is asked about.

In: a trained network and its processed data. Out: the network for one image, which graph.py exports as any classifier,
the weights of the deviation over time, if it counts, and a `ClipExam`: what a clip is said to be is computed from its
frames outside of the graph, as in training. Read by export.py. N clips, M frames of all of them, K classes, D features,
S side in px.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from drift_detector_pipeline.arrays import Flags, Float32s, Indices, Labels, Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.networks.clips import deviation_of, frame_of
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.release.artefact import DEVIATION, MODEL
from drift_detector_pipeline.release.beside import Scale, say_through
from drift_detector_pipeline.release.executable import Executable, Session
from drift_detector_pipeline.release.graph import export_model
from drift_detector_pipeline.release.parity import MOST_IMAGES, Row, Says, milliseconds, rows_independent
from drift_detector_pipeline.tasks.classification.metrics import probabilities
from drift_detector_pipeline.tasks.clips.frames import looked_at, said_together
from drift_detector_pipeline.tasks.clips.sources import by_source, interval

_BATCH = 16


class Views(NamedTuple):
    """Clips as a model sees them, frame by frame."""

    crops: Pixels  # (M, S, S, 3), those of the first clip, then those of the second
    counts: list[int]  # N, adding up to M
    labels: Labels  # (N,)
    sources: list[str]  # N


class ClipExam(NamedTuple):
    """The clips that every way through the model is asked about."""

    views: Views
    expected: Float32s  # (N, K) probabilities of the network itself
    deviation: Float32s | None  # weights (K, D) of how much features vary; None: a clip is the mean of its frames

    def ask(self, name: str, session: Session, megabytes: float) -> Row:
        """Ask a file in its runtime."""
        return self.measure(name, Executable(session, "", self.views.crops.shape[1], None).say, megabytes)

    def measure(self, name: str, says: Says, megabytes: float) -> Row:
        """Compare what is said of clips with the truth and with the network; time single frames."""
        found, crops = _asked(says, self.views, self.deviation, name), self.views.crops
        predicted = found.argmax(axis=1)
        right = predicted == self.views.labels
        return Row(
            name, len(right), float(np.abs(found - self.expected).max()),
            float((predicted != self.expected.argmax(axis=1)).mean()), float(right.mean()),
            *_interval(self.views.sources, right), rows_independent(says, crops), milliseconds(says, crops, 1),
            milliseconds(says, crops, 8), megabytes,
        )  # fmt: skip


def export_clips(module: nn.Module, scale: Scale, side_px: int, folder: Path) -> None:
    """Write model.onnx and, if the deviation over time counts, deviation.npy. Raises as `export_model`."""
    export_model(frame_of(module), scale, side_px, folder / MODEL)
    if (weights := deviation_of(module)) is not None:
        np.save(folder / DEVIATION, weights)


def views_of(processed: Processed, places: Indices, trained: Trained) -> Views:
    """What is looked at of some clips: the middles of k equal parts of each."""
    assert trained.clip is not None
    assert processed.images.sources is not None
    side, k = trained.img_size, trained.clip.k_frames
    shown = [looked_at(processed.images[place], k, side) for place in places.tolist()]
    every = np.concatenate([np.zeros((0, side, side, 3), np.uint8), *shown])
    sources = [processed.images.sources[place] for place in places.tolist()]
    return Views(every, [len(one) for one in shown], processed.images.labels[places], sources)


def examine_clips(trained: Trained, processed: Processed) -> tuple[ClipExam, Row]:
    """Ask the network itself, in PyTorch, about the clips of `val`; of very many, about some."""
    assert trained.clip is not None
    places = processed.images.indices("val")
    some = np.random.default_rng(0).permutation(len(places))[: max(1, MOST_IMAGES // trained.clip.k_frames)]
    views = views_of(processed, places[np.sort(some)], trained)
    module, scale = trained.network.module, (trained.network.mean, trained.network.std)
    says, deviation = say_through(through(frame_of(module), *scale)), deviation_of(module)
    exam = ClipExam(views, _asked(says, views, deviation, "the network itself"), deviation)
    return exam, exam.measure("PyTorch fp32", says, trained.file.stat().st_size / 1e6)


def _asked(says: Says, views: Views, deviation: Float32s | None, title: str) -> Float32s:
    """(N, K) probabilities of clips."""
    logits, features = list[Float32s](), list[Float32s]()
    with progress_bar(total=len(views.crops), title=title, unit="frame") as bar:
        for start in range(0, len(views.crops), _BATCH):
            said = says(np.ascontiguousarray(views.crops[start : start + _BATCH]))
            logits.append(said.logits)
            features.append(said.features)
            bar.update(len(said.logits))
    each = zip(*(np.split(np.concatenate(parts), np.cumsum(views.counts)[:-1]) for parts in (logits, features)))  # noqa: B905
    said_of = [said_together(one, features=seen, deviation=deviation) for one, seen in each]
    return probabilities(np.stack(said_of)).astype(np.float32)


def _interval(sources: list[str], right: Flags) -> tuple[float, float]:
    """Where accuracy lies for other sources; anywhere, of a single one."""
    scores = by_source(sources, right)
    counts, hits = (np.array(column, dtype=np.int64) for column in zip(*((one.n, one.right) for one in scores)))  # noqa: B905
    return interval(counts, hits) or (0.0, 1.0)
