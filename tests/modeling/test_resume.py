"""A run that is disturbed ends with the same bits as one that is not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import PipelineError, ResumeError, TrainingError
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.checkpoints import load_checkpoint
from drift_detector_pipeline.runs.receipts import read_receipt

HOLD = """import sys
from pathlib import Path
from drift_detector_pipeline.files import held_alone
with held_alone(Path(sys.argv[1])) as alone:
    print("held" if alone else "refused", flush=True)
    sys.stdin.read()
"""
EPOCHS, STEPS_PER_EPOCH = 3, 4
STEPS = EPOCHS * STEPS_PER_EPOCH
EVERY = 3  # checkpoints: at steps 0, 3, 6, 9, 12


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A real convolutional net with BatchNorm, dropout, averaged weights and random views, on real digits."""
    processed = tmp_path_factory.mktemp("data") / "digits"
    overrides = [
        "data=digits", f"data.processed_path={processed}", "data.stored_side_px=16", "data.img_size=16",
        "data.val_fraction=0.7", "data.dataloader_workers=0", "data.augmentation.min_area=0.6",
        "model.name=conv_small", "model.options.channels=[8,8,8]", "model.options.drop_rate=0.3",
        f"training.epochs={EPOCHS}", "training.batch_size=120", "data.limit=480", "training.ema_decay=0.9",
        f"run.checkpoint_every={EVERY}",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert train(load([*settings, f"hydra.run.dir={folder}"])).exit_status == 0
    return folder


class Gone(BaseException):
    """Ends a training in the middle, with no chance to write anything."""


def train_until(step, overrides):
    def leave(done):
        if done == step:
            raise Gone

    with pytest.raises(Gone):
        train(load(overrides), leave)


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    timeless = [json.loads(line) for line in lines]
    for row in timeless:
        assert row.pop("seconds") > 0
        assert row.pop("images_per_second") > 0
    return timeless


def assert_same(folder, undisturbed):
    assert read_receipt(folder).weights_sha256 == read_receipt(undisturbed).weights_sha256
    assert [list(row.items()) for row in rows(folder)] == [list(row.items()) for row in rows(undisturbed)]  # in order


def test_the_steps_are_as_many_as_these_tests_count_on(undisturbed):
    assert read_receipt(undisturbed).final.step == STEPS
    assert len(rows(undisturbed)) == EPOCHS


@pytest.mark.parametrize("step", [1, EVERY, STEPS_PER_EPOCH, EVERY + 2, STEPS - 1, STEPS])
def test_a_run_gone_after_any_step_continues_to_the_same_bits(step, settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    train_until(step, [*settings, f"hydra.run.dir={folder}"])
    again = []
    assert train(load([*settings, f"run.resume={folder}"]), again.append).exit_status == 0
    assert again == list(range(step - step % EVERY + 1, STEPS + 1))  # at most EVERY - 1 steps are done twice
    assert_same(folder, undisturbed)


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_loader_workers_gives_the_same_bits(workers, settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    train(load([*settings, f"hydra.run.dir={folder}", f"data.dataloader_workers={workers}"]))
    assert_same(folder, undisturbed)


@pytest.mark.slow
def test_workers_and_checkpoint_interval_may_change_between_pieces_of_a_run(settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    train_until(5, [*settings, f"hydra.run.dir={folder}"])
    train_until(7, [*settings, f"run.resume={folder}", "data.dataloader_workers=2", "run.checkpoint_every=1"])
    train(load([*settings, f"run.resume={folder}"]))
    assert_same(folder, undisturbed)


def test_another_seed_gives_other_bits(settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    train(load([*settings, f"hydra.run.dir={folder}", "run.seed=7"]))
    assert read_receipt(folder).weights_sha256 != read_receipt(undisturbed).weights_sha256


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "empty"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(damage, settings, undisturbed, tmp_path, capsys):
    folder = tmp_path / "run"
    train_until(7, [*settings, f"hydra.run.dir={folder}"])
    last = folder / "checkpoints" / "last.safetensors"
    content = bytearray(last.read_bytes())
    content[-10] ^= 1
    damaged = {"cut": bytes(content[: len(content) // 2]), "flip": bytes(content), "empty": b""}
    last.unlink() if damage == "missing" else last.write_bytes(damaged[damage])
    again = []
    train(load([*settings, f"run.resume={folder}"]), again.append)
    assert again[0] == 3 + 1
    assert "previous.safetensors" in capsys.readouterr().err
    assert_same(folder, undisturbed)


def test_two_damaged_checkpoints_are_an_error_that_says_what_to_do(settings, tmp_path):
    folder = tmp_path / "run"
    train_until(7, [*settings, f"hydra.run.dir={folder}"])
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PipelineError, match="make train"):
        train(load([*settings, f"run.resume={folder}"]))


@pytest.mark.slow
def test_a_resume_with_other_bit_deciding_settings_is_refused_and_harmless(settings, tmp_path):
    folder = tmp_path / "run"
    start = ["run.threads=2", "run.precision=bf16"]
    train_until(4, [*settings, f"hydra.run.dir={folder}", *start])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for override, named in {
        "training.learning_rate=0.1": "training.learning_rate was 0.001, now 0.1",
        "run.seed=1": "run.seed was 42, now 1",
        "run.precision=fp32": "run.precision",
        "run.threads=1": "run.threads",
        "data.augmentation.flip=true": "data.augmentation.flip was False, now True",
        "model.options.drop_rate=0.1": "model.options.drop_rate was 0.3, now 0.1",
    }.items():
        with pytest.raises(ResumeError, match=named):
            train(load([*settings, *start, override, f"run.resume={folder}"]))
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_resume_into_another_folder_a_finished_run_or_nothing_is_refused(settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    train_until(1, [*settings, f"hydra.run.dir={folder}"])
    with pytest.raises(ResumeError, match="leave out hydra"):
        train(load([*settings, f"run.resume={folder}", f"hydra.run.dir={tmp_path}/other"]))
    with pytest.raises(ResumeError, match="finished"):
        train(load([*settings, f"run.resume={undisturbed}"]))
    with pytest.raises(ResumeError, match=r"no such folder; name a run's, .* make train$"):
        train(load([*settings, f"run.resume={tmp_path}/nothing"]))
    with pytest.raises(ResumeError, match=r"run\.resume=true: no such folder"):
        train(load([*settings, "run.resume=true", f"hydra.run.dir={tmp_path}/other"]))
    with pytest.raises(ResumeError, match="holds a run already"):
        train(load([*settings, f"hydra.run.dir={undisturbed}"]))


def test_a_run_that_goes_on_in_another_process_is_refused_and_unharmed(settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    train_until(4, [*settings, f"hydra.run.dir={folder}"])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / ".training.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ResumeError, match="another process trains there"):
            train(load([*settings, f"run.resume={folder}"]))
        with pytest.raises(ResumeError, match=r"holds a run already\. Continue it"):
            train(load([*settings, f"hydra.run.dir={folder}"]))
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        other.communicate()
    train(load([*settings, f"run.resume={folder}"]))
    assert_same(folder, undisturbed)


def test_a_training_holds_its_folder_as_long_as_it_goes_on(settings, tmp_path):
    folder, found = tmp_path / "run", []
    command = [sys.executable, "-c", HOLD, str(folder / ".training.lock")]

    def ask(step):
        if step == 1:
            found.append(subprocess.run(command, input=b"", capture_output=True).stdout)

    train(load([*settings, f"hydra.run.dir={folder}"]), ask)
    assert found == [b"refused\n"]
    assert subprocess.run(command, input=b"", capture_output=True).stdout == b"held\n"


def test_a_new_run_whose_name_is_taken_has_another_one_unless_the_name_was_given(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    composed = load(settings)
    (tmp_path / composed.run_folder).mkdir(parents=True)
    assert train(composed).folder == composed.run_folder.with_name(f"{composed.run_folder.name}_2")
    assert not any((tmp_path / composed.run_folder).iterdir())
    with pytest.raises(ResumeError, match="a finished one"):
        train(load([*settings, f"hydra.run.dir={composed.run_folder}_2"]))


@pytest.mark.parametrize("left", [[], ["incoming.safetensors"], [".incoming.safetensors.partial"]])
def test_a_run_gone_before_its_first_checkpoint_was_whole_starts_again_in_its_folder(
    left, settings, undisturbed, tmp_path
):
    shutil.copytree(undisturbed / ".hydra", tmp_path / "run" / ".hydra")
    (tmp_path / "run" / "checkpoints").mkdir()
    for name in left:
        (tmp_path / "run" / "checkpoints" / name).write_bytes(b"half")
    with pytest.raises(ResumeError, match="start anew: make train"):
        train(load([*settings, f"run.resume={tmp_path}/run"]))
    train(load([*settings, f"hydra.run.dir={tmp_path}/run"]))
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("keep", [0, -1])
def test_a_run_without_a_whole_checkpoint_is_not_said_to_go_on(keep, settings, tmp_path):
    folder = tmp_path / "run"
    train_until(4, [*settings, f"hydra.run.dir={folder}"])
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ResumeError, match=r"(?i)start anew"):
        train(load([*settings, f"run.resume={folder}"]))
    with pytest.raises(ResumeError, match=r"none of its checkpoints is whole\. Choose another .*rm -r"):
        train(load([*settings, f"hydra.run.dir={folder}"]))


@pytest.mark.slow
def test_resume_auto_finds_the_newest_unfinished_run_with_these_settings_only(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine, other = Path("outputs/2026-01-01/00-00-01"), Path("outputs/2026-01-01/00-00-02")
    train_until(4, [*settings, f"hydra.run.dir={mine}"])
    train_until(4, [*settings, f"hydra.run.dir={other}", "run.seed=1"])
    assert train(load([*settings, "run.resume=auto"])).folder == mine
    assert train(load([*settings, "run.resume=auto"])).folder not in (mine, other)


def test_a_loss_that_is_not_finite_stops_the_run_naming_step_and_batch(settings, tmp_path):
    with pytest.raises(TrainingError, match=r"at step \d+ \(epoch \d, batch \d of 4\)"):
        train(
            load([*settings, f"hydra.run.dir={tmp_path}/run", "training.learning_rate=1e30", "training.optimizer=SGD"])
        )
    progress = load_checkpoint(tmp_path / "run" / "checkpoints").progress
    assert progress["loss_sum"] == progress["loss_sum"]


def interrupted(tmp_path, name, at, overrides):
    script = Path(__file__).parents[1] / "interrupted_training.py"
    command = [sys.executable, "-W", "error", str(script), str(tmp_path / "steps"), name, str(at), *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def steps_done(tmp_path):
    return [int(line) for line in (tmp_path / "steps").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "status"), [("SIGKILL", -9), ("SIGTERM", 143), ("SIGINT", 130)])
def test_a_process_ended_by_a_signal_continues_to_the_same_bits(name, status, settings, undisturbed, tmp_path, capsys):
    folder = tmp_path / "run"
    first = interrupted(tmp_path, name, 5, [*settings, f"hydra.run.dir={folder}", "data.dataloader_workers=2"])
    assert first.returncode == status, first.stderr
    done_before = len(steps_done(tmp_path))
    if name != "SIGKILL":
        assert f"run.resume={folder}" in first.stdout
    again = []
    assert train(load([*settings, f"run.resume={folder}"]), again.append).exit_status == 0
    assert len({*steps_done(tmp_path)} & {*again}) == (2 if name == "SIGKILL" else 0)
    assert done_before >= 5
    assert f"continuing {folder} from step" in capsys.readouterr().out
    assert_same(folder, undisturbed)


@pytest.mark.slow
def test_an_error_nobody_expected_ends_the_process_and_its_workers(settings, tmp_path):
    """Workers do not hear SIGTERM, for which Python waits at exit."""
    code = """import sys
from drift_detector_pipeline.config import load
from drift_detector_pipeline.modeling.train import train
train(load(sys.argv[1:]), lambda step: {}[step])"""
    words = [*settings, f"hydra.run.dir={tmp_path / 'run'}", "data.dataloader_workers=2"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("KeyError: 1"), done.stderr


@pytest.mark.slow
def test_a_run_killed_again_and_again_still_ends_with_the_same_bits(settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    for number, at in enumerate((4, 8)):
        where = f"run.resume={folder}" if number else f"hydra.run.dir={folder}"
        assert interrupted(tmp_path, "SIGKILL", at, [*settings, where]).returncode == -9
    assert train(load([*settings, f"run.resume={folder}"])).exit_status == 0
    assert_same(folder, undisturbed)
