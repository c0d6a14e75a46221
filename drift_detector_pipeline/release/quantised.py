"""model.onnx -> model.int8.onnx: convolutions in whole numbers, a quarter of the bytes and less than half the time.

In: an exported network and images of `fit`. Out: a QDQ file, calibrated on them. Read by export.py, which says what it
costs in labels. The stem and the head stay as they are: what is lost there no later layer brings back, and OpenVINO
computes a quantised deep stem otherwise than its file says.
"""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.release.graph import quiet

MOST_IMAGES = 128  # to calibrate on; 1,024 are no better
QUANTISED = ("Conv", "Add", "MaxPool", "Relu", "AveragePool")  # and no Gemm: the head
_POOLING, _BATCH = ("MaxPool", "AveragePool"), 16


def prepare(path: Path, prepared: Path) -> list[str]:
    """Write the graph folded and with known shapes, as quantising wants it, and return the names of its convolutions.

    They stand in the order of computing.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with quiet():
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
    return [node.name for node in onnx.load(str(prepared)).graph.node if node.op_type == "Conv"]


def stem_of(prepared: Path) -> int:
    """How many convolutions come before the first pooling; 1 where there is none, or they all do."""
    kinds = [node.op_type for node in onnx.load(str(prepared)).graph.node if node.op_type in ("Conv", *_POOLING)]
    first = next((place for place, kind in enumerate(kinds) if kind in _POOLING), 0)
    return first if 0 < first < kinds.count("Conv") else 1


def quantise(prepared: Path, path: Path, images: Pixels, left_out: int) -> None:
    """Quantise everything from convolution number `left_out` on, calibrated on uint8 (N, S, S, 3)."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    model = onnx.load(str(prepared))
    with quiet():
        quantize_static(
            model, path, _reader(images), quant_format=QuantFormat.QDQ, op_types_to_quantize=list(QUANTISED),
            per_channel=True, reduce_range=not has_vnni(), activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, nodes_to_exclude=_before(model, left_out),
            calibrate_method=CalibrationMethod.MinMax,
        )  # fmt: skip


def has_vnni() -> bool:
    """Whether the processor adds products of bytes in 32 bits; others overflow unless weights are 7 bits."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine().lower() not in ("x86_64", "amd64")


def _before(model: onnx.ModelProto, convolution: int) -> list[str]:
    seen, names = 0, list[str]()
    for node in model.graph.node:
        if node.op_type == "Conv":
            if seen == convolution:
                break
            seen += 1
        names.append(node.name)
    return names


def _reader(images: Pixels) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """A batch at a time, then None."""

        def __init__(self) -> None:
            self.batches: Iterator[Pixels] = (images[at : at + _BATCH] for at in range(0, len(images), _BATCH))

        def get_next(self) -> dict[str, Pixels] | None:
            return next(({"images": np.ascontiguousarray(batch)} for batch in self.batches), None)

    return Reader()
