"""`make evaluate`: the numbers training wrote, to the last digit, in files that people and programs read."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CLASSES, called, ci_environment
from finished_runs import PRECISIONS, finished_run, own_copy

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import ConfigError, DataError, ModelError, ResumeError
from drift_detector_pipeline.files import sealed
from drift_detector_pipeline.modeling.evaluate import main
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.modeling.reproduce import reproduce
from drift_detector_pipeline.modeling.trained import open_trained, outputs_of
from drift_detector_pipeline.modeling.views import outputs_of_views
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.tasks.headline import ACCURACY

FILES = {
    "metrics.json", "report.html", "predictions.csv", "predictions.png", "confusion.png", "reliability.png",
    "worst_mistakes.png",
}  # fmt: skip
ABOUT = ("run", "command", "when", "seconds_total", "seconds_forward")  # differs between equal evaluations


@pytest.fixture(scope="module", params=PRECISIONS)
def either(request, made_once, tmp_path_factory):
    """A finished run, in fp32 and in bf16; evaluations only add to it."""
    return own_copy(finished_run(made_once, request.param), tmp_path_factory.mktemp(request.param) / "run")


@pytest.fixture
def copy(made_once, tmp_path):
    return own_copy(finished_run(made_once, "fp32"), tmp_path / "run")


def metrics_of(folder, **options):
    return json.loads((evaluate(folder, **options) / "metrics.json").read_text())


def numbers_of(found):
    return {key: value for key, value in found.items() if key not in ABOUT}


def last_row(folder):
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def test_a_threshold_that_cannot_be_is_said_before_pytorch_is_imported(copy):
    code = f"import sys; from drift_detector_pipeline.modeling.evaluate import main; sys.argv = ['x', {str(copy)!r}, "
    code += "'predict.threshold=7']; print(main(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=ci_environment(), capture_output=True, text=True)
    assert done.stdout == "1 False\n"
    assert (
        "predict.threshold: Input should be less than or equal to 1, got 7 (given on the command line)" in done.stderr
    )


def test_accuracy_and_loss_are_those_of_the_last_epoch_to_the_last_digit(either):
    found, row = metrics_of(either), last_row(either)
    assert found["n"] == 84
    assert (found["accuracy"], found["loss"]) == (row["val_accuracy"], row["val_loss"])
    assert found["training"] == {"accuracy": row["val_accuracy"], "loss": row["val_loss"], "equal": True}


@pytest.mark.slow
def test_the_best_weights_have_the_numbers_of_their_epoch_and_say_that_val_chose_them(copy):
    best = read_receipt(copy).best
    found = metrics_of(copy, weights="best")
    assert (found["accuracy"], found["loss"]) == (best.value(ACCURACY), best.val_loss)
    assert (found["weights"], found["selected_on_val"]) == ("best", True)
    assert "These weights were selected on" in (copy / "evaluation" / "val" / "report.html").read_text()
    assert metrics_of(copy)["selected_on_val"] is False
    assert "selected on" not in (copy / "evaluation" / "val" / "report.html").read_text()


@pytest.mark.parametrize("override", ["data.dataloader_workers=2", "run.threads=2"])
@pytest.mark.slow
def test_workers_and_threads_change_no_digit(override, copy):
    usual = numbers_of(metrics_of(copy))
    assert numbers_of(metrics_of(copy, overrides=[override])) | {"threads": 0} == usual | {"threads": 0}


@pytest.mark.slow
def test_a_reproduced_run_has_an_equal_evaluation(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reproduce(copy)
    [again] = (tmp_path / "outputs").glob("*/*/run.json")
    assert numbers_of(metrics_of(again.parent)) == numbers_of(metrics_of(copy))


def test_metrics_json_says_what_was_evaluated_and_all_numbers_of_it(copy):
    found, receipt = metrics_of(copy), read_receipt(copy)
    assert found["weights_sha256"] == receipt.weights_sha256["final_model.safetensors"]
    assert found["data_fingerprint"] == receipt.data_fingerprint
    assert found["run"] == str(copy)
    assert found["command"]
    low, high = found["accuracy_interval_95"]
    assert 0 <= low < found["accuracy"] < high <= 1
    assert found["classes"] == sorted(CLASSES)
    assert [row["class"] for row in found["per_class"]] == sorted(CLASSES)
    assert np.sum(found["confusion"]) == sum(row["n"] for row in found["per_class"]) == 84
    assert sum(part["n"] for part in found["reliability"]) == 84
    assert 0 < found["seconds_forward"] <= found["seconds_total"]


def test_more_views_are_the_mean_of_an_image_mirrored_and_moved_in_a_folder_of_their_own(copy):
    with prepared(load_section(Run, ["run.device=cpu", "run.precision=fp32"])) as machine:
        trained = open_trained(copy / "final_model.safetensors", machine)
        images = torch.randint(0, 256, (5, 3, trained.img_size, trained.img_size), dtype=torch.uint8)
        padded, side = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="reflect"), trained.img_size

        def logits(pixels):
            return np.stack(outputs_of(trained, Batch(torch.from_numpy(np.ascontiguousarray(pixels))), machine))

        def both_sides(pixels):
            return (logits(pixels) + logits(pixels[..., ::-1])) / 2

        mean = both_sides(images.numpy())
        moved = (both_sides(padded[..., :side, :side]) + both_sides(padded[..., 2:, 2:])) / 2
        for views, expected in ((2, mean), (6, (mean + moved) / 2)):
            found = outputs_of_views(trained, Batch(images), machine, views)
            np.testing.assert_allclose(np.stack(found), expected, rtol=0, atol=1e-5)
    plain, six = metrics_of(copy), metrics_of(copy, views="6")
    assert (six["views"], six["n"], six["training"]) == (6, plain["n"], None)
    assert six["loss"] != plain["loss"] and "views" not in plain
    assert {folder.name for folder in (copy / "evaluation").iterdir() if folder.name[0] != "."} == {
        "val",
        "val_6_views",
    }


def test_the_table_of_predictions_has_every_image_and_gives_the_same_accuracy(copy):
    found = metrics_of(copy)
    with (copy / "evaluation" / "val" / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["path"] for row in rows}) == 84
    assert sum(row["label"] == row["true_label"] for row in rows) / 84 == found["accuracy"]
    assert all(row["path"].split("/")[0] == row["true_label"] for row in rows)
    for row in rows:
        top3 = json.loads(row["top3"])
        assert [top3[0]["label"], str(top3[0]["probability"])] == [row["label"], row["probability"]]
        assert sum(one["probability"] for one in top3) == pytest.approx(1)  # three classes


@pytest.mark.slow
def test_the_page_needs_no_network_no_script_and_no_file_beside_it(copy):
    evaluate(copy)
    folder = copy / "evaluation" / "val"
    assert {path.name for path in folder.iterdir()} == FILES
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "95 % interval" in page
    assert page.index("<img") < page.index("<table")  # it opens with a picture
    for name in CLASSES:
        assert name in page


def test_wrong_answers_are_marked_by_a_sign_and_the_right_class(copy):
    found = metrics_of(copy, split="train")
    page = (copy / "evaluation" / "train" / "report.html").read_text()
    assert page.count('class="wrong"') == page.count("✗ ") - 1 == page.count("<b>is ") > 0  # one in the legend
    assert found["accuracy"] < 1


@pytest.mark.slow
@pytest.mark.parametrize(("split", "images", "says"), [("train", 114, "was trained on these images"), ("fit", 12, "")])
def test_another_split_has_a_folder_of_its_own(split, images, says, copy):
    found = metrics_of(copy, split=split)
    assert (found["n"], found["split"], found["training"]) == (images, split, None)
    assert says in (copy / "evaluation" / split / "report.html").read_text()


@pytest.mark.slow
def test_an_evaluation_replaces_the_one_before_as_a_whole(copy):
    folder = evaluate(copy)
    (folder / "old.png").touch()
    evaluate(copy)
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir() if path.name != ".val.lock"] == ["val"]


def test_what_the_run_was_trained_with_may_be_said_again(copy):
    repeated = ["data=folder", "training.epochs=2", "run.device=cpu"]
    assert metrics_of(copy, overrides=repeated)["training"]["equal"]


@pytest.mark.parametrize("override", ["data=digits", "training.epochs=3", "data.img_size=32", "colour=red"])
def test_another_setting_is_refused(override, copy):
    with pytest.raises(
        ConfigError, match=r"make evaluate takes only .*run\.device.*all else comes from the run's receipt"
    ):
        evaluate(copy, overrides=[override])


@pytest.mark.parametrize("override", ["run.device=gpu", "run.threads=none", "data.dataloader_workers=-1"])
def test_a_wrong_value_is_refused_as_everywhere(override, copy):
    with pytest.raises(ConfigError, match=f"{override.partition('=')[0]}: .*given on the command line"):
        evaluate(copy, overrides=[override])


def test_what_it_does_not_take_is_said_before_pytorch_is_imported(copy):
    code = f"import sys; from drift_detector_pipeline.modeling.evaluate import main; sys.argv = ['x', '{copy}'"
    for word in ("data.img_size=7", "run.threads=none"):
        command = [sys.executable, "-c", f"{code}, '{word}']; main(); print('torch' in sys.modules)"]
        done = subprocess.run(command, env=ci_environment(), capture_output=True, text=True)
        assert done.stderr.startswith(f"error: {word.partition('=')[0]}") and done.stdout == "False\n"


def with_receipt(folder, **changes):
    path = folder / "run.json"
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | changes)))


def test_missing_data_is_named_with_the_command_that_makes_it(copy, tmp_path):
    missing = tmp_path / "elsewhere"
    with pytest.raises(DataError, match=r'elsewhere: no processed data; run: make process_data ARGS="data=folder data'):
        evaluate(copy, overrides=[f"data.processed_path={missing}"])


def test_other_data_than_the_run_was_trained_on_is_refused(copy):
    with_receipt(copy, data_fingerprint="f" * 64)
    with pytest.raises(DataError, match=r"not the data that .* was trained on .*run: make process_data ARGS="):
        evaluate(copy)
    assert not (copy / "evaluation").exists()


def test_other_weights_than_the_receipt_names_are_refused(copy):
    with_receipt(copy, weights_sha256={"final_model.safetensors": "0" * 64})
    with pytest.raises(ModelError, match=r"not what .*run\.json says"):
        evaluate(copy)


def test_an_unfinished_run_and_a_damaged_receipt_are_refused(copy):
    with_receipt(copy, settings={"data": {}})
    with pytest.raises(ResumeError, match=r"run\.json: no whole receipt"):
        evaluate(copy)
    (copy / "run.json").unlink()
    with pytest.raises(ResumeError, match=r"no run\.json, so no finished run"):
        evaluate(copy)


def test_weights_that_give_no_numbers_are_refused(copy, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self.to(torch.float32) * torch.nan)
    with pytest.raises(ModelError, match="outputs that are not finite"):
        evaluate(copy)


def test_a_run_from_before_a_setting_existed_can_be_evaluated(copy):
    settings = read_receipt(copy).recorded
    with_receipt(copy, settings={name: settings[name] for name in ("data", "run")})
    assert metrics_of(copy)["training"]["equal"]


@pytest.mark.slow
def test_the_command_takes_the_newest_finished_run_and_says_where_the_page_is(copy, tmp_path):
    shutil.copytree(copy, tmp_path / "outputs" / "2026-01-01" / "00-00-00")
    done = called("modeling.evaluate", "", "split=val", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "outputs/2026-01-01/00-00-00/evaluation/val/report.html"
    assert "are those training wrote, to the last digit" in done.stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("split=test", "split=test: choose from train, fit, val"),
        ("weights=newest", "weights=newest: choose from final, best"),
        ("outputs/none", "outputs/none: no run.json, so no finished run"),
        ("", "no finished run under outputs/; train one first: make train"),
    ],
)
def test_a_wrong_command_is_one_message_and_exit_status_1(word, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["evaluate", word])
    assert main() == 1
    assert capsys.readouterr().err.startswith(f"error: {said}")
