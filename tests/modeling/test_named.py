"""A path that is not there is said before PyTorch is imported, and what is there is never said to be missing."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, called, ci_environment

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling.named import check_images

RUN = """
import sys
from drift_detector_pipeline.{module} import main
sys.argv = ["x", *{words}]
print(main(), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("modeling.evaluate", ["nosuch"], "nosuch: no run.json, so no finished run"),
        ("modeling.predict", ["nosuch", "README.md"], "nosuch: no such weight file"),
        ("modeling.predict", ["conf", "README.md"], "conf/final_model.safetensors: no such weight file"),
        ("modeling.predict", ["README.md", "nosuch/*.jpg"], "nosuch/*.jpg: no files there"),
        ("modeling.predict", ["README.md"], "name images: "),
    ],
)
def test_what_is_missing_is_said_before_pytorch_is_imported(module: str, words: list[str], said: str) -> None:
    code = RUN.format(module=module, words=words)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert done.stderr.startswith(f"error: {said}")
    assert done.stdout == "1 False\n"


def test_a_run_without_a_drift_reference_is_answered_with_the_command_that_builds_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "final_model.safetensors").touch()
    said = called("cli", "drift", str(tmp_path), "README.md")
    assert (
        said.stderr == f"error: {tmp_path}: no drift reference in it; build it: make drift_reference RUN={tmp_path}\n"
    )


def test_files_folders_patterns_and_several_names_in_a_word_lead_somewhere(tmp_path: Path) -> None:
    (tmp_path / "my photos (1)").mkdir()
    (tmp_path / "my photos (1)" / "a.png").touch()
    for word in ("my photos (1)", "my photos (1)/a.png", "my photos (1)/*.png"):
        check_images(["nosuch", str(tmp_path / word)])
    check_images([f"nosuch.png '{tmp_path}/my photos (1)/a.png'"])
    with pytest.raises(DataError, match="x y: no files there"):
        check_images(["x", "y"])


def test_a_folder_without_files_leads_nowhere_also_if_there_are_folders_in_it(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    for word in ("empty", "empty/*", "em*"):
        with pytest.raises(DataError, match="no files there"):
            check_images([str(tmp_path / word)])
    (tmp_path / "empty" / "deeper" / "Thumbs.db").touch()
    with pytest.raises(DataError, match="no files there"):
        check_images([str(tmp_path / "empty")])
    (tmp_path / "empty" / "deeper" / "a.png").touch()
    check_images([str(tmp_path / "empty")])


@pytest.mark.parametrize("command", ["drift", "heal", "modeling.predict"])
def test_that_a_folder_is_empty_is_said_before_the_model_is_opened(command: str, tmp_path: Path) -> None:
    for name in ("final_model.safetensors", "reference.json", "artefact.json"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path), str(tmp_path / "empty")]
    through_cli = command != "modeling.predict"
    said = called("cli", command, *words) if through_cli else called(command, *words)
    assert said.stderr.startswith(f"error: {tmp_path}/empty: no files there")


def test_an_empty_folder_may_be_watched(tmp_path: Path) -> None:
    (tmp_path / "final_model.safetensors").touch()
    (tmp_path / "empty").mkdir()
    said = called("cli", "watch", str(tmp_path), str(tmp_path / "empty"))
    assert said.stderr.startswith(f"error: {tmp_path}: no drift reference in it")


def test_too_few_images_to_heal_with_are_counted_before_the_model_is_opened(tmp_path: Path) -> None:
    (tmp_path / "artefact.json").touch()
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "a.png").touch()
    said = called("cli", "heal", str(tmp_path), str(tmp_path / "few"), "cause=fog")
    assert said.stderr == f"error: {tmp_path}/few: too few files to heal with: 1, and at least 64 images are needed\n"
