"""Not a test: small clips of two classes, from several sources each, as videos on disk or packed at once.

A `still` clip shows a square that stays, a `moving` one a square that goes right; the background is the source's own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.processed.integrity import fingerprint_of
from drift_detector_pipeline.processed.manifest import FORMAT, Manifest, Source, deciding_settings, write_manifest
from drift_detector_pipeline.processed.packing import Entry, write_packed
from drift_detector_pipeline.processed.splits import SPLITS
from drift_detector_pipeline.settings import Data

CLASSES = ("moving", "still")


def frames_of(name: str, source: int, clip: int, frames: int = 12, size: tuple[int, int] = (48, 64)) -> Pixels:
    """Draw a clip of class `name`: uint8 (frames, *size, 3)."""
    height, width = size
    chance = np.random.default_rng((source, clip))
    scenery = np.random.default_rng(source).integers(40, 160, (6, 8, 3), dtype=np.uint8)
    background = scenery.repeat(height // 6, axis=0).repeat(width // 8, axis=1)
    drawn = np.stack([np.resize(background, (height, width, 3))] * frames)
    side, top, left = height // 4, int(chance.integers(height // 2)), int(chance.integers(width // 4))
    for number, frame in enumerate(drawn):
        x = left + (number * width // (2 * frames) if name == "moving" else 0)
        frame[top : top + side, x : x + side] = (250, 250, 90)
    return drawn


def draw_videos(
    root: Path, sources: int = 3, clips: int = 2, frames: int = 12, classes: Sequence[str] = CLASSES, rate: int = 12
) -> Path:
    """Write root/<class>/s<source>_c<clip>.mp4, real H.264; a source's number is the same in no two classes."""
    from drawn_video import write_frames  # needs PyAV, or the test is skipped

    for name, source, clip in _all(classes, sources, clips):
        path = root / name / f"s{source}_c{clip:02d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_frames(path, frames_of(name, source, clip, frames), rate=rate)
    return root


def pack_clips(
    data: Data, sources: int = 3, clips: int = 2, frames: int = 12, size: tuple[int, int] = (48, 64),
    splits: Sequence[str] = ("val",),
) -> Path:  # fmt: skip
    """Fill data.processed_path with drawn clips, without videos.

    Of each class the first sources are of these splits, one of val unless others are named; the rest is train.
    """
    folder, entries = data.processed_path, list[Entry]()
    folder.mkdir(parents=True, exist_ok=True)
    for name, source, clip in _all(CLASSES, sources, clips):
        split = dict(enumerate(splits)).get(source % sources, "train")
        pixels = frames_of(name, source, clip, frames, size)
        path, label = f"{name}/s{source}_c{clip:02d}.mp4", CLASSES.index(name)
        entries.append(Entry(path, split, label, pixels, source=f"s{source}"))
    counts = {split: [entry.label for entry in entries if entry.split == split] for split in SPLITS}
    manifest = Manifest(
        format=FORMAT,
        name=data.name,
        fingerprint=fingerprint_of(write_packed(folder, entries), list(CLASSES)),
        classes=list(CLASSES),
        counts={split: {name: of.count(label) for label, name in enumerate(CLASSES)} for split, of in counts.items()},
        images=len(entries),
        settings=deciding_settings(data, "clips"),
        source=Source("drawn", "", ""),
        bad_images=[],
        ignored_files=[],
        unused_folders=[],
        pillow="",
        task="clips",
        sources_from="listed",
        sources={split: len({one.source for one in entries if one.split == split}) for split in SPLITS},
    )
    write_manifest(folder, manifest)
    return folder


def _all(classes: Sequence[str], sources: int, clips: int) -> Iterator[tuple[str, int, int]]:
    for label, name in enumerate(classes):
        for source in range(label * sources, (label + 1) * sources):
            yield from ((name, source, clip) for clip in range(clips))
