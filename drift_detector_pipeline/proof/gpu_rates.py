"""How fast a GPU learns here, or in a smaller form a CPU: figures of gpu_check.py, most of them without a judgement.

In: a `Place`. Out: whether an aim is met, None: there is none; and what was measured.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torchvision.io import decode_jpeg

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.images.decode_many import cores, decode_files
from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.modeling.optimization import build_optimizer
from drift_detector_pipeline.networks.models import build
from drift_detector_pipeline.proof.rates import SMALL, Effort, alternate, bare_rate, bare_step, draw_images, loop_rate
from drift_detector_pipeline.runs.machine import Machine

LEAST_RATIO = 0.95  # of the whole loop to its bare step
IMAGENETTE = 9469  # training images, of which an epoch is spoken
LARGE = Effort(batch=128, steps=100, warm_up=40)  # a GPU waits for the CPU to launch the steps of a small batch
WORKERS = 8  # that feed a GPU; what they made ahead of time is used up in the warm-up
SIDE_PX, KEPT_PX = 128, 160  # of what the network sees, and of an image that lies on the device
DEVICE_BATCH = 256
Facts = dict[str, Any]


class Place(NamedTuple):
    """Where and on what checks are made."""

    folder: Path
    machine: Machine

    @property
    def on_gpu(self) -> bool:
        """Whether this is the check itself, or its small form."""
        return self.machine.device.type == "cuda"

    @property
    def effort(self) -> Effort:
        """How much is measured of a training."""
        return LARGE if self.on_gpu else SMALL

    def digits(self) -> list[str]:
        """Overrides for a short training on digits; without `fit`, so that no drift reference is made on export."""
        return [
            "+experiment=quickstart", f"data.processed_path={self.folder}/digits", "data.fit_fraction=0",
            "wandb.mode=disabled", "training.epochs=3", "run.checkpoint_every=5",
        ]  # fmt: skip

    def drawn(self) -> list[str]:
        """Overrides for a training on drawn photographs, 128 px."""
        raw = self.folder / "raw"
        return [
            "data=folder", f"data.raw_path={raw}", f"data.processed_path={self.folder}/data", "wandb.mode=disabled",
            f"data.stored_side_px={KEPT_PX}", "data.fit_fraction=0", "data.val_fraction=0.01",
            f"data.img_size={SIDE_PX}", f"training.batch_size={self.effort.batch}", "training.epochs=1",
            f"data.dataloader_workers={WORKERS if self.on_gpu else 2}",
        ]  # fmt: skip


def loop(place: Place) -> tuple[bool | None, Facts]:
    """The whole loop beside its bare step; on a GPU with ResNet-50, and of ResNet-18 how far the CPU can feed it.

    Too noisy to be judged on a shared CPU.
    """
    draw_images(place.folder / "raw", place.effort.images, KEPT_PX)
    process(load(place.drawn()).settings.data)
    if not place.on_gpu:
        return None, _loop_ratio(place, [], 1)
    found = _loop_ratio(place, ["model.name=resnet50", f"data.img_size={KEPT_PX}"], 3)
    small = _loop_ratio(place, [f"data.dataloader_workers={max(WORKERS, cores() - 1)}"], 2)
    return found["median_ratio"] >= LEAST_RATIO, {"model": "resnet50", **found, "resnet18": small}


def _loop_ratio(place: Place, words: list[str], pairs: int) -> Facts:
    words = [*place.drawn(), *words]
    return alternate(
        lambda: loop_rate(words, place.folder, place.effort),
        lambda: bare_rate(load(words), place.machine, effort=place.effort),
        pairs,
    )


def decoding(place: Place) -> tuple[None, Facts]:
    """Photographs decoded on all cores as `make process_data` does, and by the GPU's own decoder."""
    if not place.on_gpu:
        return None, {"not tried": "no GPU"}
    paths = sorted((place.folder / "raw").rglob("*.jpg"))[:4096]
    began = time.monotonic()
    seen = sum(found.pixels is not None for found in decode_files(paths, KEPT_PX))
    on_cpu = seen / (time.monotonic() - began)
    files = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths]
    decode_jpeg(files[:DEVICE_BATCH], device=place.machine.device)
    torch.cuda.synchronize()
    began = time.monotonic()
    for first in range(0, len(files), DEVICE_BATCH):
        decode_jpeg(files[first : first + DEVICE_BATCH], device=place.machine.device)
    torch.cuda.synchronize()
    rates = {"cpu": on_cpu, "gpu": len(files) / (time.monotonic() - began)}
    return None, {"cores": cores(), **_said_of(rates)}


def precision_rates(place: Place) -> tuple[None, Facts]:
    """What a step costs in the machine's own precision, and in fp32."""
    composed, plain = load(place.drawn()), place.machine._replace(precision="fp32")
    own = bare_rate(composed, place.machine, effort=place.effort)
    return None, _said_of({place.machine.precision: own, "fp32": bare_rate(composed, plain, effort=place.effort)})


def layouts(place: Place) -> tuple[None, Facts]:
    """What a step costs with channels last, and not."""
    kinds = {"channels_last": torch.channels_last, "nchw": torch.contiguous_format}
    composed = load(place.drawn())
    rates = {name: bare_rate(composed, place.machine, layout, effort=place.effort) for name, layout in kinds.items()}
    return None, _said_of(rates)


def compiled(place: Place) -> tuple[None, Facts]:
    """What torch.compile gains."""
    if not place.on_gpu:
        return None, {"not tried": "on a CPU the first step takes minutes and gains nothing (CHANGELOG.md)"}
    composed = load(place.drawn())
    rates = {
        name: bare_rate(composed, place.machine, compiled=name == "compiled", effort=place.effort)
        for name in ("eager", "compiled")
    }
    return None, _said_of(rates)


def epoch_on_device(place: Place) -> tuple[None, Facts]:
    """How long an epoch of Imagenette's size takes if all its images lie on the device: crops, flips, steps."""
    if not place.on_gpu:
        return None, {"not tried": "no GPU"}
    device, settings = place.machine.device, load(place.drawn()).settings
    torch.cuda.reset_peak_memory_stats()
    kept = torch.randint(256, (IMAGENETTE, KEPT_PX, KEPT_PX, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(10, (IMAGENETTE,), device=device)
    network = build(settings.model, 10, SIDE_PX)
    module = network.module.to(device).to(memory_format=place.machine.memory_format).train()
    optimizer = build_optimizer(settings.training, module)
    seconds = list[float]()
    for _ in range(3):
        began = time.perf_counter()
        for some in torch.split(torch.randperm(IMAGENETTE, device=device), DEVICE_BATCH):
            images = normalize(_crops(kept, some).movedim(-1, 1), network.mean, network.std)
            bare_step(module, optimizer, images, labels[some], place.machine)
        seconds.append(round(time.perf_counter() - began, 3))
    peak = torch.cuda.max_memory_allocated() / 2**20
    return None, {"seconds_an_epoch": seconds, "batch": DEVICE_BATCH, "peak_memory_mib": round(peak)}


def _crops(kept: torch.Tensor, some: torch.Tensor) -> torch.Tensor:
    """Crops of some images, each at a place of its own, every second one mirrored: uint8 (B, SIDE_PX, SIDE_PX, 3)."""
    top, left = torch.randint(KEPT_PX - SIDE_PX + 1, (2, len(some), 1), device=kept.device)
    along = torch.arange(SIDE_PX, device=kept.device)
    columns = torch.where(torch.rand(len(some), 1, device=kept.device) < 0.5, along, along.flip(0)) + left
    return kept[some[:, None, None], (along + top)[:, :, None], columns[:, None, :]]


def _said_of(rates: dict[str, float]) -> Facts:
    return {"images_per_second": {name: round(rate, 1) for name, rate in rates.items()}}
