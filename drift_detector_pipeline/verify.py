"""Does everything work on this machine? `make verify` walks the road on digits and prints a table.

Each stage is the command a person would give, in a process of its own, below outputs/verify/, which is removed when
all of them work. Beside them: what this machine has (GPU, bf16, W&B key, DVC remote, Docker) and what that means.
"""

import json
import netrc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.corruptions.corrupt import corrupt
from drift_detector_pipeline.drift.decision import EXIT_STATUS
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import roles_of
from drift_detector_pipeline.raw.remote import check_ready, open_repository
from drift_detector_pipeline.runs.machine import instruction_set
from drift_detector_pipeline.runs.receipts import FINAL, OUTPUTS, read_receipt
from drift_detector_pipeline.settings import Data

_FOLDER = OUTPUTS / "verify"
# Images of 16 px and a small network: a drift reference of digits as the quick start has them takes four times as long.
_DATA = ("data=digits", f"data.processed_path={_FOLDER}/digits", "data.stored_side_px=16", "data.img_size=16")
_SMALL = ("model=conv_small", "model.options.channels=[16,16,32]")
_SHORT = (*_DATA, *_SMALL, "training.epochs=2", "run.checkpoint_every=10", "wandb.mode=disabled")
_WINDOW = 48  # images that are judged for drift
_LIMIT_S = 900  # for one stage; all of them take one to three minutes on two idle cores


class Finding(NamedTuple):
    """A row of the table."""

    name: str
    works: bool | None  # None: not on this machine, and nothing depends on it
    says: str
    seconds: float = 0.0


class _StageError(Exception):
    """A stage did not do what it should; the text says what it did."""


@exit_status
def main() -> int:
    """Walk all stages; the exit status is 1 if one of them does not work."""
    if sys.argv[1:]:
        raise ConfigError(f"{' '.join(sys.argv[1:])}: make verify takes no arguments")
    shutil.rmtree(_FOLDER, ignore_errors=True)
    stages = _walk()
    _print("Stages, on handwritten digits", stages)
    _print("This machine", [_gpu(), _precision(), _wandb(), _dvc_remote(), _docker()])
    failed = [stage.name for stage in stages if not stage.works]
    if failed:
        print(f"\n{', '.join(failed)}: does not work here; what it left is in {_FOLDER}/")
        return 1
    shutil.rmtree(_FOLDER)
    print(f"\nAll {len(stages)} stages work here, in {sum(stage.seconds for stage in stages):.0f} s.")
    return 0


def _walk() -> list[Finding]:
    """Try every stage in order; those after a failed one, too, as far as they can."""
    stages: list[tuple[str, Callable[[], str]]] = [
        ("data", _process), ("train", _train), ("resume", _resume), ("evaluate", _evaluate),
        ("predict", _predict), ("drift", _drift), ("profile", _profile),
    ]  # fmt: skip
    findings = []
    with progress_bar(total=len(stages), title="verify", unit=" stages") as bar:
        for name, stage in stages:
            bar.set_postfix_str(name)
            findings.append(_tried(name, stage))
            bar.update()
    return findings


def _tried(name: str, stage: Callable[[], str]) -> Finding:
    started = time.monotonic()
    try:
        says, works = stage(), True
    except _StageError as error:
        says, works = str(error), False
    return Finding(name, works, says, time.monotonic() - started)


def _process() -> str:
    _command("dataset", *_DATA)
    manifest = open_processed(_settings()).manifest
    return f"{manifest.images:,} images, fingerprint {manifest.fingerprint[:12]}"


def _train() -> str:
    _command("modeling.train", *_SHORT, f"hydra.run.dir={_FOLDER}/run")
    return f"{100 * _accuracy('run'):.1f} % after two epochs, weights {_weights('run')[:12]}"


def _resume() -> str:
    """Stop a second run after its first epoch, continue it, and compare its weights with those of the first."""
    folder = _FOLDER / "stopped"
    words = [*_SHORT, f"hydra.run.dir={folder}"]
    running = subprocess.Popen(_words("modeling.train", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    _wait_for_epoch(running, folder / "metrics.jsonl")
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=_LIMIT_S)
    if running.returncode != 128 + signal.SIGTERM:
        raise _StageError(f"SIGTERM ended training with exit status {running.returncode}, not {128 + signal.SIGTERM}")
    _command("modeling.train", *words, f"run.resume={folder}")
    if _weights("stopped") != _weights("run"):
        raise _StageError(
            f"stopped and continued: weights {_weights('stopped')[:12]}, undisturbed {_weights('run')[:12]}"
        )
    return "stopped by SIGTERM, continued: the same weights"


def _evaluate() -> str:
    _command("modeling.evaluate", str(_FOLDER / "run"))
    metrics = json.loads((_FOLDER / "run" / "evaluation" / "val" / "metrics.json").read_text(encoding="utf-8"))
    if not metrics["training"]["equal"]:
        raise _StageError(f"accuracy {metrics['accuracy']}, in training {metrics['training']['accuracy']}")
    return "the same accuracy as in training, and a report"


def _predict() -> str:
    """Label three images and a file that is none."""
    images, folder = open_processed(_settings()).images, _FOLDER / "images"
    folder.mkdir()
    for index in images.indices("val")[:3]:
        Image.fromarray(np.asarray(images[int(index)])).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"no image")
    lines = _command("modeling.predict", str(_FOLDER / "run"), str(folder)).splitlines()
    if len([line for line in lines if line.startswith("{")]) != 3:
        raise _StageError(f"expected 3 predictions, got: {' '.join(lines)[:200]}")
    return "3 images labelled, a broken file named"


def _drift() -> str:
    """Judge images of the pool, as they are and in noise."""
    run = str(_FOLDER / "run")
    _command("drift.build_reference", run)
    processed = open_processed(_settings())
    chosen = roles_of(processed).pool[:_WINDOW].tolist()
    clean = np.stack([processed.images[index] for index in chosen])
    levels = list[str]()
    for name, images in (("clean", clean), ("noisy", corrupt(clean, "gaussian_noise", 5, keys=chosen))):
        folder = _FOLDER / name
        folder.mkdir()
        for index, image in zip(chosen, images, strict=True):
            Image.fromarray(image).save(folder / f"{index}.png")
        levels.append(_command("drift", run, str(folder), allowed=EXIT_STATUS.values()).partition(":")[0])
    if levels[1] == "quiet":
        raise _StageError(f"{_WINDOW} new images in noise: quiet")
    return f"{_WINDOW} new images: {levels[0]}; the same in noise: {levels[1]}"


def _profile() -> str:
    output = _command("modeling.profile", *_DATA, *_SMALL, "wandb.mode=disabled", f"hydra.run.dir={_FOLDER}/profile")
    sentence = next((line.strip() for line in output.splitlines() if line.strip().startswith("Bottleneck")), "")
    return sentence.removeprefix("Bottleneck:").strip()[:70] or "where the time goes, by phase and operator"


def _gpu() -> Finding:
    if torch.cuda.is_available():
        return Finding("GPU", True, torch.cuda.get_device_name())
    return Finding("GPU", None, "none that PyTorch sees: training runs on the CPU")


def _precision() -> Finding:
    units = instruction_set(torch.device("cpu"))
    if "bf16" in units or "amx" in units:
        return Finding("bf16 units", True, units)
    return Finding("bf16 units", None, f"{units}: training runs in fp32, about half as fast")


def _wandb() -> Finding:
    if os.environ.get("WANDB_API_KEY", "").strip(" '\"") or _in_netrc("api.wandb.ai"):
        return Finding("W&B key", True, "runs are sent as they train")
    return Finding("W&B key", None, "none: runs are kept offline (WANDB_API_KEY in .env, or wandb login)")


def _dvc_remote() -> Finding:
    try:
        repository = open_repository(Path())
        check_ready(repository, repository.default_remote)
    except DataError as error:
        return Finding("DVC remote", None, str(error).split(";")[0])
    return Finding("DVC remote", True, repository.default_remote)


def _docker() -> Finding:
    client = os.environ.get("DOCKER", "docker")
    try:
        asked = subprocess.run(
            [client, "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding("Docker", None, f"no {client} that answers: everything runs on the host")
    if asked.returncode:
        return Finding("Docker", None, "a client, but no engine answers: start it for make docker_train")
    return Finding("Docker", True, f"engine {asked.stdout.strip()}")


def _in_netrc(host: str) -> bool:
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _command(module: str, *words: str, allowed: Collection[int] = (0,)) -> str:
    """Run a command of the package; return what it printed."""
    try:
        done = subprocess.run(
            _words(module, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise _StageError(f"took longer than {_LIMIT_S} s") from error
    if done.returncode not in allowed:
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        raise _StageError(f"exit status {done.returncode}: {last}")
    return done.stdout


def _words(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"drift_detector_pipeline.{module}", *words]


def _wait_for_epoch(running: "subprocess.Popen[bytes]", metrics: Path) -> None:
    started = time.monotonic()
    while not (metrics.exists() and metrics.stat().st_size):
        if running.poll() is not None or time.monotonic() - started > _LIMIT_S:
            running.kill()
            raise _StageError("training ended before its first epoch was finished")
        time.sleep(0.02)


def _settings() -> Data:
    return load(_DATA).settings.data


def _weights(run: str) -> str:
    return read_receipt(_FOLDER / run).weights_sha256[FINAL]


def _accuracy(run: str) -> float:
    return read_receipt(_FOLDER / run).score


def _print(title: str, findings: list[Finding]) -> None:
    print(f"\n{title}")
    for finding in findings:
        sign = {True: "yes", False: "NO", None: "-"}[finding.works]
        seconds = f"{finding.seconds:5.1f} s" if finding.seconds else ""
        print(f"  {finding.name:<12}{sign:<5}{seconds:<9}{finding.says}")


if __name__ == "__main__":
    sys.exit(main())
