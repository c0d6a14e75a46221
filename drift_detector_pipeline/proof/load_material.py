"""What a load test needs: image files, and artefacts that answer them, with a drift reference.

Speed depends neither on weights nor on what images show, so both are drawn. Read by serving_load.py.
"""

import io
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.images.decoder import decode
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD, inference_crop
from drift_detector_pipeline.release.artefact import INT8, MODEL, Artefact, write_artefact
from drift_detector_pipeline.release.executable import open_executable
from drift_detector_pipeline.release.graph import export_model, export_second_look
from drift_detector_pipeline.release.quantised import prepare, quantise, stem_of

STORED_PX, SIDE_PX, CLASSES = 160, 128, 10
FIT, REFERENCE, TWINS, CALIBRATION = 50, 150, 20, 32
_SCALE = (IMAGENET_MEAN, IMAGENET_STD)


def draw_files(folder: Path, count: int, seed: int = 1) -> None:
    """Write `count` JPEG files of 160 px, about as large as photographs of that size, named 0.jpg and so on."""
    folder.mkdir(parents=True)
    for number, content in enumerate(_contents(count, seed)):
        (folder / f"{number}.jpg").write_bytes(content)


def draw_artefacts(place: Path) -> list[Artefact]:
    """A ResNet-18 for 128 px with drawn weights, in float32 and in whole numbers, each with its own reference."""
    torch.manual_seed(0)
    module = timm.create_model("resnet18", num_classes=CLASSES).eval()
    crops = np.stack([inference_crop(decode(one, STORED_PX), SIDE_PX) for one in _contents(FIT + REFERENCE, 0)])
    whole = place / "fp32"
    whole.mkdir(parents=True)
    export_model(module, _SCALE, SIDE_PX, whole / MODEL)
    export_second_look(module, _SCALE, SIDE_PX, whole / "second_look.onnx")
    small = place / "int8"
    small.mkdir()
    for path in whole.iterdir():
        (small / path.name).write_bytes(path.read_bytes())
    prepare(small / MODEL, place / "prepared.onnx")
    quantise(place / "prepared.onnx", small / INT8, crops[:CALIBRATION], stem_of(place / "prepared.onnx"))
    return [_with_reference(whole, MODEL, "fp32", crops), _with_reference(small, INT8, "int8", crops)]


def _with_reference(folder: Path, file: str, precision: str, crops: Pixels) -> Artefact:
    names = [str(label) for label in range(CLASSES)]
    drawn = Artefact(
        folder, file, "onnxruntime", precision, "resnet18", names, SIDE_PX, STORED_PX, True, {}, "0" * 64, {},  # type: ignore[arg-type]
    )  # fmt: skip
    artefact = write_artefact(drawn)
    labels = np.random.default_rng(0).integers(0, CLASSES, FIT)
    way = open_executable(artefact)
    DriftDetector.build(
        way, crops[:FIT], labels, crops[FIT:], classes=names, kinds=("gaussian_noise", "fog"), twins=TWINS
    ).save(folder)
    return write_artefact(artefact)


def _contents(count: int, seed: int) -> list[bytes]:
    """JPEG files: soft shapes, some grain."""
    rng = np.random.default_rng(seed)
    found = list[bytes]()
    for _ in range(count):
        soft = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((STORED_PX, STORED_PX))
        grain = rng.normal(0, 8, (STORED_PX, STORED_PX, 3))
        buffer = io.BytesIO()
        Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8)).save(buffer, "jpeg", quality=90)
        found.append(buffer.getvalue())
    return found
