"""Does all that is promised hold on this machine's GPU? `make gpu_check`; without a GPU its small form, on the CPU.

In: nothing but the package, and CIFAR-10 if `make process_data ARGS=data=cifar10` has been run. Out: a line a check and
reports/gpu_check.json; exit status 1 if something does not hold. Trainings are the commands that people use, each in a
process of its own. After eight minutes no further check is begun.
"""

import importlib.util
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import TrainingError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.proof.rates import (
    BATCH,
    SOURCE_PX,
    STEPS,
    WARM_UP,
    alternate,
    bare_rate,
    draw_images,
    loop_rate,
)
from drift_detector_pipeline.runs.facts import now, package_versions, processor
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import FINAL, Receipt, read_receipt

REPORT = Path("reports/gpu_check.json")
SECONDS = 480  # after which nothing more is begun
LEAST_RATIO = 0.95  # of the whole loop to its bare step
TRAIN = ("-m", "drift_detector_pipeline.modeling.train")
DIGITS = ("+experiment=quickstart", "training.epochs=3", "run.checkpoint_every=5")
IMAGENETTE = 9469  # training images, of which an epoch is spoken
Facts = dict[str, Any]


class Check(NamedTuple):
    """What is asked of the machine."""

    name: str
    ask: Callable[["Place"], tuple[bool | None, Facts]]
    """Whether it holds, None: a figure or a thing that cannot be tried here; and what was found."""


class Place(NamedTuple):
    """Where and on what checks are made."""

    folder: Path
    machine: Machine

    @property
    def on_gpu(self) -> bool:
        """Whether this is the check itself, or its small form."""
        return self.machine.device.type == "cuda"

    def drawn(self) -> list[str]:
        """Overrides for a training on drawn photographs, 128 px."""
        raw = self.folder / "raw"
        return [
            "data=folder", f"data.raw_path={raw}", f"data.processed_path={self.folder}/data", "wandb.mode=disabled",
            f"data.stored_side_px={SOURCE_PX}", "data.fit_fraction=0", "data.val_fraction=0.01", "data.img_size=128",
            f"training.batch_size={BATCH}", "training.epochs=1",
        ]  # fmt: skip


@exit_status
def main() -> int:
    """Ask everything, write the report."""
    started = time.monotonic()
    set_up_logging()
    run = load(sys.argv[1:]).settings.run
    with tempfile.TemporaryDirectory() as folder, prepared(run) as machine:
        place = Place(Path(folder), machine)
        rows = [_row(check, place, started) for check in CHECKS]
        about = {
            "when": now(), "command": "make gpu_check", "processor": processor(), "device": _device(machine),
            "instruction_set": instruction_set(machine.device), "precision": machine.precision,
            "threads": machine.threads, "packages": package_versions(), "seconds": round(time.monotonic() - started, 1),
        }  # fmt: skip
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, about | {"checks": rows})
    log.info("written: %s", REPORT)
    return int(any(row["holds"] is False for row in rows))


def _row(check: Check, place: Place, started: float) -> Facts:
    """Make a check; one that cannot be made does not hold, and the others are made all the same."""
    began = time.monotonic()
    if began - started > SECONDS:
        holds, found = None, {"not tried": f"{SECONDS} s had passed"}
    else:
        try:
            holds, found = check.ask(place)
        except Exception as error:  # whatever a driver or a compiler may raise: the next check may still hold
            holds, found = False, {"error": f"{type(error).__name__}: {error}"[:500]}
    log.info("%-9s %-24s %s", {True: "holds", False: "DOES NOT", None: "-"}[holds], check.name, found)
    return {"check": check.name, "holds": holds, "seconds": round(time.monotonic() - began, 1), **found}


def _device(machine: Machine) -> str:
    return torch.cuda.get_device_name() if machine.device.type == "cuda" else "cpu"


def _trained(place: Place, name: str, *words: str, processes: int = 1) -> Receipt:
    """A training of digits in a process of its own, or in several."""
    folder = place.folder / name
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] * (processes > 1)
    _run([*torchrun, *TRAIN, *DIGITS, *words, f"hydra.run.dir={folder}"])
    return read_receipt(folder)


def _run(words: Sequence[str]) -> None:
    """Run Python with these words. Raises TrainingError with the last line it printed if it fails."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise TrainingError(f"{' '.join(words[:2])}: status {done.returncode}: {last}")


def same_bits(place: Place) -> tuple[bool, Facts]:
    """Two trainings, and one with another number of loader workers."""
    found = [_trained(place, f"bits{number}", f"data.dataloader_workers={number}") for number in (2, 0)]
    found.append(_trained(place, "bits_again", "data.dataloader_workers=2"))
    hashes = [one.weights_sha256[FINAL] for one in found]
    return len(set(hashes)) == 1, {"weights_sha256": hashes[0], "accuracy": found[0].score}


def resumed(place: Place) -> tuple[bool, Facts]:
    """A training that is killed after its first checkpoints, and continued."""
    folder = place.folder / "killed"
    command = [sys.executable, *TRAIN, *DIGITS, f"hydra.run.dir={folder}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None and len(list(folder.glob("checkpoints/*"))) < 2:
            time.sleep(0.02)
        job.send_signal(signal.SIGKILL)
    killed = not (folder / "run.json").exists()
    _run([*TRAIN, *DIGITS, f"run.resume={folder}"])
    whole = read_receipt(place.folder / "bits2").weights_sha256
    return killed and read_receipt(folder).weights_sha256 == whole, {"killed_before_its_end": killed}


def precisions(place: Place) -> tuple[bool, Facts]:
    """fp32 learns as the machine's own precision does; what a step costs in each."""
    exact = _trained(place, "fp32", "run.precision=fp32")
    own = read_receipt(place.folder / "bits2")
    composed, plain = load(place.drawn()), place.machine._replace(precision="fp32")
    rates = {"own": bare_rate(composed, place.machine), "fp32": bare_rate(composed, plain)}
    good = min(exact.score, own.score) > 0.9  # three epochs of digits come to 97 %
    return good, {"accuracy_fp32": exact.score, f"accuracy_{own.precision}": own.score, **_said_of(rates)}


def _said_of(rates: dict[str, float]) -> Facts:
    return {"images_per_second": {name: round(rate, 1) for name, rate in rates.items()}}


def layouts(place: Place) -> tuple[None, Facts]:
    """What a step costs with channels last, and not."""
    kinds = {"channels_last": torch.channels_last, "nchw": torch.contiguous_format}
    composed = load(place.drawn())
    rates = {name: bare_rate(composed, place.machine, layout) for name, layout in kinds.items()}
    return None, _said_of(rates)


def compiled(place: Place) -> tuple[None, Facts]:
    """What torch.compile gains."""
    if not place.on_gpu:
        return None, {"not tried": "on a CPU the first step takes minutes and gains nothing (CHANGELOG.md)"}
    composed = load(place.drawn())
    rates = {"eager": bare_rate(composed, place.machine), "compiled": bare_rate(composed, place.machine, compiled=True)}
    return None, _said_of(rates)


def loop(place: Place) -> tuple[bool | None, Facts]:
    """The whole loop beside its bare step, photographs of 128 px; too noisy to be judged on a shared CPU."""
    draw_images(place.folder / "raw", BATCH * (STEPS + WARM_UP))
    words = place.drawn()
    composed = load(words)
    process(composed.settings.data)
    found = alternate(
        lambda: loop_rate(words, place.folder),
        lambda: bare_rate(composed, place.machine),
        pairs=5 if place.on_gpu else 1,
    )
    return (found["median_ratio"] >= LEAST_RATIO if place.on_gpu else None), found


def epoch_on_device(place: Place) -> tuple[None, Facts]:
    """How long an epoch of Imagenette's size takes if all of it lies on the device already."""
    if not place.on_gpu:
        return None, {"not tried": "no GPU"}
    torch.cuda.reset_peak_memory_stats()
    rate = bare_rate(load(place.drawn()), place.machine)
    peak = torch.cuda.max_memory_allocated() / 2**20
    return None, {"seconds_an_epoch": round(IMAGENETTE / rate, 2), "peak_memory_mib": round(peak)}


def processes(place: Place) -> tuple[bool, Facts]:
    """Several processes share a training, as many as there are GPUs; two on a CPU."""
    count = torch.cuda.device_count() if place.on_gpu else 2
    if count == 1:
        return _trained(place, "alone").processes == 1, {"processes": 1, "note": "one GPU: nothing to share with"}
    found = [_trained(place, f"shared{number}", processes=count) for number in (1, 2)]
    hashes = {one.weights_sha256[FINAL] for one in found}
    return len(hashes) == 1 and found[0].processes == count, {"processes": count, "accuracy": found[0].score}


def exported(place: Place) -> tuple[bool | None, Facts]:
    """The exported graph says on the GPU what it says on the CPU."""
    artefact = place.folder / "artefact"
    _run(["-m", "drift_detector_pipeline.release.export", str(place.folder / "bits2"), f"export.path={artefact}"])
    provider = "CUDAExecutionProvider"
    tensorrt = "there" if importlib.util.find_spec("tensorrt") else "missing: the package tensorrt"
    import onnxruntime  # no part of the training image

    if provider not in onnxruntime.get_available_providers():
        return None, {"exported": True, "not tried": "onnxruntime-gpu is not installed", "tensorrt": tensorrt}
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8)
    said = [_said(artefact / "model.onnx", name, images) for name in ("CPUExecutionProvider", provider)]
    worst = float(np.abs(said[0] - said[1]).max())
    return worst < 0.01, {"largest_difference": worst, "tensorrt": tensorrt}


def _said(graph: Path, provider: str, images: Pixels) -> Float32s:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=[provider])
    if session.get_providers()[0] != provider:
        raise TrainingError(f"{provider}: onnxruntime fell back to {session.get_providers()[0]}")
    return np.asarray(session.run(["probabilities"], {session.get_inputs()[0].name: images})[0], np.float32)


def cifar10(place: Place) -> tuple[None, Facts]:
    """The fast recipe of CIFAR-10, if its images are there."""
    if not place.on_gpu or not Path("data/processed/cifar10/manifest.json").exists():
        return None, {"not tried": "needs a GPU and make process_data ARGS=data=cifar10"}
    began = time.monotonic()
    _run([*TRAIN, "+experiment=cifar10_fast", "wandb.mode=disabled", f"hydra.run.dir={place.folder}/cifar10"])
    receipt = read_receipt(place.folder / "cifar10")
    return None, {"accuracy": receipt.score, "seconds_to_train": round(time.monotonic() - began, 1)}


CHECKS = tuple(
    Check(name, ask)
    for name, ask in (
        ("same bits", same_bits), ("resumed to the same bits", resumed), ("loop / bare step", loop),
        ("precision", precisions), ("memory layout", layouts), ("torch.compile", compiled),
        ("epoch on the device", epoch_on_device), ("several processes", processes), ("export", exported),
        ("CIFAR-10", cifar10),
    )
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
