"""Networks by name, what they start from, and what of them learns."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, needs_clone
from safetensors.torch import save
from torch.nn import functional

from drift_detector_pipeline.config import group_choices, load
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD
from drift_detector_pipeline.networks.models import build, create, seed_everything, set_training
from drift_detector_pipeline.networks.pretrained import load_pretrained
from drift_detector_pipeline.networks.weights import describe, save_weights

SIDE, CLASSES = 32, 5
BOXES = {"fasterrcnn", "fasterrcnn_lite0", "yolox", "yolox_lite0"}  # presets of networks that find things
FROM_A_WHEEL = {"lite0"}  # presets that start from weights which need no hub
TIMM = ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050", "swin_tiny_patch4_window7_224"]
SMALL = ("model.name=resnet18", "model.options.channels=[8,8,8,8]", "model.options.layers=[1,1,1,1]")


def network(*overrides, classes=CLASSES, side_px=SIDE, seed=0):
    seed_everything(seed)
    return build(load(["data=digits", *overrides]).settings.model, classes, side_px)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(group_choices()["model"]) - {"default", *BOXES}))
def test_every_preset_is_a_network_for_images_of_64_px_and_changes_the_name_alone(name):
    settings, default = (load(["data=digits", *words]).settings.model for words in ([f"model={name}"], []))
    with torch.device("meta"):  # laid out, without drawing the weights
        laid_out = create(settings.name, CLASSES, 64, settings.options)
    assert tuple(laid_out.eval()(torch.empty(2, 3, 64, 64, device="meta")).shape) == (2, CLASSES)
    assert settings.pretrained == (name in FROM_A_WHEEL)
    assert settings.model_copy(update={"name": default.name, "pretrained": default.pretrained}) == default


def test_a_preset_given_on_the_command_line_wins_over_an_experiments_own():
    assert load(["+experiment=cifar10"]).settings.model.name == "conv_small"
    assert load(["+experiment=cifar10", "model=mlp"]).settings.model.name == "mlp"
    assert load(["model=mlp", "model.name=resnet34"]).settings.model.name == "resnet34"


def module(*overrides, **options):
    return network(*overrides, **options).module


def said(capsys):
    printed = capsys.readouterr()
    return printed.out + printed.err


def copy_of(state):
    return {name: tensor.clone() for name, tensor in state.items()}


def moved(module, before):
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def learn(module, steps=3):
    """Real steps in training mode, weight decay included."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
    set_training(module)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(module(torch.rand(4, 3, SIDE, SIDE) + 1), torch.arange(4)).backward()
        optimizer.step()


@pytest.mark.parametrize("name", [*TIMM, "mlp", "conv_small"])
def test_a_model_by_name_takes_the_image_size_of_the_data_and_has_its_classes(name):
    found = module(f"model.name={name}").eval()
    assert found(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, CLASSES)


@pytest.mark.parametrize("name", ["mlp", "conv_small", "resnet18"])
def test_random_weights_are_a_function_of_the_seed(name):
    first, same, other = (module(f"model.name={name}", seed=seed) for seed in (1, 1, 2))
    assert not moved(same, first.state_dict())
    assert moved(other, first.state_dict())


def test_the_stem_of_conv_small_whitens_smooth_patches_and_never_learns():
    stem = module("model.name=conv_small").stem
    images = functional.interpolate(torch.randn(64, 3, 9, 9), (32, 32), mode="bilinear") + torch.randn(64, 1, 1, 1)
    basis, patches = stem.basis.flatten(1), functional.unfold(images, 2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(12))

    def correlation(values):
        return (torch.corrcoef(values.T) - torch.eye(12)).abs().mean()

    assert correlation(patches @ basis.T) < correlation(patches) / 5
    assert list(stem.parameters()) == []
    out = stem(images)
    assert out.shape == (64, 24, 31, 31)
    scaled = stem.scale(functional.conv2d(images, stem.basis))
    torch.testing.assert_close(scaled.std((0, 2, 3), correction=0), torch.ones(12), atol=1e-2, rtol=0)


def test_a_stem_that_looks_first_makes_patches_of_its_images_white_and_leaves_networks_that_do_not_alone():
    found = module("model.name=conv_small", "model.options.whitening=images")
    assert found.looks_first and not module("model.name=conv_small").looks_first
    images = functional.interpolate(torch.randn(64, 3, 9, 9), (32, 32), mode="bilinear") + torch.randn(64, 1, 1, 1)
    found.look_at(images)
    white = functional.conv2d(images, found.stem.basis).transpose(0, 1).flatten(1)
    strong = white.square().mean(1) > 0.5  # where there is more than noise
    moments = white[strong] @ white[strong].T / white.shape[1]
    torch.testing.assert_close(moments, torch.eye(int(strong.sum())), atol=0.2, rtol=0)
    assert strong.sum() >= 3


def test_without_a_scale_batchnorm_computes_what_a_scale_of_1_would():
    bare, full = module("model.name=conv_small", "model.options.norm_scale=false"), module("model.name=conv_small")
    assert {name for name in full.state_dict() if name not in bare.state_dict()} == {
        f"groups.{group}.{place}.weight" for group in range(3) for place in (2, 5)
    }
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(bare(images), full(images))
    assert torch.equal(bare.eval()(images), full.eval()(images))


def test_the_first_group_of_conv_small_can_be_frozen():
    found = module("model.name=conv_small", "model.options.channels=[8,8,8]", "model.frozen_stages=1")
    before = copy_of(found.state_dict())
    learn(found)
    stays = {name for name in before if name.startswith("groups.0.")} | {"stem.basis"}
    assert moved(found, before) == set(before) - stays


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ModelError, match=r"model\.name=resnet81: no such timm model; the nearest are resnet18, "):
        module("model.name=resnet81")
    with pytest.raises(ModelError, match=r"the nearest are mlp, "):
        module("model.name=mpl")


@pytest.mark.parametrize("name", ["resnet18", "conv_small", "mlp"])
def test_an_unknown_option_is_named(name):
    with pytest.raises(ModelError, match=rf"model\.name={name} does not take .*colour"):
        module(f"model.name={name}", "model.options.colour=red")


def test_an_option_reaches_the_model():
    assert module("model.name=mlp", "model.options.width=7")[2].out_features == 7
    assert module("model.name=resnet18", "model.options.drop_rate=0.25").drop_rate == 0.25


def test_options_that_change_what_goes_in_or_out_are_refused():
    with pytest.raises(ModelError, match="cannot take images of 32 px"):
        module("model.name=resnet18", "model.options.in_chans=1")
    with pytest.raises(ModelError, match=r"check model\.options|cannot take images"):
        module("model.name=resnet18", "model.options.features_only=true")


def test_an_image_too_small_for_the_model_is_refused_before_training():
    with pytest.raises(ModelError, match=r"inception_v3: it cannot take images of 32 px .*data\.img_size"):
        module("model.name=inception_v3")


def test_a_number_of_classes_that_is_not_that_of_the_data_is_refused():
    assert module("model.num_classes=5", *SMALL).num_classes == CLASSES
    with pytest.raises(ModelError, match=r"model\.num_classes=7, but the data has 5 classes"):
        module("model.num_classes=7", *SMALL)


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_frozen_stages_stay_bit_equal_through_training_and_later_ones_move(stages):
    frozen = ["conv1", "bn1", "layer1", "layer2"][: stages + 1]
    found = module(*SMALL, f"model.frozen_stages={stages}")
    before = copy_of(found.state_dict())
    learn(found)
    assert moved(found, before) == {name for name in before if name.split(".")[0] not in frozen}


def test_without_frozen_stages_everything_moves():
    found = module(*SMALL)
    before = copy_of(found.state_dict())
    learn(found)
    assert moved(found, before) == set(before)


def test_the_first_blocks_of_a_transformer_can_be_frozen():
    found = module("model.name=vit_tiny_patch16_224", "model.options.depth=3", "model.frozen_stages=2")
    before = copy_of(found.state_dict())
    learn(found)
    stay = ("cls_token", "pos_embed", "patch_embed", "blocks.0.")
    assert moved(found, before) == {name for name in before if not name.startswith(stay)}


def test_freezing_everything_or_a_model_without_stages_is_refused():
    with pytest.raises(ModelError, match=r"model\.frozen_stages=9: the model has 6 stages"):
        module(*SMALL, "model.frozen_stages=9")
    with pytest.raises(ModelError, match="this model has no stages; use 0"):
        module("model.name=mlp", "model.frozen_stages=1")


def save_own(path, source, classes=CLASSES, mean=(0.5, 0.5, 0.5)):
    settings = load(["data=digits", *SMALL]).settings.model
    description = describe(settings, source._replace(mean=mean), [str(k) for k in range(classes)], SIDE, SIDE, "fp32")
    save_weights(path, source.module.state_dict(), description)
    return path


def test_weights_written_by_this_package_are_taken_with_their_normalisation_and_hash(tmp_path):
    source = network(*SMALL, seed=1)
    path = save_own(tmp_path / "w.safetensors", source)
    found = network(*SMALL, f"model.pretrained_path={path}", seed=2)
    assert not moved(found.module, source.module.state_dict())
    assert found.mean == (0.5, 0.5, 0.5)
    assert found.pretrained_sha256 is not None
    assert len(found.pretrained_sha256) == 64


def prefixed(prefix):
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"state_dict": state}, "optimizer": {"lr": 0.1}},
        lambda state: {"ema": state, "step": 7},
        lambda state: {"model_state_dict": prefixed("module.")(state), "args": None},
        prefixed("module."), prefixed("backbone."), prefixed("model."), prefixed("_orig_mod."),
        prefixed("module.model.backbone."), prefixed("_orig_mod.module.net."),
        lambda state: prefixed("module.")(state) | {"n_averaged": torch.tensor(5)},
        lambda state: prefixed("model.")(state) | {"criterion.weight": torch.ones(3)},
        prefixed("my_cnn."),
        lambda state: {"state_dict": prefixed("module.encoder_q.")(state) | {"module.queue": torch.ones(3)}},
        lambda state: {"student": {"x": torch.ones(1)}, "teacher": prefixed("backbone.")(state), "epoch": 3},
        lambda state: {"weights": state, "optimizer": {"state": {0: {"step": torch.tensor(1)}}}},
        lambda state: {"state_dict": {}, "checkpoint": {"params": state}},
        lambda state: state | {"epoch": 3, "arch": "a name"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["mlp", "vit_tiny_patch16_224"])
@pytest.mark.slow
def test_a_state_dict_is_taken_under_any_usual_key_and_prefix(name, wrap, tmp_path):
    source = module(f"model.name={name}", seed=1)
    torch.save(wrap(source.state_dict()), path := tmp_path / "w.pth")
    found = network(f"model.name={name}", f"model.pretrained_path={path}", seed=2)
    assert not moved(found.module, source.state_dict())


def test_of_several_state_dicts_the_fitting_one_is_taken_and_said(tmp_path, capsys):
    set_up_logging()
    source = module("model.name=mlp", seed=1).state_dict()
    other = {name: torch.zeros_like(value) for name, value in source.items()}
    inside = {"generator": {"a.weight": torch.ones(2)}, "discriminator": prefixed("encoder_x.")(source), "old": other}
    inside["itself"] = inside  # as no program writes it, but anybody may
    torch.save(inside, path := tmp_path / "w.pth")
    assert not moved(module("model.name=mlp", f"model.pretrained_path={path}", seed=2), source)
    told = said(capsys)
    assert "w.pth: of generator, discriminator, old, itself, the weights under discriminator are taken" in told
    assert "w.pth: the names of this model's tensors begin with encoder_x. there" in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value * float("nan"), r"6 of its tensors, such as 2\.weight, hold values that are no numbers"),
        (lambda value: value.to(torch.int8), r"6 of a different shape or kind"),
        (lambda value: value.to(torch.complex64), r"6 of a different shape or kind"),
    ],
)
def test_weights_that_are_no_numbers_or_of_another_kind_are_refused(change, words, tmp_path):
    state = {name: change(value) for name, value in module("model.name=mlp").state_dict().items()}
    torch.save(state, path := tmp_path / "w.pth")
    with pytest.raises(ModelError, match=words):
        module("model.name=mlp", f"model.pretrained_path={path}")


def test_infinite_bounds_in_a_buffer_are_taken_but_no_nan(tmp_path):
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    layer.register_buffer("bound", torch.tensor(float("inf")))
    torch.save(layer.state_dict(), path := tmp_path / "w.pth")
    load_pretrained(layer, path)
    torch.save(layer.state_dict() | {"bound": torch.tensor(float("nan"))}, path)
    with pytest.raises(ModelError, match="such as bound, hold values that are no numbers"):
        load_pretrained(layer, path)


@pytest.mark.parametrize("name", ["w.pth", "w.SAFETENSORS", "w"])
def test_safetensors_are_known_by_their_bytes(name, tmp_path):
    state = module("model.name=mlp", seed=1).state_dict()
    (path := tmp_path / name).write_bytes(save(state))
    assert not moved(module("model.name=mlp", f"model.pretrained_path={path}", seed=2), state)


@pytest.mark.parametrize("name", ["resnet18", "conv_small"])
def test_counters_of_batchnorm_may_be_missing_and_count_from_0(name, tmp_path, capsys):
    set_up_logging()
    source = module(f"model.name={name}", seed=1).state_dict()
    counters = {key for key in source if key.endswith("num_batches_tracked")}
    assert counters
    torch.save({key: value for key, value in source.items() if key not in counters}, path := tmp_path / "w.pth")
    found = module(f"model.name={name}", f"model.pretrained_path={path}", seed=2)
    assert not moved(found, source)
    assert f"w.pth: has no num_batches_tracked of {len(counters)} layers; they count from 0" in said(capsys)


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ({}, "w.pth: has no head of this model; the head starts afresh"),
        ({"projector.0.weight": torch.ones(2, 2)}, "w.pth: tensors left out as not of this model: 1"),
    ],
)
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "deit_tiny_distilled_patch16_224"])
def test_a_body_without_its_head_or_with_another_one_is_taken(name, beside, words, tmp_path, capsys):
    set_up_logging()
    source = module(f"model.name={name}", seed=1).state_dict()
    head = {key for key in source if key.rsplit(".", 1)[0] in {"fc", "head.fc", "head", "head_dist"}}
    assert head
    torch.save({key: value for key, value in source.items() if key not in head} | beside, path := tmp_path / "w.pth")
    fresh = module(f"model.name={name}", seed=2).state_dict()
    found = module(f"model.name={name}", f"model.pretrained_path={path}", seed=2).state_dict()
    assert all(torch.equal(found[key], fresh[key] if key in head else source[key]) for key in found)
    assert words in said(capsys)


def test_a_deeper_model_without_its_head_is_still_another_model(tmp_path):
    deeper = module("model.name=resnet34").state_dict()
    headless = {key: value for key, value in deeper.items() if not key.startswith("fc.")}
    torch.save(headless, path := tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"\d+ foreign"):
        module("model.name=resnet18", f"model.pretrained_path={path}")


def test_more_layers_beside_a_whole_head_are_another_model(tmp_path):
    state = module("model.name=resnet18").state_dict() | {"attention.weight": torch.ones(2, 2)}
    torch.save(state, path := tmp_path / "w.pth")
    with pytest.raises(ModelError, match="0 tensors missing, 1 foreign"):
        module("model.name=resnet18", f"model.pretrained_path={path}")


@pytest.mark.parametrize(
    "header",
    [
        "resnet18", "[1]", '{"format": "pt"}', '{"preprocessing": null}', '{"preprocessing": [1]}',
        '{"preprocessing": {"mean": [0.5], "std": [0.5]}}', '{"preprocessing": {"mean": [0, 0, 0], "std": [1, 1, 0]}}',
        '{"preprocessing": {"mean": "abc", "std": [1, 1, 1]}}',
        '{"preprocessing": {"mean": [0, NaN, 0], "std": [1, 1, 1]}}',
        '{"preprocessing": {"mean": [123, 116, 103], "std": [58, 57, 57]}}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_safetensors_of_others_may_say_anything_of_themselves(header, tmp_path):
    state = module("model.name=mlp", seed=1).state_dict()
    (path := tmp_path / "w.safetensors").write_bytes(save(state, metadata={"model": header}))
    found = network("model.name=mlp", f"model.pretrained_path={path}", seed=2)
    assert not moved(found.module, state)
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_weights_of_a_timm_model_bring_the_normalisation_that_timm_gives_it(tmp_path):
    torch.save(module("model.name=vit_tiny_patch16_224").state_dict(), path := tmp_path / "w.pth")
    assert network("model.name=vit_tiny_patch16_224", f"model.pretrained_path={path}").mean == (0.5, 0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "resnet18", "convnext_atto", "deit_tiny_distilled_patch16_224"])
def test_only_the_head_starts_afresh_for_another_number_of_classes(name, tmp_path):
    source = module(f"model.name={name}", classes=7, seed=1).state_dict()
    torch.save(source, path := tmp_path / "w.pth")
    fresh = module(f"model.name={name}", seed=2).state_dict()
    found = module(f"model.name={name}", f"model.pretrained_path={path}", seed=2).state_dict()
    head = {name for name in found if found[name].shape != source[name].shape}
    assert {name.rsplit(".", 1)[0] for name in head} <= {"6", "fc", "head.fc", "head", "head_dist"}
    assert all(torch.equal(found[name], fresh[name] if name in head else source[name]) for name in found)


def test_other_shapes_than_those_of_the_head_are_refused(tmp_path):
    torch.save(module("model.name=vit_tiny_patch16_224", side_px=64).state_dict(), path := tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"1 of a different shape.*data\.img_size"):
        module("model.name=vit_tiny_patch16_224", f"model.pretrained_path={path}")


def test_weights_of_another_architecture_are_refused(tmp_path):
    torch.save(module("model.name=mlp").state_dict(), path := tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"not weights of this model \(\d+ tensors missing, 6 foreign"):
        module(*SMALL, f"model.pretrained_path={path}")


@pytest.mark.parametrize("content", [b"", b"no weights at all\n" * 20, bytes(range(256)) * 8])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_that_holds_no_weights_is_refused(suffix, content, tmp_path):
    (path := tmp_path / f"w.{suffix}").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.\w+: no safetensors or \.pth file"):
        module("model.name=mlp", f"model.pretrained_path={path}")


@pytest.mark.parametrize("value", [[1, 2], torch.zeros(3), {"0.weight": 1}])
def test_a_file_with_something_else_than_a_state_dict_is_refused(value, tmp_path):
    torch.save(value, path := tmp_path / "w.pth")
    with pytest.raises(ModelError, match="state dict"):
        module("model.name=mlp", f"model.pretrained_path={path}")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.pretrained_path=.*w\.pth: no such file"):
        module("model.name=mlp", f"model.pretrained_path={tmp_path}/w.pth")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(tmp_path):
    torch.save({"0.weight": Trap(tmp_path / "sprung")}, path := tmp_path / "w.pth")
    with pytest.raises(ModelError, match="pickled code is never run"):
        module("model.name=mlp", f"model.pretrained_path={path}")
    assert not (tmp_path / "sprung").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "sprung").exists()  # the trap is a real one


ASK_HUB = """
import sys
from drift_detector_pipeline.config import load
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.networks.models import build
main = lambda: build(load(["data=digits", "model.pretrained=true"]).settings.model, 10, 32) and 0
sys.exit(exit_status(main)())
"""


def ask_hub(cache, **environment):
    """Ask for pretrained weights in a process of its own, whose hub is a local port and whose cache is empty."""
    variables = os.environ | {"HF_HOME": str(cache)} | environment
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", ASK_HUB], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: model.name=resnet18 model.pretrained=true: " in done.stderr
    assert "model.pretrained=false model.pretrained_path=FILE" in done.stderr
    return time.monotonic() - started


@pytest.mark.slow
def test_pretrained_weights_without_a_hub_are_an_error_with_the_remedy(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    ask_hub(tmp_path, HF_ENDPOINT=nobody)


@pytest.mark.slow
def test_a_hub_that_is_off_or_silent_costs_seconds_not_minutes(tmp_path):
    usual = ask_hub(tmp_path, HF_HUB_OFFLINE="1")  # on a busy machine most of it is importing
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        assert ask_hub(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}") < 2 * usual + 60


@pytest.mark.slow
def test_the_hub_is_told_nothing_of_this_machine(tmp_path, monkeypatch):
    clients = []

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            clients.append(self.headers["User-Agent"])
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *ignored):
            pass

    for name in ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        ask_hub(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")
        hub.shutdown()
    asked = [client for client in clients if "hf_hub/" in client]
    assert asked
    assert [client for client in asked if "torch/" in client or "agent/" in client] == []  # what telemetry adds


@needs_clone
def test_make_turns_the_hubs_telemetry_off_for_all_it_starts():
    command = ["make", "--no-print-directory", "--eval", "probe: ; @printenv HF_HUB_DISABLE_TELEMETRY", "probe"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "1\n"
