"""A real artefact, made in a second: stripes across or down, told apart by a net of one convolution."""

import io
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.release.artefact import CLIPS, DEVIATION, MODEL, Artefact, write_artefact
from drift_detector_pipeline.release.executable import open_executable

SIDE_PX, CLASSES = 24, ["down", "across", "flat"]


def world(count, seed, light=120.0):
    """Images uint8 (count, 24, 24, 3) of three classes, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    wave = np.sin(np.arange(SIDE_PX) * rng.uniform(0.7, 1.3, (count, 1)) + rng.uniform(0, 6.3, (count, 1)))
    across, down = np.repeat(wave[:, None], SIDE_PX, 1), np.repeat(wave[:, :, None], SIDE_PX, 2)
    stripes = np.select([labels[:, None, None] == 0, labels[:, None, None] == 1], [down, across], 0)
    gray = light + rng.normal(0, 12, (count, 1, 1)) + rng.normal(40, 8, (count, 1, 1)) * stripes
    pixels = gray[..., None] + rng.normal(0, 6, (count, SIDE_PX, SIDE_PX, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


def png(pixels):
    """The bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def network(path, seed=0, wait=0, classes=3):
    """Steps across and down, squared and averaged, and a few random maps; `wait` further layers take time."""
    rng = np.random.default_rng(seed)
    steps = np.zeros((6, 3, 3, 3), np.float32)
    steps[0, :, 1, 1:], steps[1, :, 1:, 1] = [-1, 1], [-1, 1]
    steps[2:] = rng.normal(0, 0.2, (4, 3, 3, 3))
    head = np.zeros((6, 3), np.float32)
    head[:2, :2], head[:, 2] = [[-1, 1], [1, -1]], [-0.5, -0.5, 0, 0, 0, 0]
    weights = {
        "scale": np.float32(1 / 255),
        "steps": steps,
        "head": 40 * head[:, :classes],
        "bias": np.array([0, 0, 0.3 + 0.01 * seed], np.float32)[:classes],
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "steps"], ["maps_0"], pads=[1, 1, 1, 1]),
    ]
    for number in range(wait):
        weights[f"more_{number}"] = (
            np.eye(6, dtype=np.float32)[:, :, None, None] * np.ones((1, 1, 7, 7), np.float32) / 49
        )
        nodes.append(
            helper.make_node("Conv", [f"maps_{number}", f"more_{number}"], [f"maps_{number + 1}"], pads=[3] * 4)
        )
    nodes += [
        helper.make_node("Mul", ["maps_0", "maps_0"], ["squares"]),
        helper.make_node("GlobalAveragePool", ["squares"], ["means"]),
        helper.make_node("Flatten", ["means"], ["early"]),
        helper.make_node("GlobalAveragePool", [f"maps_{wait}"], ["rest"]),
        helper.make_node("Flatten", ["rest"], ["flat_rest"]),
        helper.make_node("Concat", ["early", "flat_rest"], ["features"], axis=1),
        helper.make_node("Gemm", ["early", "head", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", SIDE_PX, SIDE_PX, 3])
    widths = {"probabilities": classes, "logits": classes, "features": 12, "early": 6}
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in widths.items()
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def make_artefact(folder: Path, seed=0, *, wait=0, reference=True) -> Artefact:
    """An artefact in `folder`; another seed is another model."""
    folder.mkdir(parents=True)
    network(folder / MODEL, seed, wait)
    empty = Artefact(folder, MODEL, "onnxruntime", "fp32", "stripes", CLASSES, SIDE_PX, SIDE_PX, True, {}, "0" * 64, {})
    artefact = write_artefact(empty)
    if reference:
        fit, ref = world(120, 1), world(200, 2)
        kinds = ("gaussian_noise", "defocus_blur", "contrast")
        way = open_executable(artefact)
        DriftDetector.build(way, *fit, *ref, classes=CLASSES, kinds=kinds, twins=60).save(folder)
        artefact = write_artefact(artefact)
    return artefact


def make_clips_artefact(folder: Path, k_frames=4, classes=3, deviation=None) -> Artefact:
    """The same network over the frames of clips of a second, without reference; of the first classes alone if asked.

    `deviation`: float32 (classes, 12), where the deviation over time counts.
    """
    artefact = make_artefact(folder, reference=False)._replace(classes=CLASSES[:classes])
    network(folder / MODEL, classes=classes)
    if deviation is not None:
        np.save(folder / DEVIATION, deviation)
    return write_artefact(artefact._replace(task=CLIPS, clip_seconds=1.0, stored_frames=12, k_frames=k_frames))
