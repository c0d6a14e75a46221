"""Whole numbers: as few as labels allow, the stem and the head never, and refused with figures."""

import numpy as np
import onnx
import pytest
from exported import CONV, RESNET, SCALE, exported, network, some_images

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.release.beside import say_through
from drift_detector_pipeline.release.executable import Executable, open_session
from drift_detector_pipeline.release.parity import Exam, Row, measure
from drift_detector_pipeline.release.quantised import prepare, quantise, stem_of
from drift_detector_pipeline.release.trials import ask, try_all
from drift_detector_pipeline.settings_in_use import Export

SIDE = CONV[1]


def quantised_convolutions(path):
    """Which convolutions, in order, are given weights in whole numbers."""
    graph = onnx.load(str(path)).graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    return [made_by.get(node.input[1]) == "DequantizeLinear" for node in graph.node if node.op_type == "Conv"]


def allowing(share):
    return load_section(Export, [f"export.max_labels_changed={share}", "export.max_accuracy_lost=1"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("int8")
    exported(place, network(*CONV), SIDE, second=False)
    return place


def own_exam(count=600):
    say = say_through(through(network(*CONV), *SCALE))
    crops = some_images(count, SIDE, seed=5)
    expected = say(crops).probabilities
    exam = Exam(crops, expected.argmax(axis=1).astype(np.int64), expected)
    return exam, measure("own", say, exam)


@pytest.mark.slow
def test_stem_and_head_are_left_alone(folder, tmp_path):
    convolutions = prepare(folder / "model.onnx", tmp_path / "prepared.onnx")
    stem = stem_of(tmp_path / "prepared.onnx")
    assert (len(convolutions), stem) == (5, 2)  # the fixed patches and the first learned one come before pooling
    quantise(tmp_path / "prepared.onnx", tmp_path / "int8.onnx", some_images(64, SIDE), stem)
    assert quantised_convolutions(tmp_path / "int8.onnx") == [False, False, True, True, True]
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "int8.onnx")).graph.node}
    assert "Gemm" in kinds


def test_images_become_bytes_without_and_weights_bytes_with_sign(folder, tmp_path):
    """ONNX Runtime is no faster than in floats where both have one."""
    prepare(folder / "model.onnx", tmp_path / "prepared.onnx")
    quantise(tmp_path / "prepared.onnx", tmp_path / "int8.onnx", some_images(64, SIDE), 2)
    graph = onnx.load(str(tmp_path / "int8.onnx")).graph
    kinds = {value.name: value.data_type for value in graph.initializer}
    assert {kinds[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"} == {onnx.TensorProto.UINT8}
    made_by = {output: node for node in graph.node for output in node.output}
    weights = [made_by.get(node.input[1]) for node in graph.node if node.op_type == "Conv"]
    assert {kinds[node.input[0]] for node in weights if node is not None} == {onnx.TensorProto.INT8}


def test_it_says_nearly_the_same(folder, tmp_path):
    prepare(folder / "model.onnx", tmp_path / "prepared.onnx")
    quantise(tmp_path / "prepared.onnx", tmp_path / "int8.onnx", some_images(64, SIDE), 2)
    images = some_images(100, SIDE, seed=9)
    whole, own = (
        Executable(open_session(path, "onnxruntime", "fp32"), "", SIDE, None).say(images)
        for path in (tmp_path / "int8.onnx", folder / "model.onnx")
    )
    assert 0 < np.abs(whole.probabilities - own.probabilities).max() < 0.1


@pytest.mark.slow
def test_a_limit_of_nothing_refuses_with_figures_and_keeps_no_file(folder):
    exam, own = own_exam()
    export = allowing(0)
    trials = {
        (trial.runtime, trial.precision): trial for trial in try_all(folder, exam, own, some_images(64, SIDE), export)
    }
    refused = trials["onnxruntime", "int8"]
    assert f"{refused.row.labels_changed:.2%} of 600 labels change, allowed 0.00%" in refused.refused
    assert "4 of 5 convolutions in fp32" in refused.row.note  # more and more was left out before it gave up
    assert not trials["onnxruntime", "fp32"].refused
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx"]


@pytest.mark.slow
def test_within_limits_the_file_stays_and_every_runtime_is_asked(folder):
    exam, own = own_exam()
    export = allowing(0.2)
    trials = try_all(folder, exam, own, some_images(64, SIDE), export)
    assert (folder / "model.int8.onnx").exists()
    (folder / "model.int8.onnx").unlink()
    assert all(trial.row.rows_independent in (True, None) for trial in trials if trial.runtime == "onnxruntime")
    assert {trial.precision for trial in trials if trial.runtime == "onnxruntime"} == {"fp32", "int8"}


def test_a_file_that_only_another_runtime_cannot_read_is_a_row_that_says_so(tmp_path):
    pytest.importorskip("openvino", reason="an extra")
    (tmp_path / "model.onnx").write_bytes(b"no network")
    nobody = Row("own")
    trial = ask(tmp_path, ("openvino", "fp32"), None, nobody, allowing(0))
    assert trial.refused.startswith("OpenVINO cannot read it (") and trial.row.note == trial.refused
    with pytest.raises(DataError, match="ONNX Runtime cannot read it"):
        ask(tmp_path, ("onnxruntime", "fp32"), None, nobody, allowing(0))


@pytest.mark.slow
def test_a_deep_stem_is_left_alone_as_a_whole(tmp_path):
    exported(tmp_path, network(*RESNET), 32, second=False)
    prepare(tmp_path / "model.onnx", tmp_path / "prepared.onnx")
    assert stem_of(tmp_path / "prepared.onnx") == 3
