"""The exported file says what the network says, of any number of images, and looks twice as it does."""

import copy
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT, ci_environment
from exported import CONV, MLP, RESNET, SCALE, VIT, exported, network, opened, some_images
from torch import nn

from drift_detector_pipeline.drift.scores.adapted import normalizers
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.signals import PRIOR
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.release.executable import Executable, open_session
from drift_detector_pipeline.release.graph import export_model

NETS = [
    CONV, MLP, VIT,
    pytest.param(RESNET, marks=pytest.mark.slow),
    pytest.param(("mobilenetv3_small_100", 32, {}), marks=pytest.mark.slow),
    pytest.param(("convnext_atto", 32, {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)}), marks=pytest.mark.slow),
]  # fmt: skip


@pytest.fixture(scope="module")
def written(made_once):
    """`written(kind)`: the folder with the files of that network, written once for all tests."""
    return lambda kind: made_once(f"graph_{kind[0]}", lambda root: exported(root, network(*kind), kind[1]))


@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind[0])
def test_it_says_what_the_network_says(kind, written):
    module, side = network(*kind), kind[1]
    images = some_images(21, side)  # another number than the exporter saw
    said, expected = opened(written(kind), side).say(images), through(module, *SCALE)(images)
    assert np.abs(said.probabilities - expected.logits.softmax(1).numpy()).max() < 1e-5
    assert np.abs(said.logits - expected.logits.numpy()).max() < 1e-4
    assert np.abs(said.features - expected.features.numpy()).max() < 1e-4
    assert said.probabilities.std(axis=0).min() > 0  # images differ, so that the rest means something
    if expected.early is None:
        assert said.early is None
    else:
        assert np.abs(said.early - expected.early.numpy()).max() < 1e-4


def test_cropping_and_pixel_scores_are_not_in_the_file(written):
    """ONNX's Resize gives other pixels than training saw, and bits of pixel scores would depend on the batch."""
    graph = onnx.load(str(written(CONV) / "model.onnx")).graph
    assert {node.op_type for node in graph.node} & {"Resize", "Upsample", "DecodeImage"} == set()
    [given] = [one.type.tensor_type for one in graph.input]
    assert given.elem_type == onnx.TensorProto.UINT8
    assert [side.dim_value for side in given.shape.dim] == [0, 16, 16, 3]  # 0: any number of images


def test_a_file_that_is_opened_brings_threads_only_where_they_are_asked_for_and_they_sleep(written):
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs Linux, which lists threads")
    images = {"images": some_images(8, 16)}

    def opened_with(threads):
        before = len(list(Path("/proc/self/task").iterdir()))
        session = open_session(written(CONV) / "model.onnx", "onnxruntime", "fp32", threads)
        session(images)
        return session, len(list(Path("/proc/self/task").iterdir())) - before

    alone, brought = opened_with(1)
    assert brought == 0
    pair, brought = opened_with(2)
    assert brought == 1
    assert spent_idling(pair, images) < 3 * spent_idling(alone, images) + 0.1


def spent_idling(session, images):
    """CPU seconds while 30 requests come with pauses between them."""
    started = time.process_time()
    for _ in range(30):
        session(images)
        time.sleep(0.02)
    return time.process_time() - started


def test_networks_without_early_maps_leave_that_output_out(written):
    assert opened(written(VIT), 32)(some_images(1, 32)).early is None


def answered_in_float64(module, inputs, adapted):
    """Logits of a copy that has adapted to the first `adapted` inputs, without the rounding of float32."""
    exact, own = copy.deepcopy(module).double().eval(), PRIOR / (PRIOR + adapted)

    def blend(layer, given):
        axes = [axis for axis in range(given[0].ndim) if axis != 1]
        variance, mean = torch.var_mean(given[0], dim=axes, correction=0)
        layer.running_mean.mul_(own).add_(mean, alpha=1 - own)
        layer.running_var.mul_(own).add_(variance, alpha=1 - own)

    handles = [layer.register_forward_pre_hook(blend) for _, layer in normalizers(exact)]
    with torch.no_grad():
        exact(inputs[:adapted].double())
        for handle in handles:
            handle.remove()
        return exact(inputs.double()).numpy()


@pytest.mark.parametrize("kind", [CONV, *NETS[3:5]], ids=lambda kind: kind[0])
@pytest.mark.slow
def test_the_second_look_is_the_one_the_network_takes(kind, written):
    module, side = network(*kind), kind[1]
    executable, way = opened(written(kind), side), through(module, *SCALE)
    window = (some_images(40, side) // 3).astype(np.uint8)  # dark: a copy has something to adapt to
    adapted, expected = executable.adapted(window[:27]), way.adapted(window[:27])
    exact = answered_in_float64(module, way.inputs(window), 27)
    rounded = np.abs(expected(window).logits.numpy() - exact).max()  # far in a deep network of random weights
    assert np.abs(adapted(window).logits - exact).max() < max(1e-4, 4 * rounded)
    assert np.abs(adapted(window).logits - executable(window).logits).max() > 0.01  # it did adapt


def test_a_network_without_batch_norm_has_no_second_look(tmp_path):
    executable = exported(tmp_path, network(*MLP), 16)
    assert executable.adapted(some_images(8, 16)) is None
    assert not (tmp_path / "second_look.onnx").exists()


def test_where_bits_depend_on_the_batch_every_batch_is_filled_up(written):
    sizes = list[int]()
    session = open_session(written(CONV) / "model.onnx", "onnxruntime", "fp32")

    def counted(inputs):
        sizes.append(len(inputs["images"]))
        return session(inputs)

    images = some_images(19, 16)
    filled, plain = Executable(counted, "", 16, None, fill=True).say(images), session({"images": images})
    assert sizes == [16, 16]
    assert np.allclose(filled.probabilities, plain["probabilities"], atol=1e-6)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 16, 16, 3), np.float32), np.zeros((2, 24, 24, 3), np.uint8), np.zeros((0, 16, 16, 3), np.uint8)],
)
def test_images_of_another_kind_are_refused(images, tmp_path):
    executable = Executable(lambda inputs: {}, "", 16, None)
    with pytest.raises(DataError, match=r"images: expected uint8 \(N, 16, 16, 3\), got"):
        executable.say(images)


class _Unwritable(nn.Module):
    """A network whose way depends on what it sees."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        means = images.mean((2, 3))
        return self.head(means if means.sum().item() > 0 else -means)


def test_a_network_that_cannot_be_written_is_named_as_such(tmp_path, capfd):
    with pytest.raises(ModelError, match="this network cannot be written as ONNX"):
        export_model(_Unwritable(), SCALE, 16, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_network_is_named(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")
    for runtime in ["onnxruntime", *["openvino"] * (find_spec("openvino") is not None)]:
        with pytest.raises(DataError, match=r"model.onnx: .* cannot read it .* make export"):
            open_session(tmp_path / "model.onnx", runtime, "fp32")


@pytest.mark.slow
def test_exporting_leaves_the_network_as_it_was(tmp_path):
    module = network(*CONV)
    before = {name: values.clone() for name, values in module.state_dict().items()}
    images = torch.rand(3, 3, 16, 16)
    expected = module(images)
    exported(tmp_path, module, 16)
    assert all(torch.equal(values, before[name]) for name, values in module.state_dict().items())
    assert torch.equal(module(images), expected)


def test_openvino_has_nothing_to_tell_its_maker_with(tmp_path):
    """Importing it sends an event as long as the package that sends can be imported."""
    pytest.importorskip("openvino", reason="an extra")
    exported(tmp_path, network(*MLP), 16)
    code = f"""
import sys
from pathlib import Path
import numpy as np
from drift_detector_pipeline.release.executable import open_session
session = open_session(Path({str(tmp_path / "model.onnx")!r}), "openvino", "fp32")
print(session({{"images": np.zeros((3, 16, 16, 3), np.uint8)}})["logits"].shape)
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module])
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(3, 5)\n[]\n", "")
