"""A real artefact that finds boxes, made at once: red and blue squares of 16 px on grey, seen by their colour."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drift_detector_pipeline.release.artefact import BOXES, MODEL, Artefact, write_artefact

SIDE_PX, CELL_PX, CLASSES = 96, 16, ["blue", "red"]
CELLS = SIDE_PX // CELL_PX


def network(path):
    """A place for every cell of 16 px: how far its mean is from grey, towards blue and towards red."""
    corners = np.array([(x, y) for y in range(CELLS) for x in range(CELLS)], np.float32) * CELL_PX
    places = np.concatenate([corners, corners + CELL_PX], axis=1)[None]
    towards = np.array([[-1, 0, 1], [1, 0, -1]], np.float32).reshape(2, 3, 1, 1) / 20
    values = {
        "places_of_one": places, "towards": towards, "shift": np.array([-4, -4], np.float32),
        "flat": np.array([0, 2, -1], np.int64), "sum_axes": np.array([1, 2], np.int64), "zero": np.float32(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["means"], kernel_shape=[CELL_PX] * 2, strides=[CELL_PX] * 2),
        helper.make_node("Conv", ["means", "towards", "shift"], ["maps"]),
        helper.make_node("Reshape", ["maps", "flat"], ["by_class"]),
        helper.make_node("Transpose", ["by_class"], ["odds"], perm=[0, 2, 1]),
        helper.make_node("Sigmoid", ["odds"], ["chances"]),
        helper.make_node("ReduceSum", ["chances", "sum_axes"], ["sums"], keepdims=1),
        helper.make_node("Mul", ["sums", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "places_of_one"], ["places"]),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", SIDE_PX, SIDE_PX, 3])
    outputs = [
        helper.make_tensor_value_info("places", TensorProto.FLOAT, ["batch", CELLS**2, 4]),
        helper.make_tensor_value_info("chances", TensorProto.FLOAT, ["batch", CELLS**2, 2]),
    ]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "cells", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def make_boxes_artefact(folder: Path) -> Artefact:
    """An artefact in `folder`, without a drift reference as all that find boxes."""
    folder.mkdir(parents=True)
    network(folder / MODEL)
    empty = Artefact(
        folder, MODEL, "onnxruntime", "fp32", "cells", CLASSES, SIDE_PX, SIDE_PX, True, {}, "0" * 64, {}, BOXES, 0.5
    )
    return write_artefact(empty)


def scene(number, steps=4):
    """Frame `number` (96, 96, 3): a red square goes right by a cell every `steps` frames, a blue one stays."""
    pixels = np.full((SIDE_PX, SIDE_PX, 3), 128, np.uint8)
    left = CELL_PX * min(number // steps, CELLS - 1)
    pixels[16:32, left : left + CELL_PX] = (220, 40, 40)
    pixels[64:80, 48:64] = (40, 60, 220)
    return pixels
