"""Every training option runs and has its effect; a run leaves the files it promises."""

import json
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, ModelError, TrainingError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.modeling.session import Progress, Session
from drift_detector_pipeline.modeling.step import count_time, images_per_second
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.weights import load_model, unpack_tensors
from drift_detector_pipeline.runs.checkpoints import load_checkpoint
from drift_detector_pipeline.runs.receipts import read_receipt

EPOCHS, STEPS_PER_EPOCH = 2, 4
NO_MOMENTUM = ["training.optimizer_options.momentum=0", "training.optimizer_options.nesterov=false"]
FIELDS = ["epoch", "step", "train_loss", "val_loss", "val_accuracy", "learning_rate", "images_per_second", "seconds"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Overrides for a small MLP on real digits: four steps an epoch."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.val_fraction=0.7", "data.dataloader_workers=0", "data.augmentation.shift_px=0",
        "model.name=mlp", f"training.epochs={EPOCHS}", "training.batch_size=120", "training.warmup_fraction=0",
        "training.scheduler=none", "run.precision=fp32", "run.device=cpu",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture
def run(digits, tmp_path):
    """Trains with further overrides in a folder of its own; returns the folder."""

    def start(name, *overrides):
        assert train(load([*digits, f"hydra.run.dir={tmp_path}/{name}", *overrides])).exit_status == 0
        return tmp_path / name

    return start


@pytest.fixture(scope="module")
def plain(digits, tmp_path_factory):
    """A run with none of the options."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(load([*digits, f"hydra.run.dir={folder}"]))
    return folder


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    return unpack_tensors(folder / "final_model.safetensors")[0]


def raw(folder, name="model."):
    tensors = load_checkpoint(folder / "checkpoints").tensors
    return {key.removeprefix(name): tensor for key, tensor in tensors.items() if key.startswith(name)}


def distance(first, second):
    return sum(float((first[name].float() - second[name].float()).square().sum()) for name in first) ** 0.5


def batch_losses(folder):
    return [event.value for event in scalars(folder, "train/batch_loss")]


def scalars(folder, name):
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return events.Scalars(name)


def test_training_learns(run):
    folder = run("long", "training.epochs=12", "training.learning_rate=0.01")
    assert rows(folder)[-1]["val_accuracy"] > 0.8
    assert rows(folder)[-1]["val_loss"] < rows(folder)[0]["val_loss"]


def test_averaged_weights_differ_from_raw_ones_and_are_the_ones_evaluated_and_saved(run, plain):
    folder = run("ema", "training.ema_decay=0.9", f"run.checkpoint_every={STEPS_PER_EPOCH * EPOCHS}")
    saved = weights(folder)
    assert distance(saved, raw(folder)) > 0.01
    assert distance(saved, raw(folder, "average.")) == 0
    assert distance(raw(folder), weights(plain)) == 0  # averaging only watches
    assert rows(folder)[-1]["val_loss"] != rows(plain)[-1]["val_loss"]


def test_clipping_to_a_tiny_norm_keeps_the_weights_near_the_start(run):
    def travelled(name, *overrides):
        folder = run(name, "training.optimizer=SGD", "training.weight_decay=0", "training.learning_rate=0.1",
                     *NO_MOMENTUM, "run.checkpoint_every=100", *overrides)  # fmt: skip
        return distance(raw(folder), weights(folder))  # the only checkpoint is the one before the first step

    limit = 1e-4
    assert travelled("clipped", f"training.gradient_clip_norm={limit}") <= 0.1 * limit * STEPS_PER_EPOCH * EPOCHS * 1.01
    assert travelled("free") > 0.01


def test_early_stopping_stops_after_patience_and_says_so(run, capsys):
    folder = run("early", "training.epochs=50", "training.learning_rate=1e-30", "training.early_stopping_patience=2")
    assert [row["epoch"] for row in rows(folder)] == [1, 2, 3]
    assert read_receipt(folder).best.epoch == 1
    assert read_receipt(folder).final.epoch == 3
    assert "stopped early: 2 epochs without a better val_accuracy" in capsys.readouterr().out


def test_label_smoothing_raises_the_training_loss_but_not_the_measure_of_validation(run):
    still = ["training.learning_rate=1e-30", "training.epochs=1"]
    sharp, smooth = (run(f"s{share}", *still, f"training.label_smoothing={share}") for share in (0.0, 0.5))
    assert rows(sharp)[0]["train_loss"] != rows(smooth)[0]["train_loss"]
    assert rows(sharp)[0]["val_loss"] == rows(smooth)[0]["val_loss"]


def test_sizes_train_each_epoch_at_its_own_and_evaluate_at_that_of_the_data(run):
    folder = run("sizes", "training.sizes_px=[16,8]", "training.learning_rate=1e-30")
    assert rows(folder)[0]["train_loss"] != pytest.approx(rows(folder)[1]["train_loss"], abs=1e-3)
    assert rows(folder)[0]["val_loss"] == pytest.approx(rows(folder)[1]["val_loss"], abs=1e-6)
    _, description = load_model(folder / "final_model.safetensors")
    assert description["preprocessing"]["img_size"] == 8


def test_as_many_sizes_as_epochs_are_needed(digits):
    with pytest.raises(ConfigError, match=r"training\.sizes_px has 3 sizes, training\.epochs=2"):
        load([*digits, "training.sizes_px=[8,8,8]"])


@pytest.mark.parametrize(
    ("scheduler", "relative"),
    [
        ("CosineAnnealingLR", [1.0, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038]),
        ("StepLR", [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ("OneCycleLR", [1.0, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038]),
        ("none", [1.0] * 8),
    ],
)
def test_each_scheduler_sets_the_rate_of_each_step(scheduler, relative, run):
    folder = run("rate", f"training.scheduler={scheduler}", "training.learning_rate=0.01")
    found = [event.value for event in scalars(folder, "train/learning_rate")]
    assert found == pytest.approx([0.01 * share for share in relative], rel=0.01)
    assert rows(folder)[-1]["learning_rate"] == pytest.approx(found[-1])


def test_the_rate_that_is_written_is_the_one_that_moves_the_weights(run):
    options = ["training.optimizer=SGD", *NO_MOMENTUM, "training.weight_decay=0",
               "training.epochs=1", "training.batch_size=480", "run.checkpoint_every=100"]  # fmt: skip
    one, two = (run(name, *options, f"training.learning_rate={rate}") for name, rate in (("1", 0.01), ("2", 0.02)))
    assert distance(raw(two), weights(two)) == pytest.approx(2 * distance(raw(one), weights(one)), rel=1e-3)


def test_both_precisions_learn_alike_but_not_the_same_bits(run):
    full, half = (run(name, f"run.precision={name}", "training.learning_rate=0.01") for name in ("fp32", "bf16"))
    assert rows(full)[-1]["train_loss"] == pytest.approx(rows(half)[-1]["train_loss"], rel=0.05)
    assert read_receipt(full).weights_sha256 != read_receipt(half).weights_sha256
    assert {read_receipt(full).precision, read_receipt(half).precision} == {"fp32", "bf16"}
    assert {tensor.dtype for tensor in weights(half).values()} == {torch.float32}


@pytest.mark.parametrize("name", ["lion", "muon", "lamb"])
def test_a_timm_optimizer_by_name_trains(name, run):
    folder = run(name, f"training.optimizer={name}", "training.learning_rate=0.003")
    assert batch_losses(folder)[-1] < batch_losses(folder)[0]


def test_a_batch_larger_than_the_data_is_refused(digits, tmp_path):
    with pytest.raises(ConfigError, match=r"training\.batch_size=5000 .* has \d+ to train on; pass a smaller"):
        train(load([*digits, f"hydra.run.dir={tmp_path}/run", "training.batch_size=5000"]))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(device, digits, tmp_path):
    with pytest.raises(
        ConfigError, match=rf"run\.device={device}: PyTorch sees 0 CUDA devices here; use run\.device=cpu"
    ):
        train(load([*digits, f"hydra.run.dir={tmp_path}/run", f"run.device={device}"]))
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_or_optimizer_leaves_no_run_folder(digits, tmp_path):
    for override in ("model.name=resnet81", "training.optimizer=adamv"):
        with pytest.raises(ModelError, match="the nearest are"):
            train(load([*digits, f"hydra.run.dir={tmp_path}/run", override]))
        assert not (tmp_path / "run").exists()


def test_metrics_have_one_row_an_epoch_with_the_promised_fields(plain):
    found = rows(plain)
    assert [list(row) for row in found] == [FIELDS] * EPOCHS
    assert [row["epoch"] for row in found] == [1, 2]
    assert [row["step"] for row in found] == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH]
    for row in found:
        assert 0 <= row["val_accuracy"] <= 1
        assert row["images_per_second"] > 0
        assert row["seconds"] >= 0


def test_the_training_loss_of_an_epoch_is_the_mean_of_its_steps(plain):
    losses = batch_losses(plain)
    for epoch, row in enumerate(rows(plain)):
        mean = sum(losses[epoch * STEPS_PER_EPOCH : (epoch + 1) * STEPS_PER_EPOCH]) / STEPS_PER_EPOCH
        assert row["train_loss"] == pytest.approx(mean, rel=1e-6)


def test_the_receipt_holds_what_it_takes_to_explain_the_weights(plain, digits):
    receipt, manifest = read_receipt(plain), json.loads((manifest_path(digits)).read_text())
    promised = {
        "command", "git", "processed_path", "data_fingerprint", "packages", "python", "seed", "device",
        "instruction_set", "threads", "precision", "processes", "start", "end", "where", "best", "final",
        "weights_sha256", "settings", "overrides",
    }  # fmt: skip
    assert promised <= json.loads((plain / "run.json").read_text()).keys()
    assert receipt.git.model_dump().keys() == {"commit", "dirty"}
    assert receipt.data_fingerprint == manifest["fingerprint"]
    assert receipt.packages["torch"] == torch.__version__.partition("+")[0]
    assert receipt.seed == 42
    assert receipt.threads == torch.get_num_threads()
    assert receipt.processes == 1
    assert receipt.start <= receipt.end
    assert receipt.final.model_dump() == rows(plain)[-1]
    assert receipt.best.model_dump() == max(rows(plain), key=lambda row: row["val_accuracy"])
    names = ("final_model.safetensors", "best_model.safetensors")
    assert receipt.weights_sha256 == {name: file_hash(plain / name) for name in names}


def manifest_path(overrides):
    return load(overrides).settings.data.processed_path / "manifest.json"


def test_a_run_folder_holds_its_configuration_and_what_a_person_reads(plain, digits):
    assert {path.name for path in plain.iterdir()} == {
        ".hydra", "train.log", "metrics.jsonl", "final_model.safetensors", "best_model.safetensors",
        "checkpoints", "tensorboard", "run.json", ".training.lock",
    }  # fmt: skip
    assert (plain / ".hydra" / "overrides.yaml").read_text().splitlines()[0] == f"- {digits[0]}"
    assert "epochs: 2" in (plain / ".hydra" / "config.yaml").read_text()
    assert "val_accuracy" in (plain / "train.log").read_text()


class Gone(BaseException):
    """Ends a training in the middle, with no chance to write anything."""


def test_event_files_have_each_step_once_also_after_a_resume(plain, digits, tmp_path):
    folder = tmp_path / "run"

    def leave(step):
        if step == 7:
            raise Gone

    with pytest.raises(Gone):
        train(load([*digits, f"hydra.run.dir={folder}", "run.checkpoint_every=3"]), leave)
    train(load([*digits, f"run.resume={folder}"]))
    for name in ("train/batch_loss", "train/learning_rate", "val/accuracy", "val/epoch_loss", "train/epoch_loss"):
        resumed, undisturbed = ([(event.step, event.value) for event in scalars(at, name)] for at in (folder, plain))
        assert resumed == undisturbed
    assert [event.step for event in scalars(folder, "train/batch_loss")] == list(range(1, 9))


@pytest.mark.slow
def test_the_threads_of_one_run_do_not_become_those_of_the_next(digits, tmp_path):
    before = torch.get_num_threads()
    train(load([*digits, f"run.threads={before + 1}", f"hydra.run.dir={tmp_path}/run"]))
    assert torch.get_num_threads() == before


def test_accumulated_batches_learn_as_the_large_batch_does(run, plain):
    """The same images a step, in four parts: the same losses but for rounding, in the same number of steps."""
    parts = run("parts", "training.batch_size=30", "training.accumulate_steps=4")
    assert batch_losses(parts) == pytest.approx(batch_losses(plain), rel=1e-4)
    assert rows(parts)[-1]["step"] == rows(plain)[-1]["step"]
    assert rows(parts)[-1]["val_loss"] == pytest.approx(rows(plain)[-1]["val_loss"], rel=1e-4)
    assert distance(weights(parts), weights(plain)) < 1e-3 * distance(weights(plain), raw(plain))


def test_a_number_of_steps_ends_a_training_within_an_epoch_at_the_end_of_its_learning_rate(run):
    folder = run("steps", "training.max_steps=6", "training.epochs=50", "training.scheduler=CosineAnnealingLR")
    assert [row["step"] for row in rows(folder)] == [4, 6]
    assert len(batch_losses(folder)) == 6
    assert rows(folder)[-1]["train_loss"] == pytest.approx(sum(batch_losses(folder)[4:]) / 2)
    rates = [event.value for event in scalars(folder, "train/learning_rate")]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 * rates[0]


def test_a_loss_that_is_looked_at_a_step_late_changes_nothing(run, plain, monkeypatch):
    """What a GPU does, so that it never waits; checkpoints and epochs still hold every loss."""
    monkeypatch.setattr(Session, "steps_unseen", 1)
    late = run("late", "run.checkpoint_every=3")
    assert file_hash(late / "final_model.safetensors") == file_hash(plain / "final_model.safetensors")
    assert batch_losses(late) == batch_losses(plain)
    assert [row["train_loss"] for row in rows(late)] == [row["train_loss"] for row in rows(plain)]
    with pytest.raises(TrainingError, match="the loss is nan at step"):
        run("late_nan", "training.learning_rate=1e30")


def test_a_process_s_first_steps_do_not_count_in_its_speed():
    progress = Progress("now")
    session = SimpleNamespace(progress=progress, first_step=0, images_per_step=10, steps_per_epoch=5)
    for seconds in (9.0, 4.0, 2.0):
        progress.step += 1
        count_time(session, seconds)
    assert images_per_second(session) == 3 * 10 / 15  # there are no others
    for seconds in (1.0, 1.5):
        progress.step += 1
        count_time(session, seconds)
    assert images_per_second(session) == 2 * 10 / 2.5
    assert progress.seconds == 17.5
