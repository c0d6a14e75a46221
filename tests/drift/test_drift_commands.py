"""`make drift_reference` and `make drift` as commands: verdicts, statuses, files, and errors that say what to do."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, called, needs_clone
from judged_run import make_judged_run
from PIL import Image, ImageDraw
from scipy.stats import binom

from drift_detector_pipeline.config import load
from drift_detector_pipeline.drift.reference_file import load_reference
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.signals import read_signals
from drift_detector_pipeline.networks.weights import load_model
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof import drift_cost, study, study_material, untaught_study
from drift_detector_pipeline.proof.study_material import MIXES, Material, drawn
from drift_detector_pipeline.proof.study_windows import Effort, false_alarms

pytestmark = pytest.mark.slow  # a detector is built first

DRIFT = "drift_detector_pipeline.drift"


def judged(*words):
    """`make drift` within this process."""
    return called("drift.__main__", *map(str, words))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with its reference, and folders with clean and noisy images of its pool."""
    return make_judged_run(tmp_path_factory.mktemp("drift"))


def verdict_of(place):
    newest = max((place / "run" / "drift").iterdir(), key=lambda folder: (folder.stat().st_mtime_ns, folder.name))
    return newest, json.loads((newest / "verdict.json").read_text())


def test_roles_never_mix(finished):
    processed = open_processed(load(["data=digits", f"data.processed_path={finished / 'digits'}",
        "data.stored_side_px=16", "data.img_size=16", "data.fit_fraction=0.1"]).settings.data)  # fmt: skip
    roles = roles_of(processed)
    together = np.concatenate(roles)
    assert len(np.unique(together)) == len(together)
    assert not np.isin(together, processed.images.indices("train")).any()
    assert len(roles.ref) == len(processed.images.indices("val")) // 2


def test_the_reference_is_tied_to_weights_and_data(finished):
    facts, receipt = (json.loads((finished / "run" / name).read_text()) for name in ("reference.json", "run.json"))
    assert facts["weights_sha256"] == receipt["weights_sha256"]["final_model.safetensors"]
    assert facts["data_fingerprint"] == receipt["data_fingerprint"]
    assert facts["missing"].keys() == {"blockiness"}
    assert facts["bytes"] < 500_000 + 100 * 5_000


def test_clean_images_are_quiet(finished):
    command = [sys.executable, "-m", DRIFT, str(finished / "run"), str(finished / "clean")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert done.stdout.startswith("quiet: These 48 images look like the training world")
    _, verdict = verdict_of(finished)
    assert verdict["level"] == "quiet"
    assert verdict["p"] > 0.01
    assert list(verdict["accuracy"]) == ["accuracy", "low", "high", "known", "by_copy", "undone"]
    assert verdict["accuracy"]["low"] <= verdict["accuracy"]["accuracy"] <= verdict["accuracy"]["high"]


def test_the_demonstration_is_quiet_about_ordinary_digits_and_about_nothing_else(finished):
    run_folder = finished / "run"
    done = called("drift.demo.__main__", str(run_folder))
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^  ([a-z]+) +(quiet|notice|alert) ", done.stdout, flags=re.MULTILINE))
    assert list(rows) == ["ordinary", "inverted", "fog", "letters"]
    assert rows["ordinary"] == "quiet"
    assert {rows["inverted"], rows["fog"]} <= {"notice", "alert"}
    assert [len(list((run_folder / "demo" / name).glob("*.png"))) for name in rows] == [64] * 4
    again = judged(run_folder, run_folder / "demo" / "fog")
    assert again.stdout.startswith(f"{rows['fog']}: ")  # files as any others: `make drift` says the same
    page = (run_folder / "demo" / "demo.html").read_text()
    reports = re.findall(r'href="(reports/[^"]+)"', page)
    assert len(reports) == 4
    assert all((run_folder / "demo" / report).exists() for report in reports)
    with Image.open(run_folder / "demo" / "drift_demo.png") as picture:
        assert picture.width > 900


def test_noisy_images_and_broken_files_give_an_alert_with_reasons_and_pictures(finished, tmp_path):
    for image in (finished / "noisy").iterdir():
        (tmp_path / image.name).write_bytes(image.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no image")
    done = judged(finished / "run", tmp_path)
    assert done.returncode in (3, 4)
    assert "broken.png" in done.stderr
    folder, verdict = verdict_of(finished)
    assert verdict["level"] == {3: "notice", 4: "alert"}[done.returncode]
    assert verdict["images"] == 48
    assert verdict["mix"].keys() == {"reference", "window"}
    assert [name.endswith("broken.png") for name in verdict["unreadable"]] == [True]
    assert {"sharpness"} <= {channel["name"] for channel in verdict["channels"] if channel["moved"]}
    assert len(verdict["carrier_names"]) == 8
    page = (folder / "report.html").read_text()
    assert page.count("data:image/") >= 2 * 8 + 2
    assert "http" not in page.replace("https://github.com", "")
    assert any(words.startswith(("Estimated accuracy", "Accuracy unknown")) for words in verdict["summary"])


@needs_clone
def test_make_succeeds_at_any_verdict_and_fails_at_an_error(finished):
    def make(images):
        words = [
            "make",
            "--no-print-directory",
            "-o",
            ".venv/.installed",
            "drift",
            f"PYTHON={sys.executable}",
            f"RUN={finished / 'run'}",
        ]
        return subprocess.run([*words, f"IMAGES={images}"], cwd=ROOT, capture_output=True, text=True)

    pattern, one = make(finished / "noisy" / "*.png"), make(sorted((finished / "noisy").iterdir())[0])
    assert (pattern.returncode, one.returncode) == (0, 0), pattern.stderr + one.stderr
    assert pattern.stdout.startswith(("notice: ", "alert: "))
    assert one.stdout.startswith("too few images: ")
    assert make(finished / "nowhere").returncode == 2  # make's own status for a command that failed


def test_an_archive_is_a_window_too(finished, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "noisy"), "zip", finished / "noisy")
    assert judged(finished / "run", archive).returncode in (3, 4)


def test_corruptions_of_a_run_are_drawn_measured_and_cost_its_model_accuracy(finished):
    done = called("proof.corruption_sheet", str(finished / "run"))
    assert done.returncode == 0, done.stderr
    report = next((finished / "run").glob("corruptions_*.json"))
    found = json.loads(report.read_text())
    assert report.with_suffix(".png").exists()
    accuracies = np.array([row["accuracy"] for row in found["kinds"].values()])
    assert accuracies.shape == (15, 5)
    assert (accuracies[:, 4] < found["clean_accuracy"]).sum() >= 10


def test_fewer_false_notices_can_be_asked_for(finished):
    done = judged(finished / "run", finished / "noisy", "drift.alpha=0.001", "drift.permutations=4999")
    assert done.returncode in (3, 4), done.stdout + done.stderr


def test_too_few_images_have_a_status_of_their_own(finished):
    one = sorted((finished / "clean").iterdir())[0]
    done = judged(finished / "run", one)
    assert done.returncode == 5
    assert "too few" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["RUN"], "name images"),
        (["RUN", "CLEAN", "drift.alpha=2"], "drift.alpha"),
        (["RUN", "CLEAN", "drift.alhpa=0.1"], "drift.alpha"),
        (
            ["RUN", "CLEAN", "drfit.alpha=0.1"],
            "drfit.alpha=0.1: no such setting; did you mean drift.alpha=0.1?",
        ),
        (["RUN", "CLEAN", "training.epochs=3"], "training.epochs=3: make drift takes only"),
        (["RUN", "CLEAN", "run.precision=bf16"], "run.precision=bf16: make drift takes only"),
        (["RUN", "run.x/*.png"], "run.x/*.png: no files there"),
        (["RUN", "CLEAN", "drift.alpha=0.001"], "drift.permutations=4999 or more"),
        (["NOWHERE", "CLEAN"], "no such weight file"),
    ],
)
def test_errors_are_one_message_and_status_1(finished, words, said):
    places = {"RUN": finished / "run", "CLEAN": finished / "clean", "NOWHERE": finished / "nowhere"}
    done = judged(*(places.get(word, word) for word in words))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_a_reference_says_how_to_build_it(finished, tmp_path):
    (tmp_path / "final_model.safetensors").write_bytes((finished / "run" / "final_model.safetensors").read_bytes())
    done = judged(tmp_path, finished / "clean")
    assert done.returncode == 1
    assert "make drift_reference" in done.stderr


SMALL_STUDY = ("images=64", "looks=1", "twins=40", "windows=4", "splits=2", "windows_per_split=5", "permutations=499")


def test_the_study_publishes_every_cell(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "GROUPS", ())  # one family stands for all that the study leaves out in turn
    monkeypatch.setattr(study, "family_of", lambda kind: "noise")
    monkeypatch.setattr(study, "FAMILIES", {"noise": study.FAMILIES["noise"]})
    letters = tmp_path / "letters"
    letters.mkdir()
    for letter in "ABEFGHKMNPRSTUVWXYZ":
        image = Image.new("RGB", (16, 16))
        ImageDraw.Draw(image).text((4, 2), letter, fill="white")
        image.save(letters / f"{letter}.png")
    words = (*SMALL_STUDY, "seed=1", f"unseen={letters}")
    done = called("proof.study", str(finished / "run"), *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "reports" / "drift_study_digits_seed1.json").read_text())
    for regime in ("known_kind", "held_out_family"):
        assert len(found["cells"][regime]) == 75
        assert 0.5 < found["summary"][regime]["found"]["64"] <= 1
        assert found["summary"][regime]["accuracy_error_mean"] < 0.3
    assert len(found["cells"]["faults"]) == len(found["cells"]["held_out_faults"]) == 96
    assert len(found["cells"]["untaught"]) == 21
    assert found["missing"].keys() == {"blockiness"}
    assert found["benign"].keys() == {"flip", "shift", "resample", "jpeg95", "brighter", "darker"}
    assert {name for by_size in found["side_by_side"].values() for name in by_size} == {"16", "32", "64"}
    assert found["unseen_images"] == 19
    noticed = found["unseen_classes"]["0.5"]["64"]
    assert noticed >= 0.5  # of 4 windows, by a model of two epochs whose bits differ between machines; by chance 0.01
    for picture in ("power", "accuracy"):
        with Image.open(tmp_path / "reports" / f"drift_study_digits_seed1_{picture}.png") as image:
            assert image.width > 300
    assert "| known kind: mean of 75 cells | " in done.stdout


def test_the_study_of_changes_nobody_taught_sums_up_each_set(finished, tmp_path, monkeypatch):
    names = ("half_of_them_inverted", "half_of_them_black")
    monkeypatch.setattr(
        untaught_study, "SETS", {"some": {name: untaught_study.SETS["later_untaught"][name] for name in names}}
    )
    done = called("proof.untaught_study", str(finished / "run"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (report,) = (tmp_path / "reports").glob("untaught_digits_*.json")
    found = json.loads(report.read_text())
    assert [cell["change"] for cell in found["cells"]] == ["clean", *names]
    assert found["summary"]["all"] == found["summary"]["some"]
    assert found["summary"]["some"]["changes"] == 2
    without = found["without_allowance_for_few_images"]["some"]  # narrower intervals hold no more
    assert found["fit_images"] < 256 and without["held"] <= found["summary"]["some"]["held"]
    assert "half_of_them_black" in done.stdout


def test_intervals_are_counted_over_other_references(finished, tmp_path, monkeypatch):
    for name, few in {"KINDS": ("fog", "contrast"), "CHANGES": ("fog", "gaussian_noise"), "SEVERITIES": (5,)}.items():
        monkeypatch.setattr(study_material, name, few)
    done = called("proof.other_references", str(finished / "run"), "references=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (report,) = (tmp_path / "reports").glob("drift_references_*.json")
    found = json.loads(report.read_text())
    first, second = found["references"]
    assert first["accuracy"] != second["accuracy"]  # of other images
    for size, over in found["summary"].items():
        assert [over["least"], over["most"]] == sorted(row["holds"][size] for row in found["references"])
        assert 0 < over["width"] <= 1
    assert "| truth inside the 90 % interval, mean |" in done.stdout


def test_another_word_than_how_many_references_is_refused(call_main):
    done = call_main("proof.other_references", "references=0")
    assert "error: references=0: expected references=NUMBER (from 1)" in done.stderr


def test_a_class_mix_is_drawn_as_its_name_says():
    labels = np.repeat(np.arange(10), 200)
    shares, rng = {}, np.random.default_rng(0)
    for name, factor_of in MIXES.items():
        shares[name] = np.mean([labels[drawn(labels, 3, factor_of(10), 100, rng)] == 3 for _ in range(50)])
    assert shares == pytest.approx(
        {"one class missing": 0, "one class three times as frequent": 3 / 12, "half of one class": 0.5}, abs=0.05
    )


def test_the_cost_of_a_verdict_is_a_share_of_inference(monkeypatch):
    for name, value in {"PAIRS": 1, "WINDOW": 16, "REFERENCE": 100, "REPEATS": {32: 1}}.items():
        monkeypatch.setattr(drift_cost, name, value)
    found = drift_cost.measure_cost(32)
    assert found["inference_fp32_ms"] > 0
    assert found["share_of_fp32"] == pytest.approx(found["verdict_ms"] / found["inference_fp32_ms"])


def test_a_study_without_an_unseen_image_says_so(finished, tmp_path, call_main):
    done = call_main("proof.study", str(finished / "run"), f"unseen={tmp_path}")
    assert done.returncode == 1
    assert f"error: {tmp_path}: no image can be read there" in done.stderr


@pytest.mark.parametrize("word", ["seeds=1", "images=15", "splits=1", "permutations=0", "images=²", "windows=-1"])
def test_a_study_takes_whole_numbers_it_knows_and_can_work_with(word, call_main):
    done = call_main("proof.study", word)
    assert done.returncode == 1
    assert f"error: {word}: expected one of images=NUMBER (from 16), " in done.stderr


def test_clean_windows_of_random_splits_alarm_as_often_as_asked(finished):
    """200 random divisions of the digits into reference and pool, one window each; the study draws 2,000."""
    settings = load(["data=digits", f"data.processed_path={finished / 'digits'}", "data.stored_side_px=16",
        "data.img_size=16", "data.fit_fraction=0.1"]).settings  # fmt: skip
    processed = open_processed(settings.data)
    module, header = load_model(finished / "run" / "final_model.safetensors")
    forward = through(module, header["preprocessing"]["mean"], header["preprocessing"]["std"])
    labels, roles = processed.images.labels, roles_of(processed)
    fit, ref, pool = (crops_of(processed, indices, 16) for indices in roles)
    clean = read_signals(fit, forward)
    learned = load_reference(finished / "run")[0].learned
    material = Material(16, clean, labels[roles.fit], [], [], read_signals(ref, forward), labels[roles.ref], [],
        read_signals(pool, forward), labels[roles.pool], [], [], [], [], [])  # fmt: skip
    rates = false_alarms(material, learned, Effort(200, 1, 0, 199, (32,)))["32"]["0.05 on average"]
    low, high = binom.ppf([0.0005, 0.9995], 200, 0.05) / 200
    assert low <= rates["rate"] <= high
