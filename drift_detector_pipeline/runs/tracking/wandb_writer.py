"""The program that talks to W&B for a run: lines of JSON from stdin go there; lines of JSON for people go to stdout.

Started, fed and heard by wandb_tracking.py, in a process of its own, so that whatever happens in here or in W&B's own
service (a hang, a crash, a server that is gone) cannot reach the training. It outlives a killed training only to hand
over what it has. All that W&B keeps lies in `<run>/wandb/`, the folder it is started with.
"""

import base64
import contextlib
import io
import json
import logging
import os
import re
import select
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import wandb
from PIL import Image

from drift_detector_pipeline.files import exclusive

_INIT_TIMEOUT_S = 10
_ALIVE_EVERY_S = 1
_END_SLACK_S = 15  # beyond the time for sending: W&B's own requests at the end

Message = dict[str, Any]


class ParentGoneError(Exception):
    """The training has ended without saying how."""


class Parent:
    """The training process: what it says, and what it is told."""

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._told = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what W&B prints is not for the training

    def messages(self) -> Iterator[Message]:
        """Yield what the training says; ParentGoneError if it dies.

        Asks whether it lives instead of waiting for the pipe's end: loader workers hold the other end, too.
        """
        buffer = b""
        while True:
            alive = os.getppid() == self._pid  # asked first: what a dead training said last is in the pipe by now
            if not select.select([0], [], [], _ALIVE_EVERY_S if alive else 0)[0]:
                if alive:
                    continue
                break
            part = os.read(0, 1 << 16)
            if not part:
                break
            *lines, buffer = (buffer + part).split(b"\n")
            yield from map(json.loads, lines)
        raise ParentGoneError("the training has ended")

    def tell(self, message: Message) -> None:
        """Send a message, if somebody still listens."""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(message), file=self._told, flush=True)

    def info(self, text: str) -> None:
        """Tell what a person wants to know."""
        self.tell({"level": logging.INFO, "text": f"W&B: {text}"})

    def warning(self, text: str) -> None:
        """Tell what a person should know."""
        self.tell({"level": logging.WARNING, "text": f"W&B: {text}"})


def main() -> int:
    """Track one run: settings in the first line, then metrics, samples and the model, then how it ended."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the training, which then tells when it is over
    parent = Parent()
    messages = parent.messages()
    try:
        start = next(messages) | {"messages_from": os.fstat(2).st_size}
        with exclusive(Path(start["folder"]) / ".lock"):  # the writer of a killed run's first part may still be at it
            _track(start, messages, parent)
    except Exception as error:
        parent.warning(f"stopped ({_reason(error)}); metrics.jsonl and tensorboard/ have everything")
    return 0


def _track(start: Message, messages: Iterator[Message], parent: Parent) -> None:
    run = _open(start, parent)
    problems: list[str] = []
    exit_code, artifact = 1, None
    with contextlib.suppress(ParentGoneError):
        exit_code, artifact = _pass_on(messages, run, problems)
    signal.alarm(round(start["send_s"]) + _END_SLACK_S)  # ends this process, whatever it then waits for
    with _noted(problems):
        run.finish(exit_code)
    if artifact is not None and not run.offline and not problems:
        with _noted(problems):
            artifact.wait(timeout=5)  # long done: this is how to learn of a refusal
    problems += _written_by_wandb(start)
    if problems:
        remedy = "" if run.offline else f"; to send it later: {_sync(run.sync_dir, '--include-online')}"
        parent.warning(f"not everything arrived ({problems[0]}){remedy}")


def _open(start: Message, parent: Parent) -> wandb.Run:
    """Open the run online if there is a key and a server that answers, else offline; tell where it is."""
    folder, tell, why = Path(start["folder"]), parent.info, ""
    before = set(folder.iterdir())
    try:
        if start["mode"] != "offline" and wandb.login(prompt=False, verify=False):
            run = _init(start, parent, "online")
            parent.info(str(run.url))
            return run
    except Exception as error:
        tell, why = parent.warning, f", {wandb.setup().settings.base_url} cannot be used ({_reason(error)})"
        with contextlib.suppress(SystemExit):
            wandb.teardown()  # else the run's id counts as in use
        for leftover in set(folder.glob("run-*")) - before:
            shutil.rmtree(leftover)
    else:
        if start["mode"] != "offline":
            tell = parent.warning if start["mode"] == "online" else parent.info
            why = ", no key (WANDB_API_KEY or `wandb login`)"
    run = _init(start, parent, "offline")
    tell(f"offline{why}; to send it later: {_sync(start['folder'])}")
    return run


def _init(start: Message, parent: Parent, mode: Literal["online", "offline"]) -> wandb.Run:
    settings = wandb.Settings(
        init_timeout=_INIT_TIMEOUT_S, finish_timeout=start["send_s"], finish_timeout_raises=True,
        console="off", symlink=False, stop_fn=lambda: parent.tell({"stop": True}),
        # The receipt says what machine, code and packages a run had; nothing of them leaves the machine unasked.
        disable_git=True, disable_code=True, save_code=False, x_save_requirements=False, label_disable=True,
        x_disable_machine_info=True, x_disable_stats=True,
    )  # fmt: skip
    sweep = bool(os.environ.get("WANDB_SWEEP_ID"))  # the sweep's agent says which run this is, and where
    return wandb.init(
        project=None if sweep else start["project"], entity=None if sweep else start["entity"],
        id=None if sweep else start["id"], name=start["name"], config=start["config"],
        resume="allow", mode=mode, dir=str(Path(start["folder"]).parent), settings=settings,
    )  # fmt: skip


def _pass_on(messages: Iterator[Message], run: wandb.Run, problems: list[str]) -> tuple[int, wandb.Artifact | None]:
    """Hand messages on until one says how the training ended; return its exit status, and the model if there is one."""
    first_step, artifact = run.step, None  # online, a run that goes on has what came before, the same to the last bit
    for message in messages:
        if "metrics" in message and message["step"] >= first_step:
            run.log(message["metrics"], step=message["step"])
        elif "samples" in message:
            images = [_image(sample) for sample in message["samples"]]
            run.log({"val/samples": images}, step=max(run.step, message["step"]))
        elif "model" in message:
            with _noted(problems):
                artifact = run.log_artifact(_artifact(message))
        elif "exit_code" in message:
            return message["exit_code"], artifact
    raise AssertionError("messages end with an exit code, or an error")


def _artifact(message: Message) -> wandb.Artifact:
    artifact = wandb.Artifact(message["name"], type="model", metadata=message["about"])
    artifact.add_file(message["model"], policy="immutable", skip_cache=True)  # no further copy on this disk
    return artifact


def _image(sample: Message) -> wandb.Image:
    return wandb.Image(Image.open(io.BytesIO(base64.b64decode(sample["png"]))), caption=sample["caption"])


def _written_by_wandb(start: Message) -> list[str]:
    """Warnings and errors that W&B has printed since the start; of what it fails to send it tells in no other way."""
    with (Path(start["folder"]) / "messages.log").open("rb") as file:
        file.seek(start["messages_from"])
        return re.findall(r"(?:WARNING|ERROR)\S*\s+(.*)", file.read().decode(errors="replace"))


def _sync(path: str, *options: str) -> str:
    """The command that sends what is kept in `path`, as it can be typed here."""
    beside, here = Path(sys.executable).with_name("wandb"), Path.cwd()
    command = Path("wandb") if shutil.which("wandb") or not beside.exists() else beside
    short = [str(one.relative_to(here)) if one.is_relative_to(here) else str(one) for one in (command, Path(path))]
    return shlex.join([short[0], "sync", *options, short[1]])


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Turn any error into a line of `problems`: W&B raises what it likes, and the rest is still to be done."""
    try:
        yield
    except Exception as error:
        problems.append(_reason(error))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[-1]}".removesuffix(": ")


if __name__ == "__main__":
    sys.exit(main())
