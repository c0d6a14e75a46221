"""A network that finds boxes, exported: the file says what the network says, and the folder answers."""

from functools import partial

import numpy as np
import pytest
import torch
from box_runs import make_run, words
from small_detectors import SIDE_PX, detector

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.networks.boxes.catalog import infer
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import crops_of
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.box_executable import BoxExecutable, SaidOfPlaces, open_box_executable
from drift_detector_pipeline.release.box_export import changed, export_boxes, gap
from drift_detector_pipeline.release.executable import open_session
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.release.verified import _answers
from drift_detector_pipeline.settings_in_use import Export

SCALE = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def lively():
    """A YOLOX with random weights that finds much, as a trained one does."""
    network = detector("yolox")
    for head in network.heads:
        torch.nn.init.zeros_(head.classes.bias)
        torch.nn.init.zeros_(head.something.bias)
    return network.eval()


@pytest.fixture(scope="module")
def file(made_once):
    """A YOLOX with random weights as ONNX; read only."""
    folder = made_once("yolox_onnx", lambda root: export_boxes(lively(), SCALE, SIDE_PX, root / "model.onnx"))
    return folder / "model.onnx"


def pixels(number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)


@pytest.mark.slow
def test_the_file_finds_what_the_network_finds_in_any_number_of_images(file):
    images = pixels(5)
    run = BoxExecutable(open_session(file, "onnxruntime", "fp32"), "", SIDE_PX, 0.65)
    centre, spread = (torch.tensor(one)[:, None, None] * 255 for one in SCALE)
    inputs = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - centre) / spread
    expected = infer(lively(), inputs)
    assert sum(len(one.scores) for one in expected) > 5
    for one, other in zip(run.find(images), expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)
    alone = [run.find(images[place : place + 1])[0] for place in range(5)]
    assert [len(one.scores) for one in alone] == [len(one.scores) for one in run.find(images)]


def test_a_filled_up_batch_changes_no_bit(file):
    session = open_session(file, "onnxruntime", "fp32")
    filled = BoxExecutable(session, "", SIDE_PX, 0.65, fill=True)
    assert all(
        np.array_equal(filled.say(pixels(3)[:n])[part], filled.say(pixels(3))[part][:n])
        for n in (1, 2)
        for part in (0, 1)
    )


def test_images_of_another_size_are_refused(file):
    run = BoxExecutable(open_session(file, "onnxruntime", "fp32"), "", SIDE_PX, 0.65)
    with pytest.raises(DataError, match="expected uint8"):
        run.find(np.zeros((1, 32, 32, 3), np.uint8))


def test_regions_in_another_order_are_the_same_and_others_are_not():
    rng = np.random.default_rng(0)
    boxes, chances = rng.uniform(0, 300, (1, 40, 2, 4)), rng.uniform(0.1, 0.9, (1, 40, 2))
    own = SaidOfPlaces(boxes.astype(np.float32), chances.astype(np.float32))
    turned = SaidOfPlaces(own.places[:, ::-1], own.chances[:, ::-1])
    assert gap(turned, own) == 0
    assert gap(turned._replace(chances=turned.chances * np.float32(0.5)), own) > 0.3
    assert gap(turned._replace(places=turned.places + 9), own) == 1
    assert gap(turned._replace(chances=turned.chances * 0), own) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "overlap"), [("yolox", 0.65), ("fasterrcnn", 0.5)])
def test_a_run_becomes_a_folder_that_finds_as_well_as_it(name, overlap, made_once, tmp_path):
    root = made_once(f"boxes_{name}", partial(make_run, name=name))
    folder = tmp_path / "artefact"
    settings = [f"export.path={folder}", "export.max_labels_changed=1", "export.max_accuracy_lost=1"]
    export_run(root / "run", load_section(Export, settings))
    artefact = read_artefact(folder)
    assert (artefact.task, artefact.overlap, artefact.classes) == ("boxes", overlap, ["disc", "square"])
    rows = {row["name"]: row for row in artefact.facts["table"]}
    assert rows["ONNX Runtime fp32"]["parity"] < 1e-4 and rows["ONNX Runtime fp32"]["labels_changed"] < 0.02
    assert rows["ONNX Runtime int8"]["images"] == rows["PyTorch fp32"]["images"] > 0
    told = evaluate(root / "run", overrides=[]) / "metrics.json"
    assert f'"map50": {rows["PyTorch fp32"]["accuracy"]!r:.6}' in told.read_text()
    data = load(words(root)).settings.data
    processed = open_processed(data)
    crops = crops_of(processed, processed.images.indices("val"), artefact.side_px)
    assert len(open_box_executable(artefact).find(crops)) == len(crops)
    assert "answers 16 images alone as together" in _answers(artefact)
    assert "mAP50" in (folder / "MODEL_CARD.md").read_text()


def test_a_box_that_moved_away_counts_as_changed(file):
    run = BoxExecutable(open_session(file, "onnxruntime", "fp32"), "", SIDE_PX, 0.65)
    [one] = run.find(pixels(1))
    sure = one._replace(scores=np.ones_like(one.scores))
    assert changed([sure], [sure]) == 0
    assert changed([sure._replace(boxes=sure.boxes + 1000)], [sure]) == 1
