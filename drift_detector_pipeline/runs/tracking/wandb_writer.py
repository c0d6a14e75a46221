"""The program that writes a run to W&B, online or offline. All that W&B keeps lies in `<run>/wandb/`.

Started by mirror.py as wandb_tracking.py says; writer.py feeds it.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

import wandb
from PIL import Image

from drift_detector_pipeline.runs.tracking.writer import CaptionedImage, Parent, Start, reason, write_run

_INIT_TIMEOUT_S = 10


class WandbWriter:
    """Writes to W&B's service, a process that `wandb` starts."""

    def __init__(self, start: Start, parent: Parent) -> None:
        self._start, self._parent = start, parent
        self._run = _open(start, parent)
        self._first_step = self._run.step  # online, a run that goes on has what came before
        self._artifact: wandb.Artifact | None = None

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Add a line to the run's history, unless it is there."""
        if step >= self._first_step:
            self._run.log(metrics, step=step)

    def samples(self, pictures: list[CaptionedImage], step: int) -> None:
        """Add the pictures to the history, at its end."""
        images = [wandb.Image(Image.open(io.BytesIO(one.png)), caption=one.caption) for one in pictures]
        self._run.log({"val/samples": images}, step=max(self._run.step, step))

    def model(self, path: Path, name: str, about: dict[str, Any]) -> None:
        """Add the file as an artifact, without a further copy on this disk."""
        artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", name), type="model", metadata=about)
        artifact.add_file(str(path), policy="immutable", skip_cache=True)
        self._artifact = self._run.log_artifact(artifact)

    def close(self, exit_code: int) -> list[str]:
        """Finish; return the warnings and errors that W&B has printed: of what it fails to send it says no more."""
        self._run.finish(exit_code)
        if exit_code == 0 and self._artifact is not None and not self._run.offline:
            self._artifact.wait(timeout=5)  # long done: this is how to learn of a refusal
        return re.findall(r"(?:WARNING|ERROR)\S*\s+(.*)", self._parent.printed(Path(self._start.folder)))

    def send_later(self) -> str:
        """`wandb sync`; empty for an offline run, which told it at its start."""
        return "" if self._run.offline else _sync(self._run.sync_dir, "--include-online")


def _open(start: Start, parent: Parent) -> wandb.Run:
    """Open the run online if there is a key and a server that answers, else offline; tell where it is."""
    folder, wanted, tell, why = Path(start.folder), start.options["mode"], parent.info, ""
    before = set(folder.iterdir())
    try:
        if wanted != "offline" and wandb.login(prompt=False, verify=False):
            opened = _init(start, parent, "online")
            parent.info(str(opened.url))
            return opened
    except Exception as error:
        tell, why = parent.warning, f", {wandb.setup().settings.base_url} cannot be used ({reason(error)})"
        with contextlib.suppress(SystemExit):
            wandb.teardown()  # else the run's id counts as in use
        for leftover in set(folder.glob("run-*")) - before:
            shutil.rmtree(leftover)
    else:
        if wanted != "offline":
            tell = parent.warning if wanted == "online" else parent.info
            why = ", no key (WANDB_API_KEY or `wandb login`)"
    opened = _init(start, parent, "offline")
    tell(f"offline{why}; to send it later: {_sync(start.folder)}")
    return opened


def _init(start: Start, parent: Parent, mode: Literal["online", "offline"]) -> wandb.Run:
    settings = wandb.Settings(
        init_timeout=_INIT_TIMEOUT_S, finish_timeout=start.send_s, finish_timeout_raises=True,
        console="off", symlink=False, stop_fn=parent.stop,
        # The receipt says what machine, code and packages a run had; nothing of them leaves the machine unasked.
        disable_git=True, disable_code=True, save_code=False, x_save_requirements=False, label_disable=True,
        x_disable_machine_info=True, x_disable_stats=True,
    )  # fmt: skip
    sweep = bool(os.environ.get("WANDB_SWEEP_ID"))  # the sweep's agent says which run this is, and where
    return wandb.init(
        project=None if sweep else start.options["project"], entity=None if sweep else start.options["entity"],
        id=None if sweep else start.run_id, name=start.options["run_name"] or start.name,
        tags=start.options["tags"] or None, config=start.config,
        resume="allow", mode=mode, dir=str(Path(start.folder).parent), settings=settings,
    )  # fmt: skip


def _sync(path: str, *options: str) -> str:
    """The command that sends what is kept in `path`, as it can be typed here."""
    beside, here = Path(sys.executable).with_name("wandb"), Path.cwd()
    command = Path("wandb") if shutil.which("wandb") or not beside.exists() else beside
    short = [str(one.relative_to(here)) if one.is_relative_to(here) else str(one) for one in (command, Path(path))]
    return shlex.join([short[0], "sync", *options, short[1]])


if __name__ == "__main__":
    sys.exit(write_run(WandbWriter))
