"""Bad input as a person types it: exit status 1, one message that names what is wrong and what helps, no traceback.

Only what a full disk does to a command needs a process of its own.
"""

import hashlib
import io
import resource
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ci_environment, make_folder, module_command

from drift_detector_pipeline.commands import read_command, values_of
from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.images.named_files import sources_of


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Overrides for a small run on digits that are processed."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.dataloader_workers=0", "model.name=mlp", "training.epochs=1",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture
def folder(tmp_path):
    """Overrides for a source of one's own, not yet processed."""
    return [
        "data=folder", f"data.processed_path={tmp_path}/processed", "data.stored_side_px=16", "data.img_size=16",
    ]  # fmt: skip


def refused(done):
    """Assert that a command failed as promised; return its message."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.count("error: ") == 1
    message = done.stderr[done.stderr.index("error: ") :]
    print(message)  # shown by pytest -rP
    return message


def limited(name, bytes_per_file, *overrides):
    """Run a module that cannot write files larger than that, as if the disk were full."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file))

    return subprocess.run(
        module_command(name, *overrides), env=ci_environment(), capture_output=True, text=True, preexec_fn=limit
    )


def test_a_missing_archive(folder, tmp_path, call_main):
    message = refused(call_main("dataset", *folder, f"data.raw_path={tmp_path}/none.tgz"))
    assert "none.tgz: no such file or folder" in message
    assert "data=digits" in message


def test_a_wrong_checksum(folder, image_tgz, tmp_path, call_main):
    archive = tmp_path / "animals.tgz"
    archive.write_bytes(image_tgz.read_bytes())
    size, md5 = archive.stat().st_size, hashlib.md5(b"another").hexdigest()
    (tmp_path / "animals.tgz.dvc").write_text(f"outs:\n- md5: {md5}\n  size: {size}\n  path: animals.tgz\n")
    message = refused(call_main("dataset", *folder, f"data.raw_path={archive}"))
    assert "animals.tgz is not the file that" in message
    assert md5 in message
    assert not (tmp_path / "processed").exists()


def test_a_truncated_image(folder, image_folder, tmp_path, call_main):
    for source in image_folder.rglob("*.*"):
        target = tmp_path / "images" / source.relative_to(image_folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        target.write_bytes(content[: len(content) // 2] if target.match("cat/0.png") else content)
    message = refused(call_main("dataset", *folder, f"data.raw_path={tmp_path}/images"))
    assert "cat/0.png" in message
    assert "data.max_bad_images=1" in message


def test_a_climbing_path(folder, tmp_path, call_main):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        member = tarfile.TarInfo("train/../../../escaped.png")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    message = refused(call_main("dataset", *folder, f"data.raw_path={tmp_path}/evil.tar"))
    assert "escaped.png" in message
    assert not list(tmp_path.parent.rglob("escaped.png"))


@pytest.mark.parametrize("module", ["dataset", "modeling.train", "quickstart"])
def test_a_typo_in_a_key(module, call_main):
    message = refused(call_main(module, "training.epoch=3"))
    assert "training.epoch: no such key; did you mean training.epochs? Type " in message


@pytest.mark.parametrize("value", ["many", "0", "2.5"])
def test_a_wrong_type_or_range(value, call_main):
    message = refused(call_main("modeling.train", "data=digits", f"training.epochs={value}"))
    assert "training.epochs: " in message
    assert "given on the command line" in message


def test_an_unknown_model(digits, call_main):
    message = refused(call_main("modeling.train", *digits, "model.name=resnet81"))
    assert "model.name=resnet81: no such timm model; the nearest are resnet18" in message


def test_an_unknown_optimizer(digits, tmp_path, call_main):
    message = refused(call_main("modeling.train", *digits, "training.optimizer=adamv", f"hydra.run.dir={tmp_path}/run"))
    assert "training.optimizer=adamv: no such optimizer; the nearest are adam" in message


def test_data_that_is_not_processed(folder, image_folder, call_main):
    message = refused(call_main("modeling.train", *folder, f"data.raw_path={image_folder}"))
    assert "processed: no processed data; run: make process_data" in message


def test_a_batch_larger_than_the_data(digits, call_main):
    assert "needs 5000 images per step" in (
        said := refused(call_main("modeling.train", *digits, "training.batch_size=5000"))
    )
    assert said.endswith(" to train on; pass a smaller training.batch_size, such as 256\n")


def test_data_without_an_image_to_validate_on(folder, tmp_path, call_main):
    raw = make_folder(tmp_path / "few", 1)
    words = [*folder, f"data.raw_path={raw}", "training.batch_size=2", f"hydra.run.dir={tmp_path}/run"]
    assert call_main("dataset", *words[:-2]).returncode == 0
    assert "no image to validate on" in refused(call_main("modeling.train", *words))
    assert not (tmp_path / "run").exists()


def test_a_batch_of_one_that_cannot_be_normalized(digits, tmp_path, call_main):
    words = [*digits, "model.name=resnet18", "training.batch_size=1", f"hydra.run.dir={tmp_path}/run"]
    assert "pass training.batch_size=2 or more" in refused(call_main("modeling.train", *words))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_disk_that_fills_up_while_data_is_processed(tmp_path):
    message = refused(limited("dataset", 50_000, "data=digits", f"data.processed_path={tmp_path}/digits"))
    assert "the disk is full or a limit is reached" in message
    assert "Free some space" in message
    assert not (tmp_path / "digits").exists()


def test_a_leading_tilde_is_the_home_folder_in_the_words_of_commands_as_in_settings(tmp_path, monkeypatch, call_main):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    command = read_command(["~/runs/x", "~/photos/*.jpg", "data.raw_path=~/raw"], takes_images=True)
    assert (command.target, command.images) == (tmp_path / "runs/x", [f"{tmp_path}/photos/*.jpg"])
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b c.jpg").touch()
    found = sources_of(["~/a.jpg '~/b c.jpg'"])
    assert [one.place for one in found] == [f"{tmp_path}/a.jpg", f"{tmp_path}/b c.jpg"]
    done = call_main("convert", "~/nosuch", "yolo", "out=~/new")
    assert f"error: {tmp_path}/nosuch: no such file or folder" in done.stderr and not Path("~").exists()


@pytest.mark.parametrize("name", ["file/below", "folder", "a" * 300])
def test_a_name_of_another_kind_of_thing_is_said_in_a_sentence(name, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    @exit_status
    def main():
        (tmp_path / name).write_text("")
        return 0

    assert main() == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / name}: ") and "choose another name" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    "asks",
    [lambda: np.empty(1 << 60, np.uint8), lambda: torch.empty(1 << 60, dtype=torch.uint8), lambda: bytearray(1 << 60)],
)
def test_more_memory_than_there_is_ends_in_one_sentence(asks, capsys):
    """As a file asks for whose header promises too much, or a batch of large images."""
    assert exit_status(lambda: len(asks()))() == 1
    said = capsys.readouterr().err
    assert said.startswith("error: not enough memory (") and said.count("\n") == 1


def test_an_error_of_pytorch_that_is_not_about_memory_is_not_hidden():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        exit_status(lambda: len(torch.zeros(2, 3) @ torch.zeros(2, 3)))()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_that_nobody_names(tmp_path, monkeypatch, capsys):
    """As a library has it that wraps files of its own."""

    @exit_status
    def main():
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")
        return 0

    monkeypatch.chdir(tmp_path)
    assert main() == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the disk is full or a limit is reached (No space left on device; ")
    assert f"{tmp_path}: " in said and "MB free" in said and "Free some space" in said and said.count("\n") == 1


@pytest.mark.slow
def test_a_disk_that_fills_up_while_a_model_is_trained(digits, tmp_path):
    message = refused(limited("modeling.train", 100, *digits, f"hydra.run.dir={tmp_path}/run"))
    assert "the disk is full or a limit is reached" in message
    assert "Free some space" in message
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def stopped(digits, tmp_path_factory):
    """A run that stopped because its last checkpoint did not fit, and that can be continued; do not change it."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    command = [*digits, f"hydra.run.dir={folder}", "training.optimizer=SGD", "run.checkpoint_every=1"]
    refused(limited("modeling.train", 300_000, *command))
    assert (folder / "checkpoints" / "last.safetensors").exists()
    return folder


@pytest.fixture
def unfinished(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_met_a_full_disk_continues_when_there_is_room(unfinished, digits, call_main):
    done = call_main("modeling.train", *digits, "training.optimizer=SGD", f"run.resume={unfinished}")
    assert done.returncode == 0, done.stderr
    assert (unfinished / "run.json").exists()


@pytest.mark.slow
def test_a_resume_with_another_configuration(unfinished, digits, call_main):
    message = refused(
        call_main("modeling.train", *digits, f"run.resume={unfinished}", "training.optimizer=SGD", "run.seed=7")
    )
    assert "different settings that decide its weights: run.seed was 42, now 7" in message


@pytest.mark.slow
def test_damaged_checkpoints(unfinished, digits, call_main):
    for path in (unfinished / "checkpoints").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    message = refused(call_main("modeling.train", *digits, "training.optimizer=SGD", f"run.resume={unfinished}"))
    assert "no readable checkpoint there" in message
    assert "make train" in message


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("modeling.summary", ["~/none"]),
        ("modeling.summary", ["reports/one.json", "~/none"]),
        ("runs.signature", ["sign", "~/none", "id_ed25519"]),
        ("release.champions", ["promote", "~/none", "why"]),
        ("course_report", ["~/none"]),
        ("lifecycle.labelling.labels", ["~/none", ""]),
    ],
)
def test_a_tilde_that_quotes_keep_from_the_shell_is_the_home_folder(module, words, tmp_path, monkeypatch, call_main):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert refused(call_main(module, *words, cwd=tmp_path)).startswith(f"error: {tmp_path}/home/none: ")
    assert not list(tmp_path.iterdir())


def test_of_two_values_of_a_word_none_is_passed_over_in_silence():
    assert values_of(["source=", "source=gate", "source=gate", "why=a = b"]) == {"source": "gate", "why": "a = b"}
    with pytest.raises(ConfigError, match="source=yard: source=gate is named before; name one"):
        values_of(["source=gate", "source=yard"])
