"""Images stored as pixels or as JPEGs: bytes, speed, and what encoding costs in accuracy.

In: `python -m drift_detector_pipeline.proof.storage [OVERRIDES]` [data=imagenette]. Out: reports/storage.json, and a
table on stdout.

Speed is that of making training views, one thread and no worker, in turn and several times: processor milliseconds an
image, and images a second of the clock. Beside ours: torchvision's ImageFolder over the same JPEGs, and webdataset over
the same JPEGs in tar files if it is installed. Both crop, resize and mirror as ours does. Accuracy is that of one small
network on the same images in each form, a few seeds.
"""

import io
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate
from torchvision.datasets import ImageFolder
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, progress_bar
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.decoder import decode_stored
from drift_detector_pipeline.images.stored_jpeg import Jpeg, as_jpeg, pixels_of
from drift_detector_pipeline.modeling.loaders import load_batches
from drift_detector_pipeline.modeling.order import training_requests
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import Processed, open_processed
from drift_detector_pipeline.runs.facts import now, package_versions, processor
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.settings import Data
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION

REPORT = Path("reports/storage.json")
IMAGES, REPEATS, BATCH, SEEDS = 1_024, 5, 64, 5
QUALITIES = (75, 85, 90, 95)
FORMS = {"raw": ("data.stored_as=raw",)} | {
    f"jpeg {quality}": ("data.stored_as=jpeg", f"data.jpeg_quality={quality}") for quality in (75, 90)
}
SMALL = (
    "model=conv_small", "model.options.channels=[32,64,128]", "data.stored_side_px=80", "data.img_size=64",
    "data.dataloader_workers=0", "training.epochs=8", "training.learning_rate=2e-3",
    "run.device=cpu", "run.threads=1", "wandb.mode=disabled",
)  # fmt: skip


@exit_status
def main() -> int:
    """Measure the data set that the overrides name and write the report."""
    torch.set_num_threads(1)
    overrides = sys.argv[1:] or ["data=imagenette"]
    with tempfile.TemporaryDirectory(prefix="storage-") as place:
        packed = {form: _packed(overrides, words, Path(place) / form) for form, words in FORMS.items()}
        found = {
            "bytes_an_image": {form: _bytes_an_image(data) for form, (data, _, _) in packed.items()},
            "packing_ms_an_image": {form: round(seconds, 3) for form, (_, _, seconds) in packed.items()},
            "qualities": qualities(packed["raw"][0]),
            "decoding": decoding(packed["jpeg 90"][0]),
            "training_views": views(packed["raw"], packed["jpeg 90"], Path(place)),
        }
        _write(found)  # the rest takes longer
        found["accuracy"] = accuracy(overrides, Path(place))
    _write(found)
    print(table(found))
    print(REPORT)
    return 0


def _write(found: dict[str, Any]) -> None:
    about = {
        "when": now(), "command": f'make bench_storage ARGS="{" ".join(sys.argv[1:])}"', "processor": processor(),
        "cores": os.cpu_count(), "threads": 1, "images": IMAGES, "repeats": REPEATS, "packages": package_versions(),
    }  # fmt: skip
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, about | found)


def qualities(raw: Processed) -> dict[str, dict[str, float]]:
    """Bytes an image, and the median ratio of signal to noise in dB, of images encoded at each of QUALITIES."""
    rows = dict[str, dict[str, float]]()
    chosen = _chosen(raw)[:200].tolist()
    for quality in QUALITIES:
        jpegs = [as_jpeg(raw.images[place], quality) for place in chosen]
        noise = [
            float(np.mean((pixels_of(jpeg).astype(np.float64) - raw.images[place]) ** 2))
            for place, jpeg in zip(chosen, jpegs, strict=True)
        ]
        rows[str(quality)] = {
            "bytes": round(statistics.mean(len(jpeg.content) for jpeg in jpegs)),
            "psnr_db": round(10 * float(np.log10(255**2 / np.median(noise))), 2),
        }
    return rows


def decoding(jpeg: Processed) -> dict[str, Any]:
    """Microseconds an image of decoding alone: all, and at fractions; and by torchvision, whether its bits are ours."""
    stored = [jpeg.images.packed(place) for place in _chosen(jpeg)[:200].tolist()]
    images = [one for one in stored if isinstance(one, Jpeg)]
    large = [as_jpeg(np.asarray(Image.fromarray(pixels_of(one)).resize((426, 320))), 90) for one in images]
    ways: dict[str, Callable[[Jpeg], object]] = {
        "pillow": lambda one: decode_stored(one.content, one.shape[:2]),
        "pillow, half": lambda one: decode_stored(one.content, one.shape[:2], (one.height // 2, one.width // 2)),
        "pillow, quarter": lambda one: decode_stored(one.content, one.shape[:2], (one.height // 4, one.width // 4)),
        "torchvision": lambda one: decode_jpeg(_bytes(one)),
    }
    if find_spec("simplejpeg"):
        simplejpeg = import_module("simplejpeg")
        ways["simplejpeg"] = lambda one: simplejpeg.decode_jpeg(one.content)
        ways["simplejpeg, 5/8"] = lambda one: simplejpeg.decode_jpeg(
            one.content, min_height=one.height * 5 // 8, min_width=1, min_factor=1
        )
    same = all(np.array_equal(decode_jpeg(_bytes(one)).permute(1, 2, 0).numpy(), pixels_of(one)) for one in images)
    found: dict[str, Any] = {"torchvision_gives_the_same_pixels": same}
    for side, ones in (("stored", images), ("320 x 426", large)):
        runs = {name: partial(_each, way, ones) for name, way in ways.items()}
        found[f"us_an_image, {side}"] = {
            name: _middle([1000 * row[0] for row in rows], 0) for name, rows in _in_turn(runs, len(ones)).items()
        }
    return found


def views(raw: tuple[Processed, Data, float], jpeg: tuple[Processed, Data, float], place: Path) -> dict[str, Any]:
    """What a training view costs by our loader from both forms, by torchvision's folders and by webdataset."""
    folder, shard = _write_jpegs(jpeg[0], place)
    ways: dict[str, Callable[[], object]] = {
        "raw": lambda: _drain(_ours(*raw[:2])),
        "jpeg": lambda: _drain(_ours(*jpeg[:2])),
        "jpeg, view of 64 px": lambda: _drain(_ours(*jpeg[:2], side_px=64)),
        "raw, view of 64 px": lambda: _drain(_ours(*raw[:2], side_px=64)),
        "torchvision ImageFolder": lambda: _drain(_image_folder(folder, jpeg[1])),
    }
    if find_spec("webdataset"):
        ways["webdataset"] = lambda: _drain(_webdataset(shard, jpeg[1]))
    else:
        log.warning("webdataset is not installed, and is not measured")
    return {
        name: {
            "cpu_ms_an_image": _middle([row[0] for row in rows], 3),
            "images_a_second": _middle([1 / row[1] for row in rows], 0),
        }
        for name, rows in _in_turn(ways, IMAGES).items()
    }


def accuracy(overrides: list[str], place: Path) -> dict[str, list[float]]:
    """Validation accuracy of a small network trained and measured on each form, a value a seed."""
    found: dict[str, list[float]] = {form: [] for form in FORMS}
    given = {
        form: [*overrides, *SMALL, *words, f"data.processed_path='{place / 'small' / form}'"]
        for form, words in FORMS.items()
    }
    for form in FORMS:
        process(load(given[form]).settings.data)
    with progress_bar(total=SEEDS * len(FORMS), title="accuracy", unit=" runs") as bar:
        for seed in range(SEEDS):
            for form in FORMS:
                run = place / "runs" / f"{form}_{seed}"
                train(load([*given[form], f"run.seed={seed}", f"hydra.run.dir='{run}'"]))
                found[form].append(round(float((read_receipt(run).final.model_extra or {})["val_accuracy"]), 4))
                bar.update()
    return found


def table(found: dict[str, Any]) -> str:
    """What was found, a line each."""
    lines = [f"{form:26} {size:9,.0f} bytes an image" for form, size in found["bytes_an_image"].items()]
    for name, row in found["training_views"].items():
        ms, rate = row["cpu_ms_an_image"], row["images_a_second"]
        lines.append(
            f"{name:26} {ms['median']:7.3f} CPU ms a view ({ms['least']} to {ms['most']}), {rate['median']:.0f} a s"
        )
    for form, values in found["accuracy"].items():
        lines.append(f"{form:26} accuracy {statistics.mean(values):.4f}: {values}")
    return "\n".join(lines)


def _packed(overrides: list[str], words: tuple[str, ...], folder: Path) -> tuple[Processed, Data, float]:
    """A processed folder, its settings, and processor milliseconds an image of packing, workers included."""
    data = load([*overrides, *words, f"data.processed_path='{folder}'"]).settings.data
    before = sum(os.times()[:4])
    process(data)
    spent = sum(os.times()[:4]) - before
    opened = open_processed(data)
    return opened, data, 1000 * spent / len(opened.images)


def _bytes_an_image(data: Processed) -> float:
    return round((data.folder / "images.bin").stat().st_size / len(data.images), 1)


def _chosen(data: Processed) -> np.ndarray:
    found = data.images.indices("train")
    return found[:: max(1, len(found) // IMAGES)][:IMAGES]


def _ours(data: Processed, settings: Data, side_px: int | None = None) -> Iterator[object]:
    sizes = [side_px or settings.img_size]
    requests = training_requests(_chosen(data), seed=0, first_step=0, batch_size=BATCH, sizes_px=sizes)
    return load_batches(data.images, requests, CLASSIFICATION, data=settings, seed=0, workers=0)


def _transform(data: Data) -> v2.Compose:
    crop = v2.RandomResizedCrop(data.img_size, scale=(data.augmentation.min_area, 1), antialias=True)
    return v2.Compose([v2.PILToTensor(), crop, v2.RandomHorizontalFlip()])


def _image_folder(folder: Path, data: Data) -> Iterator[object]:
    return iter(DataLoader(ImageFolder(folder, _transform(data)), batch_size=BATCH, shuffle=True, num_workers=0))


def _webdataset(shard: Path, data: Data) -> Iterator[object]:
    webdataset = import_module("webdataset")
    steps = webdataset.WebDataset(str(shard), shardshuffle=False).shuffle(IMAGES).decode("pil").to_tuple("jpg", "cls")
    return iter(steps.map_tuple(_transform(data), int).batched(BATCH, collation_fn=default_collate))


def _write_jpegs(data: Processed, place: Path) -> tuple[Path, Path]:
    """The same JPEGs as files, a folder a class, and in one tar file."""
    folder, shard = place / "files", place / "shard.tar"
    with tarfile.open(shard, "w") as archive:
        for number, index in enumerate(_chosen(data).tolist()):
            stored, label = data.images.packed(index), int(data.images.labels[index])
            assert isinstance(stored, Jpeg)
            path = folder / f"{label:03d}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stored.content)
            for ending, content in (("jpg", stored.content), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{number:06d}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return folder, shard


def _in_turn(ways: Mapping[str, Callable[[], object]], images: int) -> dict[str, list[tuple[float, float]]]:
    """Processor milliseconds and seconds of the clock an image, REPEATS times each, in turn; the first round warms."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(REPEATS + 1):
        for name, way in ways.items():
            clock, cpu = time.perf_counter(), time.process_time()
            way()
            spent = 1000 * (time.process_time() - cpu) / images, (time.perf_counter() - clock) / images
            if number:
                found[name].append(spent)
    return found


def _middle(values: list[float], digits: int) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


def _each(way: Callable[[Jpeg], object], ones: list[Jpeg]) -> None:
    for one in ones:
        way(one)


def _drain(batches: Iterator[object]) -> None:
    for _ in batches:
        pass


def _bytes(one: Jpeg) -> torch.Tensor:
    return torch.frombuffer(bytearray(one.content), dtype=torch.uint8)


if __name__ == "__main__":
    sys.exit(main())
