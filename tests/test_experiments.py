"""Every shipped configuration trains, for a few steps, from raw data to a receipt."""

import pytest
from conftest import CLASSES, make_folder, pack_tar
from drawn_boxes import draw_source
from drawn_clips import draw_videos
from small_detectors import BACKBONE

from drift_detector_pipeline import quickstart
from drift_detector_pipeline.config import CONF, load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import read_receipt

SAME = ("imagenette_watch", "imagenette_fast")  # one trains as the other
BOXES = {"bccd", "boxes", "coco", "kitti"}  # data sets of boxes
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml") if path.stem != SAME[0])
DATA_SETS = ("boxes", "clips", "folder")  # one of a kind: others differ in their source, which these tests replace
DESCRIBED = [path for group in ("data", "experiment") for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A tiny archive laid out as those of Imagenette and CIFAR-10: train/<class>/ and val/<class>/."""
    root = tmp_path_factory.mktemp("raw") / "tiny"
    for split, images in (("train", 12), ("val", 4)):
        make_folder(root / split, images, CLASSES)
    return pack_tar(root, root.with_suffix(".tgz"))


def shrunk(overrides, archive, tmp_path):
    """The overrides, and what makes a run of any configuration short: few tiny images, two epochs, small batches."""
    settings = load(overrides + needs_path(overrides, archive)).settings
    small = [
        f"data.processed_path={tmp_path}/processed", "data.stored_side_px=32", "data.img_size=32",
        "data.dataloader_workers=0", "training.epochs=2", "training.batch_size=8", "model.pretrained=false",
        "run.device=cpu", f"hydra.run.dir={tmp_path}/run",
    ]  # fmt: skip
    if settings.data.name in BOXES:
        source = draw_source(tmp_path / "source", images=30)
        small += [f"data.raw_path={source}", "data.source_archives=[]", "data.format=null"]
        small += [f"model.options.backbone={BACKBONE}"]
    elif settings.data.name == "clips":
        source = draw_videos(tmp_path / "source", sources=4, clips=3, frames=6, rate=6)
        small += [f"data.raw_path={source}", "data.k_frames=2"]
    elif settings.data.raw_path is None:
        small += ["data.val_fraction=0.01", "data.fit_fraction=0.98"]  # 36 images to train on
    else:
        small += [f"data.raw_path={archive}"]
    if settings.training.sizes_px is not None:
        small += ["training.sizes_px=[32,32]"]
    return [*overrides, *small]


def needs_path(overrides, archive):
    return [f"data.raw_path={archive}"] if {"data=folder", "data=boxes", "data=clips"} & set(overrides) else []


def assert_trains(overrides):
    composed = load(overrides)
    process(composed.settings.data)
    outcome = train(composed)
    receipt = read_receipt(outcome.folder)
    assert outcome.exit_status == 0
    assert receipt.final.epoch == 2
    assert receipt.final.step >= 4
    return receipt


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_SETS)
def test_every_kind_of_data_trains_with_the_default_model(name, archive, tmp_path):
    model = ["model=yolox"] if name in BOXES else []
    receipt = assert_trains(shrunk([f"data={name}", *model], archive, tmp_path))
    assert receipt.recorded["data"]["name"] == name
    assert receipt.recorded["model"]["name"] == load(["data=digits", *model]).settings.model.name


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains(name, archive, tmp_path):
    overrides = [f"+experiment={name}"]
    receipt = assert_trains(shrunk(overrides, archive, tmp_path))
    shipped = load(overrides).settings
    assert receipt.recorded["model"]["name"] == shipped.model.name
    assert receipt.recorded["training"]["optimizer"] == shipped.training.optimizer


@pytest.mark.parametrize("path", DESCRIBED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_configuration_says_what_it_is_in_its_first_lines(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#") and "@package" not in line]
    assert len(" ".join(head)) > 60


def test_the_preset_to_be_watched_is_the_fast_one_with_a_fit_split_and_a_folder_of_its_own():
    watch, fast = (load([f"+experiment={name}"]).settings.model_dump() for name in SAME)
    assert {key: (watch[key], fast[key]) for key in fast if watch[key] != fast[key] and key != "data"} == {}
    differing = {key for key in fast["data"] if watch["data"][key] != fast["data"][key]}
    assert differing == {"fit_fraction", "processed_path"}
    assert watch["data"]["fit_fraction"] == 0.1


@pytest.mark.slow
def test_the_quick_start_says_what_came_out_and_what_is_next(archive, tmp_path, monkeypatch, capsys):
    overrides = shrunk(["+experiment=quickstart"], archive, tmp_path)[1:]
    monkeypatch.setattr("sys.argv", ["quickstart", *overrides, "model.name=mlp"])
    assert quickstart.main() == 0
    said = capsys.readouterr().out
    receipt = read_receipt(tmp_path / "run")
    assert f"Accuracy   {100 * receipt.score:.1f} % on validation images" in said
    assert receipt.weights_sha256["final_model.safetensors"][:16] in said
    assert f"make reproduce RUN={tmp_path}/run" in said
    assert "make drift_demo " in said
    for name in ("predictions.png", "report.html"):
        assert f"{tmp_path}/run/evaluation/val/{name}" in said
        assert (tmp_path / "run" / "evaluation" / "val" / name).exists()
