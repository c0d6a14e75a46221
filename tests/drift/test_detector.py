"""The detector as people use it: a foreign model, files, arrays, a saved reference, and what is refused."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import ROOT
from PIL import Image

from drift_detector_pipeline.drift.decision import Limits
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.report import write_report
from drift_detector_pipeline.drift.scores.phi import describe_scores, phi
from drift_detector_pipeline.drift.scores.signals import Outputs, read_signals
from drift_detector_pipeline.drift.verdict_words import as_json, summary
from drift_detector_pipeline.errors import ConfigError, DataError, ModelError

pytestmark = pytest.mark.slow  # a detector is built first


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The names that the documented example defines, after it has run as it stands."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "drift" / "python.md").read_text(), re.DOTALL)[1]
    names, before = {}, Path.cwd()
    os.chdir(tmp_path_factory.mktemp("example"))
    try:
        exec(compile(code, "docs/drift/python.md", "exec"), names)  # what a reader would do with it
        names["folder"] = Path.cwd() / "detector"
    finally:
        os.chdir(before)
    return names


def test_the_documented_example_tells_clean_from_dark(example):
    clean, dark = example["clean"], example["dark"]
    assert (clean.level, dark.level) == ("quiet", "alert")
    assert clean.p > 0.01 >= dark.p > 0
    assert clean.accuracy.low <= clean.accuracy.accuracy <= clean.accuracy.high
    assert dark.accuracy.accuracy < clean.accuracy.accuracy
    assert "brightness" in {channel.name for channel in dark.channels if channel.moved}
    assert [channel.name for channel in clean.channels][-1] == "labels"
    assert "do not look like the training world" in summary(dark)[0]


def test_features_that_moved_while_looks_did_not_are_reported_as_content(example):
    """Scores of new images, but for two directions of the features, which are one spread aside."""
    detector, window = example["detector"], example["images"][example["new"]]
    signals = read_signals(window, detector.forward)
    scores = phi(signals, detector.reference.learned.parameters)
    groups = [score.group for score in describe_scores(detector.reference.learned.parameters)]
    assert groups[-3:] == ["features", "features", "strangers"]
    scores[:, -3:-1] += 1
    verdict = detector.check_scores(scores, signals.logits.argmax(axis=1))
    assert verdict.level == "notice" and verdict.p_values["features"] < verdict.p_values["distance"]
    assert any("What they show moved more than how they look" in words for words in summary(verdict))


def test_a_saved_detector_gives_the_same_verdict_and_is_small(example):
    again = DriftDetector.load(example["folder"], example["model"])
    window = example["images"][example["new"]]
    assert as_json(again.check(window)) == as_json(example["detector"].check(window))
    assert (example["folder"] / "reference.npz").stat().st_size < 1_000_000
    assert 10 <= len(again.thumbnails) <= 100


def test_limits_under_which_nothing_can_be_noticed_are_refused(example):
    detector = DriftDetector.load(example["folder"], example["model"])
    with pytest.raises(ConfigError, match=r"one statistic alone has a p of up to 0\.005 and would not be noticed"):
        detector.limits = Limits(alpha=0.001)
    assert detector.limits == Limits()
    detector.limits = Limits(alpha=0.001, permutations=4999)
    assert detector.check(example["images"][example["new"]] // 3).p <= 0.001


@pytest.mark.parametrize(
    "changes", [{"alpha": 0}, {"alpha": -1}, {"alpha": 2}, {"tolerated_loss": 1}, {"min_images": 0}]
)
def test_limits_out_of_range_are_refused(example, changes):
    with pytest.raises(ConfigError, match="expected 0 < alpha < 1"):
        DriftDetector.load(example["folder"], example["model"]).limits = Limits(**changes)


def test_files_and_arrays_and_known_scores_give_the_same_verdict(example, tmp_path):
    detector, window = example["detector"], example["images"][example["new"]]
    for place, image in enumerate(window):
        Image.fromarray(image).save(tmp_path / f"{place:03d}.png")
    expected = detector.check(window)
    assert expected.carrier_names == tuple(map(str, expected.carriers))
    (tmp_path / "000-broken.png").write_bytes(b"no image")
    found = detector.check(sorted(tmp_path.iterdir()))
    assert [Path(name).name for name in found.unreadable] == ["000-broken.png"]
    assert [Path(name).name for name in found.carrier_names] == [f"{place:03d}.png" for place in expected.carriers]
    assert found._replace(unreadable=(), carrier_names=expected.carrier_names) == expected
    signals = read_signals(window, detector.forward)
    scores = phi(signals, detector.reference.learned.parameters)
    alone = detector.check_scores(scores, signals.logits.argmax(axis=1))  # phi here in several threads: other last bits
    apart = {"accuracy": None, "channels": (), "carrier_names": ()}
    assert alone._replace(**apart) == expected._replace(**apart)
    assert alone.accuracy == pytest.approx(expected.accuracy, abs=1e-5)


def test_unreadable_files_are_left_out_and_named(example, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    Image.fromarray(example["images"][0]).save(tmp_path / "b.png")
    window = example["detector"].open(sorted(tmp_path.iterdir()))
    assert window.crops.shape == (1, 32, 32, 3)
    assert [name.endswith("a.png") for name in window.unreadable] == [True]
    assert example["detector"].check(sorted(tmp_path.iterdir())).level == "too few images"


def test_copies_are_counted_and_said(example):
    window = example["images"][example["new"]]
    assert example["detector"].check(window).copies == 0
    verdict = example["detector"].check(np.concatenate([window, window[:5]]))
    assert verdict.copies == 5
    assert "5 of them are copies of others" in summary(verdict)[1]


def test_words_do_not_claim_a_side_that_a_score_does_not_have(example):
    """Darker images whose blacks are brighter are not said to be brighter."""
    veiled = (example["images"][example["new"]] * 0.35 + 40).astype(np.uint8)
    verdict = example["detector"].check(veiled)
    brightness = next(channel for channel in verdict.channels if channel.name == "brightness")
    assert brightness.score == "black_level" and brightness.shift > 0
    moved = next(words for words in summary(verdict) if words.startswith("What moved"))
    assert "brightness changed (black_level" in moved
    assert "texture rose" not in moved and "texture fell" not in moved


def test_too_few_images_get_no_verdict(example):
    verdict = example["detector"].check(example["images"][:15])
    assert (verdict.level, verdict.images, verdict.p) == ("too few images", 15, None)
    assert "too few" in summary(verdict)[0]
    assert as_json(verdict)["p"] is None


def test_another_model_is_refused(example):
    with pytest.raises(ModelError, match=r"built for the model \w{64}, not for \w{64}.*DriftDetector\.build"):
        DriftDetector.load(example["folder"], torchvision.models.resnet18(num_classes=10))


def test_a_damaged_or_missing_reference_is_refused(example, tmp_path):
    with pytest.raises(DataError, match="make drift_reference"):
        DriftDetector.load(tmp_path, example["model"])
    for name in ("reference.npz", "reference.json"):
        (tmp_path / name).write_bytes((example["folder"] / name).read_bytes())
    (tmp_path / "reference.npz").write_bytes((tmp_path / "reference.npz").read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"not the file that reference\.json names"):
        DriftDetector.load(tmp_path, example["model"])


@pytest.mark.parametrize("facts", ["[]", "{}", "NO_PREPARATION"])
def test_facts_that_are_not_whole_are_refused(example, tmp_path, facts):
    for name in ("reference.npz", "reference.json"):
        (tmp_path / name).write_bytes((example["folder"] / name).read_bytes())
    if facts == "NO_PREPARATION":
        whole = json.loads((tmp_path / "reference.json").read_text())
        facts = json.dumps({name: value for name, value in whole.items() if name != "preparation"})
    (tmp_path / "reference.json").write_text(facts)
    with pytest.raises(DataError, match=r"damaged .* build it again"):
        DriftDetector.load(tmp_path, example["model"])


def test_a_number_that_changed_in_the_facts_is_noticed(example, tmp_path):
    for name in ("reference.npz", "reference.json"):
        (tmp_path / name).write_bytes((example["folder"] / name).read_bytes())
    whole = json.loads((tmp_path / "reference.json").read_text())
    (tmp_path / "reference.json").write_text(json.dumps(whole | {"accuracy": 0.123}))
    with pytest.raises(DataError, match=r"changed since it was written\); build it again"):
        DriftDetector.load(tmp_path, example["model"])


ODD = [None, -1, 0, 10**9, 10**400, 1.5, "", "x", [], [None], {}, [[]], True, [1e999] * 3]


def test_facts_with_a_part_that_is_missing_or_impossible_are_refused(example, tmp_path):
    (tmp_path / "reference.npz").write_bytes((example["folder"] / "reference.npz").read_bytes())
    whole = json.loads((example["folder"] / "reference.json").read_text())
    del whole["facts_sha256"]  # as before there were seals
    inside = whole["preparation"]
    headers = (
        [("preparation", odd) for odd in ODD] + [("classes", odd) for odd in ODD] + [("sha256", odd) for odd in ODD]
    )
    headers += [
        (name, odd) for name in ("accuracy", "share_wrong_expected") for odd in (None, "x", "0.5", [], {}, 1e999)
    ]
    for part in ("side_px", "stored_side_px", "mean", "std"):
        headers += [("preparation", inside | {part: odd}) for odd in ODD]
        headers += [("preparation", {name: value for name, value in inside.items() if name != part})]
    headers += [("preparation", inside | {part: 3}) for part in ("early", "classifier")]
    for part, value in headers:
        (tmp_path / "reference.json").write_text(json.dumps(whole | {part: value}))
        with pytest.raises(DataError, match=r"damaged .* build it again|not the file that"):
            DriftDetector.load(tmp_path, example["model"])


@pytest.mark.parametrize("text", ["null", "3", "[" * 100_000, '{"classes": ' * 50_000, "", "NaN"])
def test_facts_that_are_no_object_are_refused(example, tmp_path, text):
    (tmp_path / "reference.npz").write_bytes((example["folder"] / "reference.npz").read_bytes())
    (tmp_path / "reference.json").write_text(text)
    with pytest.raises(DataError, match=r"damaged .* build it again"):
        DriftDetector.load(tmp_path, example["model"])


@pytest.mark.parametrize(
    ("name", "wrong", "why"),
    [
        ("phi", lambda phi: phi[:-1], r"predicted of shape \(\d+,\) does not fit"),
        ("phi", lambda phi: np.full_like(phi, np.nan), "phi holds numbers that are not finite"),
        ("risk.centre", lambda centre: centre[:-1], "risk.weights of shape .* does not fit"),
        ("scores.centre", lambda centre: np.array(["x"] * len(centre)), "scores.centre is of <U1"),
        ("scores.covariance", lambda covariance: covariance[None], "scores.covariance of shape .* does not fit"),
        ("cause.kinds", lambda kinds: np.zeros(len(kinds)), "cause.kinds is of float64"),
    ],
)
def test_arrays_that_do_not_fit_one_another_are_refused_even_under_their_own_hash(example, tmp_path, name, wrong, why):
    with np.load(example["folder"] / "reference.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "reference.npz", **arrays | {name: wrong(arrays[name])})
    whole = json.loads((example["folder"] / "reference.json").read_text())
    del whole["facts_sha256"]  # as before there were seals
    sha256 = hashlib.sha256((tmp_path / "reference.npz").read_bytes()).hexdigest()
    (tmp_path / "reference.json").write_text(json.dumps(whole | {"sha256": sha256}))
    with pytest.raises(DataError, match=rf"damaged .*{why}.* build it again"):
        DriftDetector.load(tmp_path, example["model"])


def test_a_detector_that_was_loaded_and_changed_can_be_saved_and_loaded(example, tmp_path):
    detector = DriftDetector.load(example["folder"], example["model"])
    old = detector.reference
    detector.reference = old._replace(scores=old.scores[:200], predicted=old.predicted[:200])
    detector.save(tmp_path)
    again = DriftDetector.load(tmp_path, example["model"])
    assert len(again.reference.scores) == 200
    assert again.facts["images"] == 200


class Callable:
    """A model that is no module: a random linear map of 8 x 8 averages."""

    identity = "random map 1"

    def __call__(self, images):
        small = torch.from_numpy(images).float().permute(0, 3, 1, 2)
        features = torch.nn.functional.adaptive_avg_pool2d(small, 8).flatten(1) / 255
        weights = torch.randn(192, 10, generator=torch.Generator().manual_seed(0))
        return Outputs(features @ weights, features)


def test_a_function_will_do_and_names_its_own_identity(example, tmp_path):
    images, labels = example["images"], example["labels"]
    detector = DriftDetector.build(Callable(), images[:200], labels[:200], images[200:400], twins=40)
    detector.save(tmp_path)
    verdict = DriftDetector.load(tmp_path, Callable()).check(255 - images[400:440])
    assert verdict.level in ("notice", "alert")
    assert not detector.reference.labelled
    with pytest.raises(ModelError, match="attribute `identity`"):
        DriftDetector.load(tmp_path, lambda images: None)
    other = Callable()
    other.identity = "random map 2"
    with pytest.raises(ModelError, match="built for the model"):
        DriftDetector.load(tmp_path, other)


def test_images_of_another_kind_are_refused(example):
    with pytest.raises(DataError, match=r"expected uint8 \(m, H, W, 3\) or paths"):
        example["detector"].check(example["images"].astype(np.float32))
    with pytest.raises(DataError, match="side_px"):
        DriftDetector.build(example["model"], ["a.png"], np.zeros(1, np.int64), ["b.png"])
    with pytest.raises(DataError, match="expected a list of paths"):
        example["detector"].check("some/folder")
    for images in (list(example["images"][:20]), torch.zeros(20, 8, 8, 3), Image.new("RGB", (8, 8))):
        with pytest.raises(DataError, match=r"expected uint8 .* or a list of paths, got a"):
            example["detector"].check(images)
    with pytest.raises(DataError, match=r"expected uint8 \(m, H, W, 3\) or paths"):
        example["detector"].check(np.zeros((20, 0, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"crops: expected uint8 \(m, 32, 32, 3\)"):
        example["detector"].check_crops(np.zeros((20, 16, 16, 3), np.uint8))


def test_scores_that_do_not_fit_are_refused(example):
    detector = example["detector"]
    scores, predicted = detector.reference.scores[:20].copy(), detector.reference.predicted[:20].copy()
    with pytest.raises(DataError, match="scores: expected finite numbers"):
        detector.check_scores(scores[:, 1:], predicted)
    with pytest.raises(DataError, match="scores: expected finite numbers"):
        detector.check_scores([["a"]], predicted)
    with pytest.raises(DataError, match=r"predicted: expected whole numbers in 0\.\.9 for 20 images"):
        detector.check_scores(scores, predicted[1:])
    with pytest.raises(DataError, match=r"predicted: .* in -1\.\.-1"):
        detector.check_scores(scores, np.full(20, -1))
    scores[3, 5] = np.nan
    with pytest.raises(DataError, match="scores: expected finite numbers"):
        detector.check_scores(scores, predicted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fit_labels": np.arange(200)}, r"fit_labels: expected whole numbers in 0\.\.9 .* in 0\.\.199"),
        ({"fit_labels": np.full(200, "cat")}, "fit_labels: expected whole numbers"),
        ({"fit_labels": np.zeros(199, np.int64)}, "for 200 images"),
        ({"ref_labels": np.zeros(3, np.int64)}, "ref_labels: expected whole numbers"),
        ({"classes": ["a", "b"]}, "2 different names for 10 logits"),
        ({"classes": [*"abcdefghi", "a"]}, "9 different names for 10 logits"),
        ({"kinds": ()}, "kinds: none given"),
        ({"ref_images": slice(0, 200)}, "200 of 200 are among fit_images"),
    ],
)
def test_a_detector_is_not_built_from_what_does_not_fit(example, changes, said):
    images, labels = example["images"], example["labels"]
    given = {"fit_labels": labels[:200], "ref_images": slice(200, 400)} | changes
    with pytest.raises(DataError, match=said):
        DriftDetector.build(Callable(), images[:200], ref_images=images[given.pop("ref_images")], **given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_other_numbers_than_float32_is_refused(example, dtype):
    model = torchvision.models.resnet18(num_classes=10).to(dtype)
    with pytest.raises(ModelError, match=rf"weights of {str(dtype)[6:]}, expected float32; give it as model.float()"):
        DriftDetector.load(example["folder"], model)


def test_a_model_that_gives_no_numbers_is_no_quiet_window(example):
    images, labels = example["images"], example["labels"]
    detector = DriftDetector.build(Callable(), images[:200], labels[:200], images[200:400], twins=20)
    sane = detector.forward
    detector.forward = lambda images: Outputs(*(part * float("nan") for part in sane(images)[:2]))
    with pytest.raises(DataError, match="not finite"):
        detector.check(images[400:440])


def test_many_files_are_read_in_a_script_without_a_guard(tmp_path):
    """Worker processes would run the script once more, each."""
    for number in range(250):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\nprint('once')\n"
        "from drift_detector_pipeline.images.decode_many import decode_files\n"
        "print(sum(one.pixels is not None for one in decode_files(sorted(Path().glob('*.png')), 8)))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["once", "250"], done.stderr


def test_the_detector_needs_nothing_of_training_or_its_configuration():
    code = """import sys, drift_detector_pipeline.drift.detector
print(sorted({"hydra", "omegaconf", "pydantic", "timm", "wandb", "dvc", "tensorboard"} & sys.modules.keys()))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_detector_fresh_from_building_can_be_reported_on(example, tmp_path):
    detector, window = example["detector"], example["detector"].open(example["images"][example["new"]])
    verdict = detector.check_crops(window.crops)
    facts = {"run": "", "named": [], "command": ["make"], "when": "now"}
    page = write_report(tmp_path, verdict, window, detector, facts)
    assert json.loads((page.parent / "verdict.json").read_text())["images"] == 64
    assert "250 images" in page.read_text()
