"""Suppression inside the graph or outside: `python -m drift_detector_pipeline.proof.box_suppression ARTEFACT FOLDER`.

In: an exported model that finds boxes, and a folder of images. Out: reports/box_suppression.json: processor time an
image of the graph, of the NumPy lines that the service uses behind it, and of the graph with ONNX's NonMaxSuppression
at its end; and whether both say the same. ONNX Runtime on one core, an image and eight at a time, the least of several
tries.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.box_geometry import clip, iou
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.decoder import FORMATS, decode
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.networks.boxes.found import LEAST_SCORE, MOST, Found
from drift_detector_pipeline.release.artefact import Artefact, read_artefact
from drift_detector_pipeline.release.box_executable import BoxExecutable, open_box_executable
from drift_detector_pipeline.release.executable import open_session
from drift_detector_pipeline.runs.facts import now
from drift_detector_pipeline.runs.machine import instruction_set
from drift_detector_pipeline.tasks.boxes.answers import LEAST_SCORE as SAID

REPORT = Path("reports/box_suppression.json")
IMAGES, TRIES = 64, 7
_CHOSEN = ("boxes", "scores", "which")
Sets = list[tuple[Float32s, Float32s]]  # of each image boxes (M, 4) and scores (M,), best first


@exit_status
def main() -> int:
    """Measure both, and write the report."""
    if len(sys.argv) != 3:
        raise ConfigError("name an exported model of boxes and a folder of images")
    set_up_logging()
    artefact, folder = read_artefact(Path(sys.argv[1])), Path(sys.argv[2])
    crops = _crops(folder, artefact)
    with tempfile.TemporaryDirectory() as place:
        inside = Path(place) / "inside.onnx"
        add_suppression(artefact.folder / artefact.file, inside, artefact.overlap or 0.5)
        found = measure(
            open_box_executable(artefact), open_session(inside, "onnxruntime", artefact.precision, 1), crops
        )
    about = {
        "when": now(), "command": "python -m drift_detector_pipeline.proof.box_suppression ARTEFACT FOLDER",
        "model": artefact.name, "side_px": artefact.side_px, "images": len(crops), "tries": TRIES,
        "onnxruntime": metadata.version("onnxruntime"), "instruction_set": instruction_set(torch.device("cpu")),
    }  # fmt: skip
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, about | found)
    log.info("%s", found)
    return 0


def add_suppression(graph: Path, target: Path, overlap: float) -> None:
    """Write the graph with NonMaxSuppression behind it; outputs boxes (M, 4), scores (M,) and which (M, 3).

    `which` is image, class and place of each; up to MOST of a class are left, not of an image.
    """
    model = onnx.load(graph)
    constants: dict[str, Any] = {
        "most": np.array([MOST], np.int64), "overlap": np.array([overlap], np.float32),
        "least": np.array([LEAST_SCORE], np.float32), "pair": np.array([0, 2], np.int64),
    }  # fmt: skip
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Transpose", ["chances"], ["by_class"], perm=[0, 2, 1]),
            helper.make_node("NonMaxSuppression", ["places", "by_class", "most", "overlap", "least"], ["which"]),
            helper.make_node("Gather", ["which", "pair"], ["image_and_place"], axis=1),
            helper.make_node("GatherND", ["places", "image_and_place"], ["boxes"]),
            helper.make_node("GatherND", ["by_class", "which"], ["scores"]),
        ]
    )
    del model.graph.output[:]
    shapes: dict[str, tuple[int, list[Any]]] = {
        "boxes": (TensorProto.FLOAT, ["left", 4]), "scores": (TensorProto.FLOAT, ["left"]),
        "which": (TensorProto.INT64, ["left", 3]),
    }  # fmt: skip
    model.graph.output.extend(helper.make_tensor_value_info(name, *shapes[name]) for name in _CHOSEN)
    onnx.save(model, target)


def measure(outside: BoxExecutable, inside: Callable[[Any], Any], crops: Pixels) -> dict[str, Any]:
    """Processor time an image in ms, and what differs."""
    found: dict[str, Any] = {}
    for batch in (1, 8):
        parts = [crops[start : start + batch] for start in range(0, len(crops), batch)]
        ways: dict[str, Callable[[Pixels], Any]] = {
            "graph": outside.say, "graph_then_numpy": outside.find,
            "graph_with_suppression": lambda part: _chosen(inside({"images": part}), len(part), outside.side_px),
        }  # fmt: skip
        found[f"ms_in_batches_of_{batch}"] = _in_turn(ways, parts)
    own = [_as_set(one) for one in outside.find(crops)]
    other = _chosen(inside({"images": crops}), len(crops), outside.side_px)
    for name, least in (("all", 0.0), ("that_a_service_says", SAID)):
        some, others = ([_above(one, least) for one in sets] for sets in (own, other))
        found[f"boxes_{name}"] = sum(len(scores) for _, scores in some)
        found[f"of_them_only_one_way_says_{name}"] = sum(map(_lonely, some, others))
    return found


def _in_turn(ways: dict[str, Callable[[Pixels], Any]], parts: list[Pixels]) -> dict[str, float]:
    """The least of several tries of each, taken in turn: a busy machine slows all."""
    images = sum(map(len, parts))
    tries: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TRIES):
        for name, ask in ways.items():
            started = time.process_time()
            for part in parts:
                ask(part)
            tries[name].append(1000 * (time.process_time() - started) / images)
    return {name: round(min(values), 3) for name, values in tries.items()}


def _chosen(said: dict[str, Any], images: int, side_px: int) -> Sets:
    """What the graph chose, for each image: best first, at most MOST, inside the view."""
    which, boxes, scores = said["which"], clip(said["boxes"], side_px, side_px), said["scores"]
    sets: Sets = []
    for image in range(images):
        own = np.flatnonzero(which[:, 0] == image)
        best = own[np.argsort(-scores[own], kind="stable")[:MOST]]
        sets.append((boxes[best], scores[best]))
    return sets


def _above(one: tuple[Float32s, Float32s], least: float) -> tuple[Float32s, Float32s]:
    return one[0][one[1] >= least], one[1][one[1] >= least]


def _as_set(one: Found) -> tuple[Float32s, Float32s]:
    return one.boxes, one.scores


def _lonely(one: tuple[Float32s, Float32s], other: tuple[Float32s, Float32s]) -> int:
    """Boxes that either has and the other has not, to a hundredth of overlap and of score."""
    same = (iou(one[0], other[0]) > 0.99) & (np.abs(one[1][:, None] - other[1][None]) < 0.01)
    return int((~same.any(1)).sum() + (~same.any(0)).sum()) if same.size else len(one[1]) + len(other[1])


def _crops(folder: Path, artefact: Artefact) -> Pixels:
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg", ".png")][:IMAGES]
    if not files:
        raise ConfigError(f"{folder}: no image in it, as {', '.join(FORMATS[:2])} are")
    stored = (decode(path.read_bytes(), artefact.stored_side_px, "longer") for path in files)
    return np.stack([letterbox(one, artefact.side_px) for one in stored])


if __name__ == "__main__":
    sys.exit(main())
