"""The program that writes a run to trackio: a folder of SQLite files, or a server of one's own.

Started by mirror.py as trackio_tracking.py says, maybe by the Python of another environment: so it imports nothing but
trackio, what that brings, and writer.py.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import trackio
from PIL import Image

from drift_detector_pipeline.files import exclusive
from drift_detector_pipeline.runs.tracking.writer import CaptionedImage, Parent, Start, write_run


class TrackioWriter:
    """Writes through trackio's own calls, which mirror those of `wandb`."""

    def __init__(self, start: Start, parent: Parent) -> None:
        options = start.options
        # A run that goes on is found by its name: two that people call the same stay two.
        name = f"{options['run_name'] or start.name}-{start.run_id[:6]}"
        with exclusive(Path(options["folder"]) / f".{options['project']}.lock"):
            self._run = trackio.init(
                project=options["project"], name=name, config=start.config, resume="allow", embed=False,
                server_url=options["server_url"], auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        self._noted = Path(start.folder) / "steps.json"
        self._there: dict[str, int] = json.loads(self._noted.read_text()) if self._noted.exists() else {}
        parent.info(f"{options['server_url'] or options['folder']}, run {name} of the project {options['project']}")

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Add the values of a step, unless they are there."""
        new = {key: value for key, value in metrics.items() if step > self._there.get(key, -1)}
        if new:
            self._run.log(new, step=step)
            self._there |= dict.fromkeys(new, step)

    def samples(self, pictures: list[CaptionedImage], step: int) -> None:
        """Add the pictures to the last step."""
        images = [trackio.Image(Image.open(io.BytesIO(one.png)), caption=one.caption) for one in pictures]
        self._run.log({f"val/samples/{number:02}": image for number, image in enumerate(images)}, step=step)

    def model(self, path: Path, name: str, about: dict[str, Any]) -> None:
        """Add the file as a version of an artifact."""
        artifact = trackio.Artifact(name, type="model", metadata=about)
        artifact.add_file(path)
        self._run.log_artifact(artifact)

    def close(self, exit_code: int) -> list[str]:
        """Write out what is held back."""
        trackio.finish()
        self._noted.write_text(json.dumps(self._there))
        return []

    def send_later(self) -> str:
        """Nothing is kept back that could be sent."""
        return ""


if __name__ == "__main__":
    sys.exit(write_run(TrackioWriter))
