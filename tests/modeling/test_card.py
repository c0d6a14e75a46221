"""A model card says what the receipt and what lies beside it say, and owns up to the rest."""

import json

import pytest
from finished_runs import finished_run, own_copy

from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.modeling.card import card
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.runs.receipts import read_receipt


@pytest.fixture
def run(made_once, tmp_path):
    return own_copy(finished_run(made_once, "fp32"), tmp_path / "run")


def test_a_run_alone_gives_a_card_that_says_what_is_missing(run, call_main):
    done = call_main("modeling.card", str(run))
    assert (done.returncode, done.stdout) == (0, f"{run}/model_card.md\n")
    text, receipt = (run / "model_card.md").read_text(), read_receipt(run)
    for said in (receipt.data_fingerprint, receipt.weights_sha256["final_model.safetensors"], f"RUN={run}",
                 "conv\\_small", "random weights", f"{100 * receipt.score:.2f} %"):  # fmt: skip
        assert said in text
    assert text.count("not stated by the owner") == 5
    assert "make evaluate RUN=" in text and "make drift_reference RUN=" in text


def test_an_evaluation_of_these_weights_brings_the_classes_and_of_others_does_not(run):
    metrics = evaluate(run, overrides=["data.dataloader_workers=0"]) / "metrics.json"
    found = json.loads(metrics.read_text())
    for row in found["per_class"]:
        assert f"| {row['class']} | {row['images']} |" in card(run) if "images" in row else row["class"] in card(run)
    assert "95 % interval" in card(run) and "make evaluate" not in card(run)
    metrics.write_text(json.dumps(found | {"weights_sha256": "0" * 64}))
    assert "By class: not measured" in card(run)


@pytest.mark.parametrize("name", ["evaluation/val/metrics.json", "reference.json"])
@pytest.mark.parametrize(
    "change", [None, [], {"per_class": [7], "scores": 7}, {"accuracy_interval_95": [1], "scores": None}]
)
def test_a_damaged_file_beside_the_receipt_is_named_with_what_writes_it_again(change, name, run, call_main):
    own = {"weights_sha256": read_receipt(run).weights_sha256["final_model.safetensors"]}
    damaged = "[" if change is None else json.dumps(own | change if change else change)
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text(damaged)
    done = call_main("modeling.card", str(run))
    again = "make evaluate" if "metrics" in name else "make drift_reference"
    assert done.returncode == 1 and done.stderr.startswith(f"error: {run / name}: damaged (")
    assert done.stderr.endswith(f"; write it again: {again} RUN={run}\n") and not (run / "model_card.md").exists()


def test_a_reference_of_these_weights_is_told(run):
    weights = read_receipt(run).weights_sha256["final_model.safetensors"]
    facts = {"weights_sha256": weights, "images": 321, "accuracy": 0.75, "scores": [1, 2], "sha256": "9" * 64}
    (run / "reference.json").write_text(json.dumps(facts))
    text = card(run)
    assert "| reference images | 321 |" in text and "| 0.75 |" in text and "9" * 64 in text


def test_without_a_receipt_there_is_no_card(tmp_path):
    with pytest.raises(ResumeError, match=r"no run\.json"):
        card(tmp_path)
