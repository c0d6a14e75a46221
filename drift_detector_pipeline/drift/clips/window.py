"""Files -> a window of sources, and the verdict on it.

In: videos, folders of frames, .npz; clips.csv where it says what they were taken from. Out: a `Verdict` whose images
are sources, and a `Window` with a frame of each for the report. Read by make drift. Brings torch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import log
from drift_detector_pipeline.drift.clips.build import shown
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.clips.groups import of_sources, refuse_few
from drift_detector_pipeline.drift.clips.signals import read_clip_signals
from drift_detector_pipeline.drift.decision import Limits
from drift_detector_pipeline.drift.detecting import Rows
from drift_detector_pipeline.drift.preparation import Window
from drift_detector_pipeline.drift.reading import judging
from drift_detector_pipeline.drift.reference import one_blas_thread, predictions
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.verdict import Verdict
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.named_files import ImageFile
from drift_detector_pipeline.modeling.clip_files import is_table, read_clips
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.networks.clips import deviation_of
from drift_detector_pipeline.raw.formats.clip_sources import sources_named
from drift_detector_pipeline.raw.formats.clip_table import rows_of
from drift_detector_pipeline.raw.formats.survey import nfc, survey
from drift_detector_pipeline.raw.listing import RawImage

_MORE = (
    "Name clips of other cameras, days or places; clips.csv beside them says which belong together (columns path, "
    "source), a folder each or names such as yard_c01.mp4 do, too. Of a video of many hours drift.block_minutes=30 "
    "lets each half hour count as a source, if its scenes do change so fast"
)


def judge_clips(
    detector: ClipDetector, trained: Trained, files: Sequence[ImageFile], words: Sequence[str], limits: Limits,
    block_minutes: float | None,
) -> tuple[Verdict, Window]:  # fmt: skip
    """Judge the clips that `files` are, each source once, and give a frame of each; `words` are the names as given.

    Raises DataError if there is no clip, or for fewer than LEAST sources, with how many there are and what to do.
    """
    assert trained.clip is not None
    names, clips, unreadable = list[str](), list[Pixels](), dict[str, str]()
    given = [one for one in files if not is_table(one.file)]
    for name, stored in read_clips(files, trained.clip, trained.stored_side_px, unreadable):
        names.append(name)
        clips.append(shown(stored.pixels, trained))
    if not names:
        first = "".join(f"; {name}: {why}" for name, why in list(unreadable.items())[:1])
        raise DataError(f"{' '.join(words)}: no clip among {len(given)} files{first}")
    found = sources_among(names, words, block_minutes, trained.classes)
    refuse_few(found, " ".join(words), _MORE)
    with judging():
        signals = read_clip_signals(clips, detector.forward, deviation_of(trained.network.module))
    with one_blas_thread():
        rows = Rows(phi(signals, detector.reference.learned.parameters), predictions(signals))
    sources, own = of_sources(rows, found)
    detector.limits = limits
    verdict = detector.check_scores(*own, names=sources)._replace(unreadable=tuple(unreadable))
    frames = np.stack([clips[found.index(name)][0] for name in sources])
    return verdict, Window(frames, sources, unreadable)


def sources_among(
    names: Sequence[str], words: Sequence[str], block_minutes: float | None, classes: Sequence[str] = ()
) -> list[str]:
    """The source of each clip: what clips.csv says, its folder or its name; else its file, perhaps block by block.

    Folders that are called like one of `classes` say nothing. A piece of a long video is named video.mp4#00012.000, by
    the second it begins at.
    """
    files = [name.partition("#")[0] for name in names]
    listed = _listed(words)
    known = {name: listed.get(nfc(Path(name).resolve().as_posix()), "") for name in dict.fromkeys(files)}
    if not all(known.values()):
        images = [RawImage(name, "", None, f"clips/{_below(name, words, classes)}") for name in known]
        known, how = sources_named(images)
        if how == "unknown" and len(known) > 1:
            log.warning("what clips were taken from is not known, so each of %d files counts as a source", len(known))
    return [_block(known[file], name, block_minutes) for file, name in zip(files, names, strict=True)]


def _listed(words: Sequence[str]) -> dict[str, str]:
    """What the tables in the named folders say, by where a clip's file is."""
    folders = [Path(word) for word in words if Path(word).is_dir()]
    tables = [(survey(folder, folder), folder) for folder in folders]
    return {
        nfc((one.root / row.path).resolve().as_posix()): row.source
        for one, _ in tables for row in rows_of(one) if row.source
    }  # fmt: skip


def _below(name: str, words: Sequence[str], classes: Sequence[str]) -> str:
    """A clip's path below the folder that was named, if it was one, without folders that are called like classes."""
    inside = [word for word in words if Path(name).is_relative_to(word) and Path(name) != Path(word)]
    path = Path(name).relative_to(max(inside, key=len)) if inside else Path(Path(name).name)
    return "/".join([*(part for part in path.parts[:-1] if part not in classes), path.name])


def _block(source: str, name: str, minutes: float | None) -> str:
    start = name.partition("#")[2]
    if minutes is None or not start:
        return source
    return f"{source}, from minute {int(float(start) / (60 * minutes)) * minutes:g}"
