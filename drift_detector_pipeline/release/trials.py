"""Every file in every runtime that is here, tried on the same images; whole numbers as few as labels allow.

In: model.onnx in a folder that is being filled, and a run's images. Out: `Trial`s, and model.int8.onnx if it passed.
Read by export.py.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ConfigError, DataError, ModelError
from drift_detector_pipeline.release.artefact import INT8, MODEL
from drift_detector_pipeline.release.executable import open_session
from drift_detector_pipeline.release.parity import LARGEST_GAP, Asks, Row, refusal
from drift_detector_pipeline.release.quantised import prepare, quantise, stem_of
from drift_detector_pipeline.settings_in_use import Export

WAYS = (("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("openvino", "bf16"), ("openvino", "int8"))
_CALLED = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


class Trial(NamedTuple):
    """A file in a runtime, measured."""

    runtime: str
    precision: str
    row: Row
    refused: str  # why it may not be served; "": it may

    @property
    def file(self) -> str:
        """What it runs."""
        return INT8 if self.precision == "int8" else MODEL


def try_all(folder: Path, exam: Asks, own: Row, fit: Pixels, export: Export) -> list[Trial]:
    """Measure model.onnx and, calibrated on `fit`, model.int8.onnx in every runtime; the last one stays if it passes.

    `own` is the network's row, which others are compared with. Raises ModelError if the file says something else than
    the network.
    """
    asked = (export.runtime, export.precision)
    ways = [way for way in dict.fromkeys([*WAYS, asked]) if way[0] == "onnxruntime" or _has_openvino()]
    found = [ask(folder, way, exam, own, export) for way in ways if way[1] != "int8"]
    gap = found[0].row.parity or 0.0
    if gap > LARGEST_GAP:
        raise ModelError(
            f"{MODEL}: its probabilities are off by up to {gap:.2g} from the network's, expected at most "
            f"{LARGEST_GAP:g}; this network cannot be exported faithfully, try another model.name"
        )
    return found + _in_whole_numbers(folder, [way for way in ways if way[1] == "int8"], exam, own, fit, export)


def title(runtime: str, precision: str) -> str:
    """What a way is called in the table."""
    return f"{_CALLED[runtime]} {precision}"


def _in_whole_numbers(
    folder: Path, ways: list[tuple[str, str]], exam: Asks, own: Row, fit: Pixels, export: Export
) -> list[Trial]:
    """Quantise ever less of the network until the runtime that will serve keeps the labels; then ask the others."""
    first = (export.runtime, "int8") if (export.runtime, "int8") in ways else ways[0]
    trial = Trial(*first, Row(title(*first), note="not tried: no fit images to calibrate on"), "no fit images")
    for left_out, of in _quantised(folder, fit):
        trial = ask(folder, first, exam, own, export)
        trial = trial._replace(row=trial.row._replace(note=f"{left_out} of {of} convolutions in fp32"))
        if not trial.refused:
            return [trial, *(ask(folder, way, exam, own, export) for way in ways if way != first)]
        log.info("int8 with %d of %d convolutions left in fp32: %s", left_out, of, trial.refused)
    if trial.row.images == 0 and len(fit):
        trial = trial._replace(row=trial.row._replace(note="not tried: no convolutions beside the stem"))
    (folder / INT8).unlink(missing_ok=True)
    return [trial]


def _quantised(folder: Path, fit: Pixels) -> Iterator[tuple[int, int]]:
    """Write model.int8.onnx again and again, twice as much left out each time: how many convolutions, of how many."""
    if not len(fit):
        return
    prepared = folder / "prepared.onnx"
    try:
        convolutions = len(prepare(folder / MODEL, prepared))
        left_out = stem_of(prepared) if convolutions else 1
        while left_out < convolutions:
            quantise(prepared, folder / INT8, fit, left_out)
            yield left_out, convolutions
            left_out *= 2
    finally:
        prepared.unlink(missing_ok=True)


def ask(folder: Path, way: tuple[str, str], exam: Asks, own: Row, export: Export) -> Trial:
    """Ask a file in its runtime. Raises DataError if ONNX Runtime cannot read it; another runtime is refused then."""
    runtime, precision = way
    path = folder / (INT8 if precision == "int8" else MODEL)
    try:
        session = open_session(path, runtime, precision)
    except (ConfigError, DataError) as error:
        if isinstance(error, DataError) and runtime == "onnxruntime":
            raise
        said = str(error).removeprefix(f"{path}: ").removesuffix("; export again: make export")
        return Trial(runtime, precision, Row(title(*way), note=said), said)
    row = exam.ask(title(*way), session, path.stat().st_size / 1e6)
    return Trial(runtime, precision, row, refusal(row, own, export.max_labels_changed, export.max_accuracy_lost))


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None
