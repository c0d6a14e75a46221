"""What clips were taken from, going by their names, where no table says it.

In: clips of a folder a class. Out: path -> source, and how that is known. Two clips of one source show the same room,
the same people, the same light: a model that has seen one has seen the other, so a split must not part them.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from drift_detector_pipeline.raw.formats.survey import nfc
from drift_detector_pipeline.raw.listing import RawImage, SourcesFrom

# `street_c01`, `street-clip3`, `street part 2` and `street-0001` are all of `street`; `street_2` may be another street.
_CLIP_OF = re.compile(r"(.+?)[ _.-]+(?:(?:c|clip|part|seg|segment)[ _.-]?\d+|\d{3,})", re.IGNORECASE)


def sources_of(clips: Sequence[RawImage]) -> tuple[dict[str, str], SourcesFrom]:
    """Path -> source: by folders between class and file, or by names; else every clip is its own.

    Names count where they say something: fewer sources than clips, and a class with two of them.
    """
    for named in (_by_folder(clips), _by_name(clips)):
        if len(set(named.values())) < len(clips) and _most_of_a_class(clips, named) > 1:
            return named, "named"
    return {clip.path: clip.path for clip in clips}, "unknown"


def sources_named(clips: Sequence[RawImage]) -> tuple[dict[str, str], SourcesFrom]:
    """The same where no class says whether names mean something: all may be of one source."""
    for named in (_by_folder(clips), _by_name(clips)):
        if len(set(named.values())) < len(clips):
            return named, "named"
    return {clip.path: clip.path for clip in clips}, "unknown"


def _by_folder(clips: Sequence[RawImage]) -> dict[str, str]:
    """The first folder below the class that not all have; a clip without one counts as its own."""
    ways = {clip.path: PurePosixPath(clip.key).parts[1:-1] for clip in clips}
    while all(ways.values()) and len({way[0] for way in ways.values()}) == 1:
        ways = {path: way[1:] for path, way in ways.items()}
    return {path: nfc(way[0]) if way else path for path, way in ways.items()}


def _by_name(clips: Sequence[RawImage]) -> dict[str, str]:
    found = {clip.path: _CLIP_OF.fullmatch(PurePosixPath(clip.key).stem) for clip in clips}
    return {path: nfc(match[1]) if match else path for path, match in found.items()}


def _most_of_a_class(clips: Sequence[RawImage], named: Mapping[str, str]) -> int:
    sources = defaultdict[str, set[str]](set)
    for clip in clips:
        sources[clip.class_name].add(named[clip.path])
    return max(map(len, sources.values()), default=0)
