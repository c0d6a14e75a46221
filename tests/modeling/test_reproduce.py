"""`make reproduce`: a run done again from its receipt, and what is said when the bits differ."""

import json
import shutil
import signal

import pytest
from conftest import called

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.files import sealed
from drift_detector_pipeline.modeling import train as train_module
from drift_detector_pipeline.modeling.reproduce import reproduce
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.stopped import Stopped


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of a tiny model on real digits, which has used every kind of setting; do not change it."""
    folder = tmp_path_factory.mktemp("finished")
    overrides = [
        "data=digits", f"data.processed_path={folder}/digits", "data.stored_side_px=8", "data.img_size=8",
        "data.val_fraction=0.7", "data.dataloader_workers=0", "model.name=mlp", "model.options.width=16",
        "training.epochs=2", "training.batch_size=120", "training.sizes_px=[8,16]", "training.ema_decay=0.9",
        "run.seed=3", f"hydra.run.dir={folder}/run",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return train(load(overrides)).folder


@pytest.fixture
def copy(finished, tmp_path, monkeypatch):
    """A copy of that run, in a current folder of its own."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished, tmp_path / "copy")


def edit(folder, change):
    path = folder / "run.json"
    receipt = json.loads(path.read_text())
    change(receipt)
    path.write_text(json.dumps(sealed(receipt)))


def only_new_run(tmp_path):
    [receipt] = (tmp_path / "outputs").glob("*/*/run.json")
    return receipt.parent


def test_a_fresh_run_is_reproduced_to_the_bit_in_a_folder_of_its_own(copy, tmp_path, capsys):
    assert reproduce(copy)
    again = only_new_run(tmp_path)
    assert read_receipt(again).weights_sha256 == read_receipt(copy).weights_sha256
    assert read_receipt(again).recorded["training"] == read_receipt(copy).recorded["training"]
    assert (again / "final_model.safetensors").read_bytes() == (copy / "final_model.safetensors").read_bytes()
    assert f"the same bits: {copy} is reproduced" in capsys.readouterr().out


def test_the_configuration_beside_the_new_run_is_that_of_the_old_one(copy, tmp_path):
    reproduce(copy)
    written = (only_new_run(tmp_path) / ".hydra" / "config.yaml").read_text()
    assert "width: 16" in written
    assert "epochs: 2" in written


def test_other_bits_are_noticed_and_each_recorded_fact_that_differs_is_named(copy, capsys):
    def change(receipt):
        receipt["weights_sha256"]["final_model.safetensors"] = "0" * 64
        receipt["packages"]["torch"] = "1.0"
        receipt["instruction_set"] = "abacus"
        receipt["identity"]["data.fingerprint"] = "f" * 64

    edit(copy, change)
    assert not reproduce(copy)
    said = capsys.readouterr().err
    assert "the bits differ; recorded facts that differ: " in said
    assert "packages: torch was '1.0', now '" in said
    assert "instruction_set was 'abacus', now '" in said
    assert "data.fingerprint was 'fff" in said
    assert "numpy" not in said


def test_other_bits_with_no_fact_that_differs_are_said_to_be_just_that(copy, capsys):
    def change(receipt):
        receipt["weights_sha256"]["best_model.safetensors"] = "0" * 64

    edit(copy, change)
    assert not reproduce(copy)
    assert "recorded facts that differ: none" in capsys.readouterr().err


def test_the_same_bits_with_other_facts_agree_and_the_facts_are_named(copy, capsys):
    def change(receipt):
        receipt["packages"]["wandb"] = "0.0"

    edit(copy, change)
    assert reproduce(copy)
    assert "the same although other facts differ: packages: wandb was '0.0'" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["settings", "device", "precision", "threads", "processes", "weights_sha256"])
def test_a_receipt_with_a_part_missing_is_refused(missing, copy):
    edit(copy, lambda receipt: receipt.pop(missing))
    with pytest.raises(ResumeError, match=rf"run\.json: no whole receipt .*{missing}"):
        reproduce(copy)


@pytest.mark.parametrize("content", ["", "{", '{"final": ', "[]", "{}", "null"])
def test_a_damaged_receipt_is_refused(content, copy):
    (copy / "run.json").write_text(content)
    with pytest.raises(ResumeError, match=r"run\.json: no (readable JSON|whole receipt)"):
        reproduce(copy)


def test_a_receipt_with_settings_of_another_version_is_refused(copy):
    edit(copy, lambda receipt: receipt["settings"]["training"].update(colour="red"))
    with pytest.raises(ResumeError, match=r"settings this version does not know .*training\.colour"):
        reproduce(copy)


def test_a_run_of_several_processes_is_not_repeated_by_one(copy):
    edit(copy, lambda receipt: receipt.update(processes=2))
    with pytest.raises(ResumeError, match="torchrun --nproc-per-node=2"):
        reproduce(copy)


def test_an_unfinished_run_has_nothing_to_compare_with(copy):
    (copy / "run.json").unlink()
    with pytest.raises(ResumeError, match=r"no run\.json, so no finished run"):
        reproduce(copy)


@pytest.mark.slow
def test_the_command_takes_the_newest_finished_run_and_its_exit_status_is_the_verdict(copy, tmp_path):
    newest = shutil.copytree(copy, tmp_path / "outputs" / "2026-01-01" / "00-00-02")
    older = shutil.copytree(copy, tmp_path / "outputs" / "2026-01-01" / "00-00-03")
    edit(older, lambda receipt: receipt.update(end="2000-01-01T00:00:00+00:00"))
    same = called("modeling.reproduce", cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    assert "outputs/2026-01-01/00-00-02 is reproduced" in same.stdout
    edit(newest, lambda receipt: receipt["weights_sha256"].update({"final_model.safetensors": "0" * 64}))
    other = called("modeling.reproduce", str(newest), cwd=tmp_path)
    assert other.returncode == 2, other.stderr
    nothing = called("modeling.reproduce", cwd=older)
    assert nothing.returncode == 1
    assert nothing.stderr == "error: no finished run under outputs/; train one first: make train\n"


def test_a_signal_that_comes_after_the_last_step_stops_what_would_follow(copy, monkeypatch):
    """The training answers it by ending, and its own status is 0."""
    last = train_module.save_result

    def told(session, name):
        last(session, name)
        if name.startswith("final"):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(train_module, "save_result", told)
    with pytest.raises(Stopped):
        reproduce(copy)
    assert newest_finished().parent.parent.name == "outputs"
