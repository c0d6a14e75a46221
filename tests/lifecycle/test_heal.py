"""`make heal`: statistics of recent images, frozen; only for looks, only if labelled twins gain; a watch of its own."""

import contextlib
import json

import numpy as np
import pytest
import torch
from changed import CHANGED, USUAL, change_a_world, write_all
from halves import LIGHT, images
from PIL import Image
from torch import nn

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.corruptions.faults import REVERSIBLE, change
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.stream.detector import StreamDetector
from drift_detector_pipeline.errors import ConfigError, DataError, ModelError
from drift_detector_pipeline.lifecycle.gating.gate_images import changed_at_random
from drift_detector_pipeline.lifecycle.mending.frozen import freeze, predictions, twin_gain
from drift_detector_pipeline.lifecycle.mending.heal import heal, of_alarm
from drift_detector_pipeline.lifecycle.mending.healable import refuse_cause
from drift_detector_pipeline.lifecycle.mending.recent import open_recent
from drift_detector_pipeline.lifecycle.mending.retrain import retrain
from drift_detector_pipeline.lifecycle.mending.undoing import undoing
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.executable import open_executable, open_session
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.release.graph import export_model
from drift_detector_pipeline.settings_in_use import Export, Heal, Retrain, Serving


class LeftHalf(nn.Module):
    """Says by the light of the left half alone which half is lighter; normalised, so statistics decide."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.head = nn.Linear(1, 2)
        self.norm.running_mean[:], self.norm.running_var[:] = LIGHT / 255, (12 / 255) ** 2
        self.head.weight.data[:], self.head.bias.data[:] = torch.tensor([[1.0], [-1.0]]), 0.0

    def forward(self, inputs):
        left = inputs[:, :, :, : inputs.shape[3] // 2].mean((1, 2, 3), keepdim=True)
        return self.head(self.norm(left).flatten(1))


@pytest.fixture
def network():
    return Network(LeftHalf().eval(), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None)


def dark(pixels, seed=0):
    return change(pixels, "dark", 2, keys=range(len(pixels)), seed=seed)


def accuracy(network, pixels, labels):
    return float((predictions(network, pixels) == labels).mean())


def test_statistics_of_recent_images_heal_a_change_of_light(network):
    recent, (pixels, labels) = dark(images(256, 1)[0]), images(400, 2)
    healed, chosen = freeze(network, recent, most=256, prior=16)
    assert accuracy(network, pixels, labels) > 0.95 and accuracy(network, dark(pixels), labels) < 0.6
    assert accuracy(healed, dark(pixels), labels) > 0.8
    assert len(chosen) == len(set(chosen.tolist())) == 256


def test_the_network_itself_is_left_as_it_is_and_the_copy_says_the_same_in_any_batch(network):
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    healed, _ = freeze(network, dark(images(128, 1)[0]), most=128, prior=16)
    assert all(torch.equal(before[name], value) for name, value in network.module.state_dict().items())
    pixels = dark(images(40, 3)[0])
    alone = np.concatenate([predictions(healed, one[None]) for one in pixels])
    assert np.array_equal(alone, predictions(healed, pixels))


def test_the_larger_the_prior_the_nearer_to_what_was(network):
    recent = dark(images(128, 1)[0])
    means = [freeze(network, recent, most=128, prior=prior)[0].module.norm.running_mean.item() for prior in (0, 128)]
    own, found = LIGHT / 255, means[0]
    assert found == pytest.approx(LIGHT / 2 / 255, abs=0.02)
    assert means[1] == pytest.approx((own + found) / 2, abs=1e-4)


def test_of_frequent_classes_no_more_images_are_taken_than_of_rare_ones(network):
    pixels, labels = images(600, 4)
    some = np.concatenate([np.flatnonzero(labels == 0)[:200], np.flatnonzero(labels == 1)[:50]])
    _, chosen = freeze(network, pixels[some], most=96, prior=16)
    counts = np.bincount(predictions(network, pixels[some][chosen]), minlength=2)
    assert abs(int(counts[0]) - int(counts[1])) <= 2


def test_a_gain_on_labelled_twins_is_told_from_none(network):
    pixels, labels = images(300, 5)
    healed, _ = freeze(network, dark(images(256, 1)[0]), most=256, prior=16)
    gain = twin_gain(network, healed, pixels, labels, [("dark", 2)])
    assert gain.low > 0.2 and gain.n == 300
    assert twin_gain(network, network, pixels, labels, [("dark", 2)]).low <= 0
    assert twin_gain(healed, network, pixels, labels, [("dark", 2)]).low < -0.2


def test_a_network_without_batch_norm_is_refused(network):
    plain = network._replace(module=nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 2)))
    with pytest.raises(ModelError, match="no BatchNorm in this network"):
        freeze(plain, images(64, 1)[0], most=64, prior=16)


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        ("class mix", "looks are as they were"),
        ("fog and dark", "two at once"),
        ("fogg", "no change that can be made; choose from fog, "),
    ],
)
def test_what_no_statistics_can_heal_is_refused_in_a_sentence(cause, why):
    with pytest.raises(ConfigError, match=why):
        refuse_cause(cause)


@pytest.mark.parametrize("fault", REVERSIBLE)
def test_behind_its_inverse_a_network_answers_changed_images_as_it_answered_them_before(fault):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 14 * 14, 4)).eval()
    network = Network(module, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), None)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    arriving = change(pixels, fault, 1, keys=range(6))
    ways = [through(one.module, one.mean, one.std) for one in (network, undoing(network, fault))]
    before, after = (way(given).logits.numpy() for way, given in zip(ways, (pixels, arriving), strict=True))
    assert np.abs(ways[0](arriving).logits.numpy() - before).max() > 0.01
    np.testing.assert_allclose(after, before, atol=1e-5)
    adapted = [way.adapted(given)(given).logits.numpy() for way, given in zip(ways, (pixels, arriving), strict=True)]
    np.testing.assert_allclose(adapted[1], adapted[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["turned_270", "mirrored", "swapped_channels", "inverted"])
def test_the_exported_file_has_the_inverse_in_it(fault, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 14 * 14, 4)).eval()
    network = Network(module, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), None)
    scale = network.mean, network.std
    export_model(undoing(network, fault).module, scale, 16, tmp_path / "model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    said = open_session(tmp_path / "model.onnx", "onnxruntime", "fp32")(
        {"images": change(pixels, fault, 1, keys=range(6))}
    )
    np.testing.assert_allclose(said["logits"], through(module, *scale)(pixels).logits.numpy(), atol=1e-5)


def test_only_what_has_an_exact_inverse_is_undone(network):
    with pytest.raises(ValueError, match="got 'fog'"):
        undoing(network, "fog")


def test_copies_and_broken_files_do_not_count_as_recent_images(tmp_path):
    pixels = images(70, 6)[0]
    for number, image in enumerate([*pixels, *pixels[:20]]):
        Image.fromarray(image).save(tmp_path / f"{number:03}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    files, settings = sorted(tmp_path.iterdir()), load_section(Heal, [])
    recent = open_recent(files, Preparation(16, 16), settings.images)
    assert (len(recent.crops), len(recent.paths), recent.left_out) == (70, 70, 21)
    with pytest.raises(DataError, match="30 different readable images of 30; at least 64"):
        open_recent(files[:30], Preparation(16, 16), settings.images)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with a run on digits and its artefact; the settings of its data."""
    folder = tmp_path_factory.mktemp("digits")
    words = [
        "data=digits", "data.processed_path=digits", "data.stored_side_px=16", "data.img_size=16",
        "model.name=conv_small", "model.options.channels=[16, 32]", "training.epochs=6",
        "training.learning_rate=0.01", "run.device=cpu", "run.precision=fp32", "run.threads=1",
        "data.dataloader_workers=0", "hydra.run.dir=run",
    ]  # fmt: skip
    with contextlib.chdir(folder):
        settings = load(words).settings
        process(settings.data)
        assert train(load(words)).exit_status == 0
        export_run(folder / "run", load_section(Export, ["export.path=models/artefact"]))
        yield folder, settings.data


def blurred(crops, place):
    """Files of images that changed in a way that has no inverse."""
    files = [place / f"blurred{number}.png" for number in range(len(crops))]
    for path, image in zip(files, change(crops, "gaussian_blur", 3, keys=range(len(crops))), strict=True):
        Image.fromarray(image).save(path)
    return files


def right_of(artefact, crops, labels):
    return float((open_executable(artefact).say(crops).logits.argmax(1) == labels).mean())


@pytest.mark.slow
def test_digits_in_fog_are_healed_and_the_healed_model_is_at_home_there(digits, tmp_path):
    folder, own_data = digits
    data = open_processed(own_data)
    roles = roles_of(data)
    usual = crops_of(data, roles.pool, 16)
    ref, pool = (
        changed_at_random(crops, [("fog", 3)], places, 7)
        for crops, places in ((crops_of(data, roles.ref, 16), roles.ref), (usual, roles.pool))
    )
    files = [tmp_path / f"{number}.png" for number in range(len(ref) + 100)]
    for path, image in zip(files, [*ref, *usual[:100]], strict=True):
        Image.fromarray(image).save(path)
    how = {"cause": "fog", "severity": 3.0, "settings": load_section(Heal, []), "place": folder / "models"}
    with pytest.raises(ConfigError, match="179 of 279 recent images have changed"):
        heal(folder / "models/artefact", files, **how)
    version, _ = heal(folder / "models/artefact", files[:-60], **how)  # a few came before the fog
    made, before = read_artefact(folder / "models/versions" / version), read_artefact(folder / "models/artefact")
    told = json.loads((made.folder / "heal.json").read_text())
    assert told["twins"]["low"] > 0 and told["reference_images"] == 90
    own = {int(name.removesuffix(".png")) for name in told["images"]}
    assert len(own) == 89 and max(own) < 179  # half of those that changed
    assert (told["images_given"], told["images_left_out"]) == (219, 40)
    assert (made.facts["run"], made.receipt_sha256) == (before.facts["run"], before.receipt_sha256)
    detectors = [DriftDetector.load(one.folder, open_executable(one)) for one in (before, made)]
    found = [detector.check(pool[:100]) for detector in detectors]
    assert found[0].level != "quiet" and found[1].level == "quiet"
    watches = [StreamDetector(detector) for detector in detectors]
    assert [watch.update(pool) is None for watch in watches] == [False, True]
    labels = data.images.labels[roles.pool]
    assert right_of(made, pool, labels) > right_of(before, pool, labels) + 0.05
    trained = read_artefact(folder / "models/versions" / trained_on(made, files[:179]))
    assert json.loads((trained.folder / "retrain.json").read_text())["reference_images"] == 179
    assert DriftDetector.load(trained.folder, open_executable(trained)).check(pool[:100]).level == "quiet"
    assert right_of(trained, pool, labels) > right_of(made, pool, labels)


def trained_on(healed, images):
    """A version of the healed one that learned from twins, and knows the world of `images`."""
    settings = load_section(Retrain, ["retrain.further_epochs=4", "retrain.learning_rate_factor=0.5"])
    return retrain(
        healed.folder, cause="fog", severity=3.0, images=images, settings=settings, place=healed.folder.parents[1]
    )


@pytest.mark.slow
def test_what_nobody_knows_and_no_inverse_explains_is_left_to_people(digits, tmp_path):
    folder, own_data = digits
    data = open_processed(own_data)
    crops = crops_of(data, roles_of(data).pool[:80], 16)
    files = blurred(crops, tmp_path)
    for cause, why in (("unknown", "what has happened is not known"), ("unseen content", "something else is shown")):
        with pytest.raises(ConfigError, match=f"not healed, {why}"):
            heal(folder / "models/artefact", files, cause=cause, severity=None, settings=load_section(Heal, []))


@pytest.mark.slow
def test_digits_that_arrive_turned_are_turned_back_and_cost_nothing(digits, tmp_path):
    folder, own_data = digits
    data = open_processed(own_data)
    roles = roles_of(data)
    usual, labels = crops_of(data, roles.pool, 16), data.images.labels[roles.pool]
    turned = change(usual, "turned_90", 1, keys=range(len(usual)))
    files = [tmp_path / f"{number}.png" for number in range(100)]
    for path, image in zip(files, turned, strict=False):
        Image.fromarray(image).save(path)
    how = {"severity": None, "settings": load_section(Heal, []), "place": folder / "models"}
    with pytest.raises(ConfigError, match="inverted: not healed, the images do not look usual once it is undone"):
        heal(folder / "models/artefact", blurred(usual[:80], tmp_path), cause="inverted", **how)
    for taken_for in ("unknown", "upside_down"):  # undoing tells what it was
        version, found = heal(folder / "models/artefact", files, cause=taken_for, **how)
        assert found == "turned_90"
    made, before = read_artefact(folder / "models/versions" / version), read_artefact(folder / "models/artefact")
    told = json.loads((made.folder / "heal.json").read_text())
    assert told["undoes"] == "turned_90" and len(told["images"]) == 100
    card = (made.folder / "MODEL_CARD.md").read_text()
    assert made.facts["undoes"] == "turned_90" and "images that arrive turned a quarter to the left" in card
    assert made.facts["accuracy"] == pytest.approx(before.facts["accuracy"], abs=0.005)
    assert right_of(made, turned, labels) == right_of(before, usual, labels) > right_of(before, turned, labels) + 0.4
    at_home = DriftDetector.load(made.folder, open_executable(made))
    assert at_home.check(turned[100:]).level == "quiet" and at_home.check(usual[:100]).level != "quiet"
    assert at_home.reference.labelled
    with pytest.raises(ConfigError, match="already undoes turned_90, and two changes at once are not healed"):
        heal(made.folder, files, cause="fog", **how)


def test_by_an_alarm_only_images_since_its_change_are_taken(models, tmp_path):
    changed = change_a_world(f"sqlite:///{tmp_path}/log.sqlite", models)
    photos = write_all(changed.contents, tmp_path / "photos")
    changed.log.close()
    serving = load_section(Serving, [f"serving.database=sqlite:///{tmp_path}/log.sqlite"])
    given = of_alarm(str(changed.alarm.id), photos, serving)
    assert (given.cause, given.severity, len(given.paths)) == ("brightness", None, CHANGED)
    assert [path.read_bytes() for path in given.paths] == changed.contents[USUAL:]
    with pytest.raises(ConfigError, match=r"where are its images\? IMAGES=FOLDER"):
        of_alarm(str(changed.alarm.id), None, serving)
    with pytest.raises(DataError, match="99"):
        of_alarm("99", photos, serving)
