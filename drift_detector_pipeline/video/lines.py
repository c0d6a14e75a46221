"""What is known of each frame, as JSON lines that a kill cannot spoil.

In: answers of frames, a batch at a time. Out: boxes.jsonl, a line a frame. Read by boxed.py: what stands there need not
be asked again.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drift_detector_pipeline.json_files import parsed

Line = dict[str, Any]  # frame, seconds, and the answer; of boxes {"boxes": [{"track", "label", "score", "box"}]}


def whole_lines(path: Path, batch: int) -> list[Line]:
    """The lines that are as they were written, in whole batches; what comes after them is cut off.

    Frames are then asked in the same batches as if nothing had happened.
    """
    if not path.exists():
        return []
    written = path.read_bytes()
    lines = written[: written.rfind(b"\n") + 1].splitlines(keepends=True)
    known = list(itertools.takewhile(lambda line: line is not None, map(_read, lines, itertools.count())))
    known = known[: len(known) - len(known) % batch]
    with path.open("r+b") as file:
        file.truncate(sum(map(len, lines[: len(known)])))
    return [line for line in known if line is not None]


def _read(written: bytes, number: int) -> Line | None:
    """The line of the frame of this number; None if it is damaged."""
    try:
        line = parsed(written)
        return line if isinstance(line, dict) and line.get("frame") == number else None
    except ValueError:
        return None


def append_lines(path: Path, lines: list[Line]) -> None:
    """Write further lines in one piece."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with path.open("ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def read_lines(path: Path) -> Iterator[Line]:
    """All lines of a finished file, one after another."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
