"""A receipt as Markdown: what a workflow shows."""

import json

import pytest

from drift_detector_pipeline.modeling import receipt_text

RECEIPT = {
    "end": "2026-01-01T00:00:00+00:00", "where": "host", "git": {"commit": "abc", "dirty": True}, "threads": 2,
    "instruction_set": "x86_64 AVX2", "device": "cpu", "precision": "fp32", "processes": 1,
    "final": {"val_accuracy": 0.9123, "epoch": 2, "train_loss": 0.5, "val_loss": 0.6, "images_per_second": 812.3,
              "seconds": 1.5},
    "weights_sha256": {"final_model.safetensors": "a" * 64}, "overrides": ["data=digits"], "data_fingerprint": "f" * 64,
    "best": {"val_accuracy": 0.95}, "identity": {"model.name": "resnet18"}, "settings": {"data": {"name": "digits"}},
}  # fmt: skip


def test_accuracy_speed_and_what_decided_them_are_named() -> None:
    said = receipt_text.describe(RECEIPT)
    assert said.startswith(
        "### digits, resnet18\n\n| | |\n|---|---|\n| accuracy | **91.23%** after epoch 2 (best 95.00%) |"
    )
    for words in ("812 images/s", "x86_64 AVX2, cpu, fp32, 2 threads", "abc with changes", "a" * 64, "`data=digits`"):
        assert words in said


def test_it_is_the_newest_finished_run_unless_one_is_named(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name, end in {"old": "2025", "new": "2026"}.items():
        (tmp_path / "outputs" / name).mkdir(parents=True)
        (tmp_path / "outputs" / name / "run.json").write_text(json.dumps(RECEIPT | {"end": end, "where": name}))
    for words, where in {("",): "new", (): "new", ("outputs/old",): "old"}.items():
        monkeypatch.setattr("sys.argv", ["receipt_text", *words])
        assert receipt_text.main() == 0
        assert f"| where | {where} |" in capsys.readouterr().out


def test_a_run_without_a_whole_receipt_is_refused(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "run.json").write_text('{"end": 1}')
    for folder, said in {tmp_path: "no whole receipt", tmp_path / "none": "no run.json"}.items():
        monkeypatch.setattr("sys.argv", ["receipt_text", str(folder)])
        assert receipt_text.main() == 1
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("dirty", [True, False])
def test_only_a_changed_tree_is_called_so(dirty: bool) -> None:
    text = receipt_text.describe(RECEIPT | {"git": {"commit": "abc", "dirty": dirty}})
    assert ("with changes" in text) == dirty
