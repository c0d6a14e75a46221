"""Weight files: the same bytes for the same weights, enough to predict with, and refused when they are not whole."""

import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save_file

from drift_detector_pipeline.config import load
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.networks.header import read_description
from drift_detector_pipeline.networks.models import build, seed_everything
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.networks.weights import (
    describe,
    load_model,
    pack_tensors,
    save_weights,
    unpack_tensors,
)

CLASSES = ["zero", "one", "two"]


def trained(name="conv_small", *overrides, side_px=32):
    """A network whose weights and BatchNorm statistics have moved, and its description."""
    settings = load(["data=digits", f"model.name={name}", *overrides]).settings.model
    seed_everything(3)
    network = build(settings, len(CLASSES), side_px)
    with torch.no_grad():
        network.module.train()(torch.randn(8, 3, side_px, side_px))
        for parameter in network.module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return network.module.eval(), describe(settings, network, CLASSES, side_px, 40, "fp32")


def saved(path, module, description):
    save_weights(path, module.state_dict(), description)
    return path


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("conv_small", ["model.options.channels=[8,16,8]", "model.options.drop_rate=0.2"]),
        ("mlp", ["model.options.width=5"]),
        ("vit_tiny_patch16_224", ["model.options.depth=2"]),
        ("mobilenetv3_small_050", []),
    ],
)
def test_a_file_alone_gives_back_the_model_bit_by_bit(name, overrides, tmp_path):
    module, description = trained(name, *overrides)
    images = torch.randn(5, 3, 32, 32)
    again, header = load_model(saved(tmp_path / "w.safetensors", module, description))
    assert torch.equal(again(images), module(images))
    assert header == description


def test_the_header_says_architecture_classes_precision_and_preprocessing(tmp_path):
    _, header = load_model(saved(tmp_path / "w.safetensors", *trained("mlp", "model.options.width=5")))
    assert header["architecture"] == "mlp"
    assert header["options"] == {"width": 5}
    assert header["classes"] == CLASSES
    assert header["precision"] == "fp32"
    assert header["preprocessing"].keys() == {"stored_side_px", "img_size", "mean", "std"}
    assert (header["preprocessing"]["stored_side_px"], header["preprocessing"]["img_size"]) == (40, 32)


def test_a_loaded_model_is_ready_to_predict_and_needs_no_random_numbers(tmp_path):
    path = saved(tmp_path / "w.safetensors", *trained("conv_small", "model.options.drop_rate=0.9"))
    again, _ = load_model(path)
    assert not again.training
    assert torch.equal(again(torch.ones(2, 3, 32, 32)), again(torch.ones(2, 3, 32, 32)))


def test_channels_last_weights_give_the_same_bytes(tmp_path):
    module, description = trained()
    plain = saved(tmp_path / "plain.safetensors", module, description)
    fast = saved(tmp_path / "fast.safetensors", module.to(memory_format=torch.channels_last), description)
    assert plain.read_bytes() == fast.read_bytes()


SAVE = """
import sys, torch
from pathlib import Path
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.networks.weights import save_weights
torch.manual_seed(0)
state = {name: torch.randn(3, 4) for name in ("b", "a", "c.weight", "c.bias")}
save_weights(Path(sys.argv[1]), state, {"classes": ["x", "y"], "architecture": "mlp", "options": {"width": 3}})
print(tensors_hash(state))
"""


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path):
    hashes, files = set(), set()
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.safetensors"
        done = subprocess.run(
            [sys.executable, "-c", SAVE, str(path)],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        hashes.add(done.stdout)
        files.add(file_hash(path))
    assert len(hashes) == len(files) == 1


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_file_cut_short_is_refused(length, tmp_path):
    path = saved(tmp_path / "w.safetensors", *trained("mlp"))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelError, match=r"w\.safetensors: damaged, or not written by this pipeline"):
        load_model(path)


def test_a_file_with_one_changed_bit_is_refused(tmp_path):
    path = saved(tmp_path / "w.safetensors", *trained("mlp"))
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged.*SHA-256"):
        load_model(path)


def test_files_of_others_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, foreign := tmp_path / "foreign.safetensors")
    save_file({"a": torch.zeros(1)}, other := tmp_path / "other.safetensors", {"model": json.dumps({"progress": 3})})
    (text := tmp_path / "text.safetensors").write_text("hello " * 100)
    save_file({"a": torch.zeros(1)}, no_json := tmp_path / "no_json.safetensors", {"model": "{"})
    for path in (foreign, other, text, no_json, tmp_path):
        with pytest.raises(ModelError, match="not written by this pipeline"):
            load_model(path)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ModelError, match=r"none\.safetensors: no such weight file.*make train"):
        load_model(tmp_path / "none.safetensors")


def test_weights_below_a_name_that_is_no_utf8_are_not_called_damaged(tmp_path):
    (folder := tmp_path / os.fsdecode(b"bad \xff")).mkdir()
    (path := folder / "final_model.safetensors").write_bytes(b"whatever")
    with pytest.raises(ModelError, match="rename or move its folder"):
        load_model(path)


def test_weights_that_do_not_fit_their_header_are_refused(tmp_path):
    module, description = trained("mlp")
    path = saved(tmp_path / "w.safetensors", module, description | {"classes": ["only", "two"]})
    with pytest.raises(ModelError, match="the weights do not fit mlp"):
        load_model(path)


PARTS = ["architecture", "options", "classes", "preprocessing", "precision", "task"]
SHAPES = ["stored_side_px", "img_size", "mean", "std"]
ODD = [None, -1, 0, 10**9, 10**30, 1.5, "", "x", [], [None], {}, {"x": None}, True, [float("nan")] * 3, [1e400] * 3]


def with_header(path, module, header):
    path.write_bytes(pack_tensors(module.state_dict(), header))
    return path


@pytest.mark.parametrize("part", PARTS + SHAPES)
def test_a_header_with_a_part_that_is_missing_or_impossible_is_refused_in_a_sentence(part, tmp_path):
    module, description = trained("mlp")
    whole = description | {"sha256": tensors_hash(module.state_dict())}
    inside = whole["preprocessing"] if part in SHAPES else whole
    good, rests = inside.get(part), {name: value for name, value in inside.items() if name != part}
    headers = [rests, *(rests | {part: odd} for odd in ODD)]
    if part in SHAPES:
        headers = [whole | {"preprocessing": header} for header in headers]
    loaded = []
    for header in headers:
        try:
            load_model(with_header(tmp_path / "w.safetensors", module, header))
        except ModelError as error:
            assert "w.safetensors: damaged" in str(error) or "model.name=" in str(error) or "do not fit" in str(error)
        else:
            loaded.append(header)
    harmless = {"options": 1, "precision": 4, "task": 4}  # {}; none, null and words
    assert len(loaded) == harmless.get(part, 0), (good, loaded)


@pytest.mark.parametrize("width", [10**5, 10**9, 10**12, 10**30, -1, None, "x", 1.5])
def test_a_header_that_asks_for_impossible_memory_is_refused_before_it_is_taken(width, tmp_path):
    module, description = trained("mlp", "model.options.width=5")
    header = description | {"options": {"width": width}, "sha256": tensors_hash(module.state_dict())}
    with pytest.raises(ModelError, match=r"do not fit mlp|model\.name=mlp"):
        load_model(with_header(tmp_path / "w.safetensors", module, header))


@pytest.mark.parametrize("text", ["null", "[]", "3", '"x"', "[" * 100_000, '{"classes": ' * 50_000, "{}", ""])
def test_a_header_that_is_no_object_is_refused(text, tmp_path):
    save_file({"a": torch.zeros(1)}, path := tmp_path / "w.safetensors", {"model": text})
    for read in (load_model, read_description):
        with pytest.raises(ModelError, match=r"w\.safetensors: damaged, or not written by this pipeline"):
            read(path)


def test_any_flipped_bit_of_a_weight_file_leaves_its_tensors_or_is_refused(tmp_path):
    module, description = trained("mlp", "model.options.width=5")
    path = saved(tmp_path / "w.safetensors", module, description)
    content, whole = path.read_bytes(), tensors_hash(module.state_dict())
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 7
        path.write_bytes(changed)
        with suppress(ModelError):
            assert tensors_hash(load_model(path)[0].state_dict()) == whole


def test_packed_tensors_of_any_kind_come_back_as_they_were(tmp_path):
    tensors = {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "brain": torch.randn(3, 2).bfloat16(),
        "count": torch.tensor(2**62 + 1),
        "flags": torch.tensor([True, False]),
        "turned": torch.arange(6.0).reshape(2, 3).T,
    }
    (path := tmp_path / "t.safetensors").write_bytes(pack_tensors(tensors, {"sum": 0.1 + 0.2}))
    found, header = unpack_tensors(path)
    assert header == {"sum": 0.1 + 0.2}
    assert found.keys() == tensors.keys()
    assert all(found[name].dtype == tensors[name].dtype and torch.equal(found[name], tensors[name]) for name in found)
    assert tensors_hash(found) == tensors_hash(tensors)


KINDS = [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8]


@pytest.mark.parametrize("dtype", KINDS)
def test_the_hash_of_tensors_does_not_depend_on_layout_or_order(dtype):
    tensor = torch.arange(120).reshape(2, 3, 4, 5).to(dtype)
    turned = tensor.contiguous(memory_format=torch.channels_last)
    part = torch.stack([tensor, tensor + 1], -1)[..., 0]
    assert turned.stride() != tensor.stride()
    assert tensors_hash({"a": tensor, "b": part}) == tensors_hash({"b": turned, "a": turned})


@pytest.mark.parametrize("dtype", KINDS)
def test_the_hash_of_tensors_changes_with_any_byte(dtype):
    raw = torch.zeros(4 * dtype.itemsize, dtype=torch.uint8)
    hashes = {tensors_hash({"a": raw.view(dtype)})}
    for position in range(len(raw)):
        changed = raw.clone()
        changed[position] = 1
        hashes.add(tensors_hash({"a": changed.view(dtype)}))
    assert len(hashes) == 1 + len(raw)


def test_the_hash_of_tensors_changes_with_name_dtype_shape_and_number():
    zeros = torch.zeros(4)
    different = [
        {}, {"a": zeros}, {"b": zeros}, {"a": zeros, "b": zeros}, {"a": zeros.view(2, 2)},
        {"a": zeros.view(torch.int32)}, {"a": torch.zeros(())}, {"a": torch.zeros(1)},
        {"a": torch.zeros(0)}, {"a": torch.zeros(0, 2)}, {"a": -zeros},
    ]  # fmt: skip
    assert len({tensors_hash(tensors) for tensors in different}) == len(different)
