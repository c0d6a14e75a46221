"""How much each kind and severity changes images, how fast it is, and what it costs a model's accuracy.

In: uint8 images, their labels and, if wanted, a trained model. Out: plain numbers and a table in words. Read by
corruption_sheet.py.
"""

import time
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.corruptions.corrupt import KINDS, SEVERITIES, corrupt
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.modeling.inference import predict_outputs
from drift_detector_pipeline.modeling.loaders import batch_of
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.proof.ssim import ssim
from drift_detector_pipeline.runs.machine import Machine

COMPARED, JUDGED = 100, 500  # images for SSIM and speed; images for accuracy (a standard error of 2 points or less)
SMALL_PX, NOTABLE = 32, 0.1  # larger images are also compared at 32 px; larger differences in SSIM are named
SMALL = f"ssim_at_{SMALL_PX}px"


class Chosen(NamedTuple):
    """Images to corrupt."""

    images: Pixels  # (N, S, S, 3) inference crops
    labels: Labels
    keys: list[int]  # their places in the processed data


def measure_corruptions(chosen: Chosen, trained: Trained | None, machine: Machine) -> dict[str, object]:
    """Median SSIM per kind and severity, images per second, and with a model its accuracy; as JSON."""
    compared = _part(chosen, 0, COMPARED)
    small = np.stack([inference_crop(image, SMALL_PX) for image in compared.images])
    corrupt(compared.images[:1].repeat(20, 0), "frost", 1, keys=range(20))  # its textures are drawn once
    kinds: dict[str, dict[str, Any]] = {}
    with progress_bar(total=len(KINDS), title="corrupt", unit=" kinds") as bar:
        for kind in KINDS:
            seconds, similar = _compared(compared, kind)
            kinds[kind] = {
                "ssim": similar,
                "ssim_falls": all(later < earlier for earlier, later in pairwise(similar)),
                "images_per_second": round(len(SEVERITIES) * len(compared.images) / seconds, 1),
            }
            if compared.images.shape[1] > SMALL_PX:
                kinds[kind][SMALL] = _compared(compared._replace(images=small), kind)[1]
            if trained:
                kinds[kind]["accuracy"] = [_accuracy(chosen, kind, level, trained, machine) for level in SEVERITIES]
            bar.update()
    rates = [row["images_per_second"] for row in kinds.values()]
    return {
        "kinds": kinds,
        "images_per_second": round(len(rates) / sum(1 / rate for rate in rates), 1),  # images over total time
        "images_compared": len(compared.images),
        "differs_from_32px": _notable(kinds),
    } | (_judged(chosen, trained, machine) if trained else {})


def as_text(found: dict[str, Any]) -> str:
    """The measurements as a table to read: a kind a line."""
    lines = [f"median SSIM at {found['side_px']} px by severity, {found['images_compared']} images"]
    if "clean_accuracy" in found:
        clean = 100 * found["clean_accuracy"]
        lines[0] += f"; accuracy in % on {found['images_judged']} images, clean {clean:.1f}"
    for kind, row in found["kinds"].items():
        cells = "  ".join(f"{value:.3f}" for value in row["ssim"])
        accuracies = "  ".join(f"{100 * value:5.1f}" for value in row.get("accuracy", []))
        note = "" if row["ssim_falls"] else "  SSIM does not fall"
        lines.append(f"{kind:<15} {cells}  {row['images_per_second']:8,.0f} images/s  {accuracies}{note}")
    lines.append(f"all 75 cells: {found['images_per_second']:,.0f} images/s on one thread")
    differing = "; ".join(f"{kind} {' '.join(map(str, levels))}" for kind, levels in found["differs_from_32px"].items())
    if found["side_px"] > SMALL_PX:
        lines.append(
            f"SSIM differs by more than {NOTABLE} on the same images at {SMALL_PX} px: {differing or 'nowhere'}"
        )
    return "\n".join(lines)


def _compared(chosen: Chosen, kind: str) -> tuple[float, list[float]]:
    """Processor seconds of one thread for all severities, and the median SSIM of each."""
    seconds, similar = 0.0, list[float]()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for severity in SEVERITIES:
        started = time.process_time()
        changed = corrupt(chosen.images, kind, severity, keys=chosen.keys)
        seconds += time.process_time() - started
        similar.append(round(float(np.median(ssim(chosen.images, changed))), 4))
    torch.set_num_threads(threads)
    return seconds, similar


def _part(chosen: Chosen, start: int, stop: int) -> Chosen:
    return Chosen(chosen.images[start:stop], chosen.labels[start:stop], chosen.keys[start:stop])


def _accuracy(chosen: Chosen, kind: str | None, severity: int, trained: Trained, machine: Machine) -> float:
    """The share of right answers on corrupted images, or on clean ones."""
    right = 0
    for start in range(0, len(chosen.images), trained.task.batch):
        part = _part(chosen, start, start + trained.task.batch)
        images = corrupt(part.images, kind, severity, keys=part.keys) if kind else part.images
        logits = predict_outputs(trained.network.module, batch_of(list(images)), trained.network, machine, trained.task)
        right += int((np.asarray(logits).argmax(1) == part.labels).sum())
    return round(right / len(chosen.images), 4)


def _judged(chosen: Chosen, trained: Trained, machine: Machine) -> dict[str, Any]:
    return {
        "clean_accuracy": _accuracy(chosen, None, 0, trained, machine),
        "images_judged": len(chosen.images),
        "precision": machine.precision,
        "weights_sha256": trained.sha256,
    }


def _notable(kinds: dict[str, dict[str, Any]]) -> dict[str, list[int]]:
    """The severities of each kind whose SSIM at 32 px is another by more than 0.1."""
    notable = {
        kind: [
            severity
            for severity, here, there in zip(SEVERITIES, row["ssim"], row.get(SMALL, row["ssim"]), strict=True)
            if abs(here - there) > NOTABLE
        ]
        for kind, row in kinds.items()
    }
    return {kind: severities for kind, severities in notable.items() if severities}
