"""Does all that is promised hold on this machine's GPU? `make gpu_check`; without a GPU its small form, on the CPU.

In: nothing but the package, and CIFAR-10 if `make process_data ARGS=data=cifar10` has been run. Out: a line a check and
reports/gpu_check.json, without a GPU gpu_check_on_cpu.json; exit status 1 if something does not hold. Trainings are the
commands that people use, each in a process of its own. After eight minutes no further check is begun.
"""

import importlib.util
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import TrainingError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.proof.gpu_rates import (
    Facts,
    Place,
    compiled,
    decoding,
    epoch_on_device,
    layouts,
    loop,
    precision_rates,
)
from drift_detector_pipeline.runs.facts import now, package_versions, processor
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import FINAL, Receipt, read_receipt

REPORT, SMALL_REPORT = Path("reports/gpu_check.json"), Path("reports/gpu_check_on_cpu.json")
SECONDS = 480  # after which nothing more is begun
TRAIN = ("-m", "drift_detector_pipeline.modeling.train")
BATCH = 64  # images that an exported graph is asked about


class Check(NamedTuple):
    """What is asked of the machine."""

    name: str
    ask: Callable[[Place], tuple[bool | None, Facts]]
    """Whether it holds, None: a figure or a thing that cannot be tried here; and what was found."""


@exit_status
def main() -> int:
    """Ask everything, write the report."""
    started = time.monotonic()
    set_up_logging()
    run = load(sys.argv[1:]).settings.run
    with tempfile.TemporaryDirectory() as folder, prepared(run) as machine:
        place = Place(Path(folder), machine)
        process(load(place.digits()).settings.data)
        rows = [_row(check, place, started) for check in CHECKS]
        about = {
            "when": now(), "command": "make gpu_check", "processor": processor(), "device": _device(machine),
            "instruction_set": instruction_set(machine.device), "precision": machine.precision,
            "threads": machine.threads, "packages": package_versions(), "seconds": round(time.monotonic() - started, 1),
        }  # fmt: skip
    report = REPORT if place.on_gpu else SMALL_REPORT
    report.parent.mkdir(exist_ok=True)
    write_json(report, about | {"checks": rows})
    log.info("written: %s", report)
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


def _trained(place: Place, name: str, *words: str, processes: int | None = None) -> Receipt:
    """A training of digits in a process of its own, or by torchrun in some."""
    folder = place.folder / name
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    _run([*torchrun, *TRAIN, *place.digits(), *words, f"hydra.run.dir={folder}"])
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
    command = [sys.executable, *TRAIN, *place.digits(), f"hydra.run.dir={folder}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None and len(list(folder.glob("checkpoints/*"))) < 2:
            time.sleep(0.02)
        job.send_signal(signal.SIGKILL)
    killed = not (folder / "run.json").exists()
    _run([*TRAIN, *place.digits(), f"run.resume={folder}"])
    whole = read_receipt(place.folder / "bits2").weights_sha256
    return killed and read_receipt(folder).weights_sha256 == whole, {"killed_before_its_end": killed}


def precisions(place: Place) -> tuple[bool, Facts]:
    """fp32 learns as the machine's own precision does."""
    exact = _trained(place, "fp32", "run.precision=fp32")
    own = read_receipt(place.folder / "bits2")
    good = min(exact.score, own.score) > 0.9  # three epochs of digits come to 97 %
    return good, {"accuracy_fp32": exact.score, f"accuracy_{own.precision}": own.score}


def processes(place: Place) -> tuple[bool, Facts]:
    """Several processes share a training, as many as there are GPUs; two on a CPU."""
    count = torch.cuda.device_count() if place.on_gpu else 2
    found = [_trained(place, f"shared{number}", processes=count) for number in (1, 2)]
    if count == 1:  # torchrun with one process changes nothing
        found.append(read_receipt(place.folder / "bits2"))
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
        ("same bits", same_bits), ("resumed to the same bits", resumed), ("precision", precisions),
        ("several processes", processes), ("export", exported), ("loop / bare step", loop), ("decoding", decoding),
        ("speed by precision", precision_rates), ("memory layout", layouts), ("torch.compile", compiled),
        ("epoch on the device", epoch_on_device), ("CIFAR-10", cifar10),
    )
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
