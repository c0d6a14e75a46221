"""A finished run whose task is clips -> its detector: clips in their roles, as frames that the network looks at.

In: a `Trained`, its processed data and what looks at single frames. Out: a `ClipDetector`. Read by
drift/build_reference.py, which saves it, and window.py, which loads it. Brings torch.
"""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from drift_detector_pipeline.arrays import Indices, Pixels
from drift_detector_pipeline.console import log
from drift_detector_pipeline.drift.clips.detector import TASK, ClipDetector, refer_sources
from drift_detector_pipeline.drift.clips.groups import refuse_few
from drift_detector_pipeline.drift.clips.signals import read_clip_signals
from drift_detector_pipeline.drift.clips.twins import make_clip_twins
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.drift.reference import learn, one_blas_thread
from drift_detector_pipeline.drift.scores.phi import LEAST, enough_to_learn
from drift_detector_pipeline.drift.thumbnails import typical_images
from drift_detector_pipeline.drift.twins import CHANGES
from drift_detector_pipeline.drift.way_through import way_through
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.networks.clips import deviation_of, frame_of
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.tasks.clips.frames import looked_at

_MORE = "Add videos of other cameras, days or places to the source, and train again"


def clip_detector_of(
    model: Any, trained: Trained, processed: Processed, facts: dict[str, Any], kinds: tuple[str, ...] = CHANGES
) -> ClipDetector:
    """Learn on the clips of `fit`, describe the sources of `val`, through `model`, as `way_through` takes it.

    Raises DataError if there are too few sources, or nothing can be learned.
    """
    images, (fit, ref) = processed.images, (processed.images.indices(split) for split in ("fit", "val"))
    assert images.sources is not None
    sources = [images.sources[place] for place in ref.tolist()]
    if not len(fit):
        raise DataError(f"{processed.folder}: no fit clips to learn drift from; train a run with data.fit_fraction=0.1")
    if not enough_to_learn(labels := images.labels[fit]):
        raise DataError(
            f"{processed.folder}: {len(fit)} fit clips of {len(set(labels.tolist()))} classes, and drift is learned "
            f"from {LEAST} of 2 classes or more; train a run with a larger data.fit_fraction, or with more videos"
        )
    refuse_few(sources, f"{processed.folder}, val", _MORE)
    preparation = _preparation_of(trained)
    (forward, identity), deviation = way_through(model, preparation), deviation_of(trained.network.module)
    clips, others = (frames_of(trained, processed, places) for places in (fit, ref))
    log.info("%d fit clips; %d clips of %d sources in the reference", len(clips), len(others), len(set(sources)))
    try:
        clean, signals = (read_clip_signals(some, forward, deviation) for some in (clips, others))
        made = make_clip_twins(clips, forward, deviation, kinds=kinds)
        with one_blas_thread():
            learned = learn(clean, labels, made, trained.img_size)
            reference = refer_sources(learned, signals, images.labels[ref], sources)
    except ValueError as error:
        raise DataError(f"no detector can be built: {error}") from error
    known = {"task": TASK, "fit_images": len(fit), "clips": len(ref), "twin_kinds": list(kinds)}
    middle = np.stack([others[sources.index(name)][0] for name in dict.fromkeys(sources)])
    return ClipDetector(
        reference, forward, trained.classes, preparation, identity=identity, facts=known | facts,
        thumbnails=typical_images(reference, middle, trained.classes),
    )  # fmt: skip


def frame_model_of(trained: Trained) -> nn.Module:
    """The run's own network for single frames."""
    return frame_of(trained.network.module)


def load_clip_detector(folder: Path, trained: Trained) -> ClipDetector:
    """The saved detector of a run. Raises as `DriftDetector.load`."""
    return ClipDetector.load(folder, frame_model_of(trained))


def frames_of(trained: Trained, processed: Processed, places: Indices) -> list[Pixels]:
    """What is looked at of some clips: each uint8 (k, S, S, 3), fewer of a clip that has fewer."""
    return [shown(processed.images[place], trained) for place in places.tolist()]


def shown(stored: Pixels, trained: Trained) -> Pixels:
    """The frames of a clip (T, H, W, 3) that the network looks at, in the middles of equal parts."""
    assert trained.clip is not None
    return looked_at(stored, trained.clip.k_frames, trained.img_size)


def _preparation_of(trained: Trained) -> Preparation:
    mean, std = tuple(trained.network.mean), tuple(trained.network.std)
    return Preparation(trained.img_size, trained.stored_side_px, mean, std)
