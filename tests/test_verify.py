"""`make verify` walks the whole road, and says which stage does not work."""

from pathlib import Path

import pytest
from conftest import called

from drift_detector_pipeline import verify


@pytest.mark.slow
def test_every_stage_is_walked_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = called("verify", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [row[0] for row in rows[:7]] == ["data", "train", "resume", "evaluate", "predict", "drift", "profile"]
    assert {row[1] for row in rows[:7]} == {"yes"}
    assert "stopped by SIGTERM, continued: the same weights" in done.stdout
    assert not (tmp_path / "outputs" / "verify").exists()


def test_a_stage_that_fails_is_a_row_with_the_commands_own_last_words(tmp_path: Path) -> None:
    def stage() -> str:
        return verify._command("dataset", "data=digits", f"data.processed_path={tmp_path}", "data.img_size=1")

    finding = verify._tried("data", stage)
    assert finding.works is False
    assert finding.says.startswith("exit status 1: ")
    assert "data.img_size" in finding.says


def test_a_stage_that_hangs_is_a_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_LIMIT_S", 0.05)
    finding = verify._tried("data", lambda: verify._command("dataset", "data=digits"))
    assert finding.works is False
    assert "longer" in finding.says


def test_arguments_are_refused(tmp_path: Path) -> None:
    done = called("verify", "data=cifar10", cwd=tmp_path)
    assert done.returncode == 1
    assert "takes no arguments" in done.stderr
