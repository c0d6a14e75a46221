"""Output that nobody reads any more, as after `| head -1`: it is thrown away, and the work goes on to its own end.

Installed by the package's `__init__` in a command of ours, on stdout and stderr unless they are terminals.
"""

import io
import os
import sys
from typing import TextIO

from drift_detector_pipeline.stopped import is_command


class _Output(io.FileIO):
    """A file that may be closed at its other end, or full."""

    def write(self, content: object) -> int:
        """Write, or throw away; once a disk is full that is an error, and all later content is thrown away."""
        try:
            return super().write(content)  # type: ignore[arg-type]
        except BrokenPipeError:
            self._lead_nowhere()
            return memoryview(content).nbytes  # type: ignore[arg-type]
        except OSError:
            self._lead_nowhere()  # or the interpreter fails at it once more when it ends
            raise

    def _lead_nowhere(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def install() -> None:
    """Let readers of this process's output leave, if it is a command of ours."""
    if is_command():
        sys.stdout, sys.stderr = _forgiving(sys.stdout), _forgiving(sys.stderr)


def _forgiving(stream: TextIO | None) -> TextIO:
    """The same stream, with the same encoding and buffers; there is none where it was closed from the start."""
    if stream is None:
        nowhere = _Output(os.open(os.devnull, os.O_WRONLY), "wb", closefd=False)
        return io.TextIOWrapper(nowhere, encoding="utf-8", write_through=True)
    if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
        return stream
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return stream
    raw = _Output(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if isinstance(stream.buffer, io.BufferedWriter) else raw,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
