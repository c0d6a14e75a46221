"""A file of an artefact, run: the way through a model that answers requests and that drift is measured through.

In: an `Artefact`. Out: an `Executable`: uint8 (N, S, S, 3) -> all that is asked of a model, float32, in one pass. Read
by the service, the drift detector and the export that builds it. K: classes, D: features, C: early maps.
"""

import os
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.drift.scores.signals import PRIOR, Outputs
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.release.artefact import DEVIATION, SECOND_LOOK, Artefact

# ONNX Runtime tells its maker that it was loaded, and keeps an id in the home folder; its own function to
# stop that comes too late.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

FILLED = 16  # images of every pass where an image's bits depend on how many there are
NAMES = ("probabilities", "logits", "features", "early")

Session = Callable[[dict[str, Any]], dict[str, Float32s]]  # inputs by name -> outputs by name
Opener = Callable[[], Session]


class Said(NamedTuple):
    """Everything that a model says of N images in one pass."""

    probabilities: Float32s  # (N, K)
    logits: Float32s  # (N, K)
    features: Float32s  # (N, D)
    early: Float32s | None  # (N, C) means over space of early maps; None: it has none


class _Forward(Protocol):
    def __call__(self, images: Pixels) -> Outputs: ...


class Executable:
    """A model's file in its runtime; `identity` changes with either. One thread at a time may ask."""

    def __init__(
        self, session: Session, identity: str, side_px: int, second: Opener | None, *, fill: bool = False
    ) -> None:
        self.identity, self.side_px = identity, side_px
        self._session, self._second, self._fill = session, second, fill

    def say(self, images: Pixels) -> Said:
        """All outputs for uint8 (N, S, S, 3), N at least 1. Raises DataError for another shape or type."""
        check_images(images, self.side_px)
        if not self._fill:
            return _said(self._session({"images": images}))
        parts = [self._filled(images[start : start + FILLED]) for start in range(0, len(images), FILLED)]
        return _said({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def __call__(self, images: Pixels) -> Outputs:
        """What drift reads of the same pass."""
        return Outputs(*self.say(images)[1:])

    def adapted(self, images: Pixels) -> _Forward | None:
        """A copy whose BatchNorms are blended with statistics of uint8 (n, S, S, 3); None if the network has none.

        As `blended_statistics` in drift/scores/adapted.py, by the exported second look, in float32 whatever is served.
        """
        if self._second is None:
            return None
        check_images(images, self.side_px)
        own, second = np.array(PRIOR / (PRIOR + len(images)), np.float32), self._second()
        return _Adapted(second, second({"images": images, "own": own})["blended"])

    def _filled(self, images: Pixels) -> dict[str, Float32s]:
        batch = np.zeros((FILLED, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        return {name: values[: len(images)] for name, values in self._session({"images": batch}).items()}


class _Adapted(NamedTuple):
    """The second look with the statistics that were found."""

    second: Session
    statistics: Float32s

    def __call__(self, images: Pixels) -> Outputs:
        said = self.second({"images": images, "statistics": self.statistics, "own": np.ones((), np.float32)})
        return Outputs(said["logits"], said["features"])


class _Seldom:
    """Opens a file's session anew whenever it is asked: it takes more memory than the file that is served.

    The file is held open, so that a folder that was replaced meanwhile changes nothing.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads, self._file = path, threads, path.open("rb")
        weakref.finalize(self, self._file.close)

    def __call__(self) -> Session:
        self._file.seek(0)
        return _onnxruntime(self._path, self._threads, keep_memory=False, content=self._file.read())


def open_executable(artefact: Artefact, threads: int = 1, *, seldom: bool = False) -> Executable:
    """Load the file that is served, and the second look if there is one; `seldom`: that one whenever it is needed.

    Raises ConfigError if the runtime is not installed, DataError if it cannot read the file.
    """
    session = open_session(artefact.folder / artefact.file, artefact.runtime, artefact.precision, threads)
    second = artefact.folder / SECOND_LOOK
    look: Opener | None = None
    if SECOND_LOOK in artefact.sha256:
        kept = None if seldom else _onnxruntime(second, threads, keep_memory=False)
        look = _Seldom(second, threads) if kept is None else lambda: kept
    return Executable(session, artefact.identity, artefact.side_px, look, fill=not artefact.rows_independent)


def read_deviation(artefact: Artefact) -> Float32s | None:
    """The weights (K, D) of `tasks.clips.frames.said_together`; None where a clip is the mean of its frames.

    Raises DataError if the file holds something else.
    """
    if DEVIATION not in artefact.sha256:
        return None
    path, classes = artefact.folder / DEVIATION, len(artefact.classes)
    try:
        weights: Float32s = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read ({error}); export again: make export") from error
    if weights.dtype != np.float32 or weights.ndim != 2 or len(weights) != classes or not np.isfinite(weights).all():
        got = f"{weights.dtype} {weights.shape}"
        raise DataError(f"{path}: expected finite float32 ({classes}, D), got {got}; export again: make export")
    return weights


def open_session(path: Path, runtime: str, precision: str, threads: int = 1) -> Session:
    """A way through one ONNX file on the CPU: inputs by name -> outputs by name; errors as `open_executable`.

    The threads sleep when they have nothing to do: spinning ones cost everybody else on the machine.
    """
    return _openvino(path, precision, threads) if runtime == "openvino" else _onnxruntime(path, threads)


def check_images(images: Pixels, side_px: int) -> None:
    """Raise DataError unless images are uint8 (N, S, S, 3)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side_px, side_px, 3) or not len(images):
        raise DataError(f"images: expected uint8 (N, {side_px}, {side_px}, 3), got {images.dtype} {images.shape}")


def _onnxruntime(path: Path, threads: int, *, keep_memory: bool = True, content: bytes | None = None) -> Session:
    """`keep_memory`: for the next images, as is right for what comes all the time; a second look is rare, and large.

    `content`: of the file, if it was read already.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("runtime onnxruntime: not installed here; pip install -e .[serve]") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = keep_memory
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(content or str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes of errors have no common one but this
        raise _unreadable(path, "ONNX Runtime", error) from error
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def _openvino(path: Path, precision: str, threads: int) -> Session:
    # Importing OpenVINO tells its maker so; without this package it has nothing to tell it with.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ConfigError("runtime openvino: not installed here; pip install -e .[openvino]") from error
    core = openvino.Core()
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and not has_bf16:
        raise ConfigError("precision bf16: this processor does not compute in it; export with another precision")
    # What is not quantised of an INT8 file runs in bf16: twice as fast, and fewer labels change than in fp32.
    hint = "f32" if precision == "fp32" or not has_bf16 else "bf16"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    try:
        request = core.compile_model(str(path), "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise _unreadable(path, "OpenVINO", error) from error
    names = [output.get_any_name() for output in request.model_outputs]

    def run(inputs: dict[str, Any]) -> dict[str, Float32s]:
        found = request.infer({name: np.ascontiguousarray(values) for name, values in inputs.items()})
        return {name: np.array(found[name], dtype=np.float32) for name in names}

    return run


def _said(outputs: dict[str, Float32s]) -> Said:
    return Said(*(outputs.get(name) for name in NAMES))  # type: ignore[arg-type]


def _unreadable(path: Path, runtime: str, error: Exception) -> DataError:
    first: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return DataError(f"{path}: {runtime} cannot read it ({first[0]}); export again: make export")
