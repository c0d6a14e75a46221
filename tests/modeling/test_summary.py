"""One receipt as Markdown, which a workflow shows; several as one claim, from which the README's numbers come."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.modeling import summary
from drift_detector_pipeline.runs.receipts import read_receipt

EPOCH = {
    "epoch": 2, "step": 20, "train_loss": 0.5, "val_loss": 0.6, "val_accuracy": 0.9123, "learning_rate": 0.001,
    "images_per_second": 812.3, "seconds": 90,
}  # fmt: skip
RECEIPT: dict[str, Any] = {
    "start": "2025-12-31T23:00:00+00:00", "end": "2026-01-01T00:00:00+00:00", "command": ["python"],
    "git": {"commit": "abc", "dirty": True}, "where": "host", "processed_path": "data/processed/digits",
    "data_fingerprint": "f" * 64, "packages": {"torch": "2"}, "python": "3.11", "seed": 1, "device": "cpu",
    "instruction_set": "x86_64 AVX2", "threads": 2, "precision": "fp32", "processes": 1, "final": EPOCH,
    "best": EPOCH | {"val_accuracy": 0.95}, "identity": {"model.name": "resnet18", "run.seed": 1},
    "overrides": ["data=digits"], "settings": {"data": {"name": "digits"}, "run": {}},
    "weights_sha256": {"final_model.safetensors": "a" * 64, "best_model.safetensors": "b" * 64},
}  # fmt: skip


def finished(folder: Path, **changes: Any) -> Path:
    """A run's folder with a receipt and one epoch."""
    folder.mkdir(parents=True)
    receipt = copy.deepcopy(RECEIPT) | changes
    (folder / "run.json").write_text(json.dumps(receipt))
    (folder / "metrics.jsonl").write_text(json.dumps(receipt["final"]) + "\n")
    return folder


def seeded(folder: Path, seed: int, accuracy: float, **identity: Any) -> Path:
    final = EPOCH | {"val_accuracy": accuracy}
    return finished(folder, seed=seed, final=final, identity=RECEIPT["identity"] | {"run.seed": seed} | identity)


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["summary", *words])
    return summary.main()


def test_accuracy_speed_and_what_decided_them_are_named(tmp_path: Path) -> None:
    said = summary.describe(read_receipt(finished(tmp_path / "run")))
    assert said.startswith(
        "### digits, resnet18\n\n| | |\n|---|---|\n| accuracy | **91.23 %** after epoch 2 (best 95.00 %) |"
    )
    for words in ("812 images/s", "x86_64 AVX2, cpu, fp32, 2 threads", "abc with changes", "a" * 64, "`data=digits`"):
        assert words in said


def test_it_is_the_newest_finished_run_unless_one_is_named(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name, end in {"old": "2025", "new": "2026"}.items():
        finished(tmp_path / "outputs" / name, end=end, where=name)
    for words, where in {("",): "new", (): "new", ("outputs/old",): "old"}.items():
        assert command(monkeypatch, *words) == 0
        assert f"| where | {where} |" in capsys.readouterr().out


def test_a_run_without_a_whole_receipt_is_refused(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "run.json").write_text('{"end": "1"}')
    for folder, said in {tmp_path: "no whole receipt", tmp_path / "none": "no run.json"}.items():
        assert command(monkeypatch, str(folder)) == 1
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("dirty", [True, False])
def test_only_a_changed_tree_is_called_so(dirty: bool, tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", git={"commit": "abc", "dirty": dirty})
    assert ("with changes" in summary.describe(read_receipt(folder))) == dirty


def test_runs_of_several_seeds_are_one_claim_with_its_spread(tmp_path, monkeypatch, capsys) -> None:
    runs = [seeded(tmp_path / str(seed), seed, accuracy) for seed, accuracy in ((1, 0.9), (2, 0.92), (3, 0.94))]
    report = tmp_path / "reports" / "claim.json"
    assert command(monkeypatch, str(report), *map(str, runs)) == 0
    assert capsys.readouterr().out == "0.9200 +- 0.0200 (n=3)\n"
    found = json.loads(report.read_text())
    assert (found["seeds"], found["val_accuracy"]) == ([1, 2, 3], [0.9, 0.92, 0.94])
    assert (found["training_minutes"], found["epochs"]) == ([1.5] * 3, [[0.9], [0.92], [0.94]])
    assert (found["packages"], found["command"]) == ({"torch": "2"}, 'make train ARGS="data=digits"')


def test_runs_that_differ_in_more_than_their_seed_are_no_claim(tmp_path: Path) -> None:
    runs = [seeded(tmp_path / "1", 1, 0.9), seeded(tmp_path / "2", 2, 0.9, **{"training.epochs": 3})]
    with pytest.raises(ResumeError, match=r"2 differs from .*1 in more than its seed: training\.epochs was None"):
        summary.summarize(runs)


@pytest.mark.parametrize("words", [("one", "two"), ("report.json",)])
def test_several_runs_need_a_report_and_a_report_a_run(words: tuple[str, ...], monkeypatch, capsys) -> None:
    assert command(monkeypatch, *words) == 1
    assert capsys.readouterr().err.startswith("error: name a report and at least one run: make summary")


def test_a_file_that_is_no_summary_is_not_written_over(tmp_path: Path, monkeypatch, capsys) -> None:
    first, second = (seeded(tmp_path / str(seed), seed, 0.9) for seed in (1, 2))
    receipt = (first / "run.json").read_bytes()
    assert command(monkeypatch, str(first / "run.json"), str(second)) == 1
    assert (
        "run.json: is there and no summary" in capsys.readouterr().err and (first / "run.json").read_bytes() == receipt
    )
    for _ in range(2):  # a summary is written again
        assert command(monkeypatch, str(tmp_path / "both.json"), str(first), str(second)) == 0


@pytest.mark.parametrize("rows", ["[]", '{"seconds": "x"}', '{"seconds": 1}', "{", "\0"])
def test_rows_of_epochs_that_are_none_are_named(rows: str, tmp_path: Path) -> None:
    run = seeded(tmp_path / "1", 1, 0.9)
    (run / "metrics.jsonl").write_text(f"{rows}\n")
    with pytest.raises(ResumeError, match=r"metrics\.jsonl: no rows of epochs"):
        summary.summarize([run])
