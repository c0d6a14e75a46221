"""Not a test: the program of the smallest tracker there is, a folder; `test_mirror.py` has trainings mirrored to it.

Each call of the writer is a line of JSON in `calls.jsonl`. The option `at` names a call at which it misbehaves as the
option `mood` says: raises, or dies. One that grumbles prints a warning at its end.
"""

import base64
import json
import os
import sys
from pathlib import Path

from drift_detector_pipeline.runs.tracking.writer import CaptionedImage, Parent, Start, write_run


class ToyWriter:
    """Writes what it is told into its folder."""

    def __init__(self, start: Start, parent: Parent) -> None:
        self._start, self._parent = start, parent
        self._note("start", run_id=start.run_id, name=start.name, config=start.config)
        parent.info(f"writing to {start.folder}")

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Note a step's numbers."""
        self._note("log", step=step, metrics=metrics)

    def samples(self, pictures: list[CaptionedImage], step: int) -> None:
        """Note the pictures."""
        shown = [{"png": base64.b64encode(one.png).decode(), "caption": one.caption} for one in pictures]
        self._note("samples", step=step, pictures=shown)

    def model(self, path: Path, name: str, about: dict[str, object]) -> None:
        """Copy the file."""
        (Path(self._start.folder) / "model").write_bytes(path.read_bytes())
        self._note("model", name=name, about=about)

    def close(self, exit_code: int) -> list[str]:
        """Note the end, print a line, and give back what was printed."""
        self._note("close", exit_code=exit_code)
        print("WARNING" if self._start.options["mood"] == "grumbles" else "nothing is lost", flush=True)
        return [line for line in self._parent.printed(Path(self._start.folder)).splitlines() if "WARNING" in line]

    def send_later(self) -> str:
        """What nobody has written yet."""
        return "toy send"

    def _note(self, call: str, **said: object) -> None:
        if call == self._start.options["at"]:
            if self._start.options["mood"] == "dies":
                os._exit(3)
            raise OSError(f"no room for {call}")
        with (Path(self._start.folder) / "calls.jsonl").open("a") as file:
            file.write(json.dumps({"call": call} | said) + "\n")


if __name__ == "__main__":
    sys.exit(write_run(ToyWriter))
