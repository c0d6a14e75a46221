"""Not a test: a world of two classes, which half of an image is lighter, and models of it that ONNX Runtime runs.

Models are linear, so that a test knows what each of them sees: `steady` compares the halves, `naive` looks at the left
one alone and is lost when the light changes. Either may be made to contradict itself now and then.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drift_detector_pipeline.processed.integrity import fingerprint_of
from drift_detector_pipeline.processed.manifest import FORMAT, Manifest, Processed, Source, write_manifest
from drift_detector_pipeline.processed.packing import Entry, PackedImages, write_packed
from drift_detector_pipeline.release.artefact import Artefact, write_artefact

SIDE_PX = 16
CLASSES = ["left", "right"]
LIGHT = 118
WEIGHTS = {"steady": (1.0, -1.0, 0.0), "naive": (2.0, 0.0, -2.0 * LIGHT)}  # of the light of both halves, and an offset
EVERY = 16  # a model contradicts itself by the remainder of a pixel's value


def images(count, seed):
    """uint8 (count, 16, 16, 3) and labels: the lighter half is lighter by 20 or so, rarely by less than nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    step = np.where(labels == 0, 10, -10) + rng.normal(0, 5, count)
    halves = LIGHT + np.stack([step, -step], axis=1)
    pixels = np.repeat(halves, SIDE_PX // 2, axis=1)[:, None, :, None] + rng.normal(0, 4, (count, SIDE_PX, SIDE_PX, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


def processed(folder: Path, val=2400, fit=120):
    """Processed data of that world."""
    counts = {"train": 20, "fit": fit, "val": val}
    pixels, labels = images(sum(counts.values()), 0)
    splits = [split for split, count in counts.items() for _ in range(count)]
    entries = (Entry(f"{i}.png", splits[i], int(labels[i]), pixels[i]) for i in range(len(labels)))
    folder.mkdir(parents=True)
    fingerprint = fingerprint_of(write_packed(folder, entries), CLASSES)
    numbers = {split: {"left": count, "right": 0} for split, count in counts.items()}
    source = Source("none", "", "")
    manifest = Manifest(FORMAT, "halves", fingerprint, CLASSES, numbers, len(labels), {}, source, [], [], [], "")
    write_manifest(folder, manifest)
    return Processed(folder, manifest, PackedImages(folder))


def opened(folder: Path) -> Processed:
    """What `processed` wrote."""
    values = json.loads((folder / "manifest.json").read_text())
    manifest = Manifest(**(values | {"source": Source(**values["source"])}))
    return Processed(folder, manifest, PackedImages(folder))


def artefact(folder: Path, name: str, *, wrong=0, sure=0.2, papers=None):
    """A model of WEIGHTS as an artefact; it contradicts itself in `wrong` of 16 images, whatever they show."""
    left, right, offset = WEIGHTS[name]
    weights = np.zeros((SIDE_PX, SIDE_PX, 3), np.float32)
    weights[:, : SIDE_PX // 2], weights[:, SIDE_PX // 2 :] = left, right
    weights = np.stack([weights.ravel(), -weights.ravel()], axis=1) * sure / (weights.size // 2)
    folder.mkdir(parents=True)
    _write(folder / "model.onnx", weights, np.array([offset, -offset], np.float32) * sure, wrong)
    for paper, content in (papers or {}).items():
        (folder / paper).write_bytes(content)
    empty = Artefact(
        folder, "model.onnx", "onnxruntime", "fp32", f"{name}{wrong}", CLASSES, SIDE_PX, SIDE_PX, True, {}, "", {}
    )
    return write_artefact(empty)


def _write(path: Path, weights, offset, wrong: int) -> None:
    shape = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE_PX, SIDE_PX, 3])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("probabilities", "logits")]
    outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(weights)]))
    constants = {
        "weights": weights.astype(np.float32), "offset": offset, "flat": np.array([0, -1], np.int64),
        "last": np.array([len(weights) - 1], np.int64), "every": np.array(EVERY, np.float32),
        "wrong": np.array(wrong, np.float32), "two": np.array(2, np.float32), "one": np.array(1, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "weights"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["said"]),
        helper.make_node("Gather", ["features", "last"], ["pixel"], axis=1),
        helper.make_node("Mod", ["pixel", "every"], ["rest"], fmod=1),
        helper.make_node("Less", ["rest", "wrong"], ["turned"]),
        helper.make_node("Cast", ["turned"], ["turn"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["turn", "two"], ["twice"]),
        helper.make_node("Sub", ["one", "twice"], ["sign"]),
        helper.make_node("Mul", ["said", "sign"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "halves", [shape], outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
