"""conf/wandb_sweep.yaml: what W&B's own tools make of it is a training command."""

import os
import subprocess
from pathlib import Path

import pytest
import wandb_server
import yaml
from conftest import ROOT

from drift_detector_pipeline.config import CONF, group_choices, load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.runs.tracking.tracker import epoch_scalars
from drift_detector_pipeline.settings import valid_keys
from drift_detector_pipeline.tasks.headline import ACCURACY

SWEEP = CONF / "wandb_sweep.yaml"
WANDB = ROOT / ".venv" / "bin" / "wandb"


@pytest.fixture(scope="module")
def sweep():
    return yaml.safe_load(SWEEP.read_text())


def first_trial(sweep):
    """The values a trial could have: each parameter's own, smallest or first."""
    chosen = {
        key: one.get("value", one.get("min", one.get("values", [None])[0])) for key, one in sweep["parameters"].items()
    }
    return {key: {"value": value} for key, value in chosen.items()}


def test_every_parameter_is_a_key_of_the_configuration(sweep):
    assert sweep["parameters"].keys() <= {*valid_keys(), *group_choices()}
    row = {"train_loss": 0, "val_loss": 0, "val_accuracy": 0, "images_per_second": 0}
    assert sweep["metric"]["name"] in epoch_scalars(row)


def test_the_command_of_a_trial_is_one_that_trains(sweep, monkeypatch):
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args  # a second that whoever collects need not pay

    monkeypatch.setenv("WANDB_RUN_ID", "trial7")
    made = create_sweep_command_args({"args": first_trial(sweep)})["args_no_hyphens"]
    words = [word for part in sweep["command"] for word in (made if part == "${args_no_hyphens}" else [part])]
    module = words.index("drift_detector_pipeline.modeling.train")
    assert words[1 : module + 1] == [".venv/bin/python", "-m", "drift_detector_pipeline.modeling.train"]
    assert (ROOT / sweep["program"]).is_file()
    composed = load(words[module + 1 :])
    assert composed.run_folder == Path("outputs/wandb_sweep/trial7")
    assert composed.settings.training.learning_rate == sweep["parameters"]["training.learning_rate"]["min"]


@pytest.mark.slow
def test_wandbs_sweep_and_agent_run_a_trial_that_arrives_under_the_agents_id(sweep, tmp_path):
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    process(load(["data=digits", f"data.processed_path={tmp_path}/data/processed/digits"]).settings.data)
    values = first_trial(sweep) | {"model.name": {"value": "mlp"}, "training.epochs": {"value": 1}}
    with wandb_server.serving() as server:
        server.trials = [{"type": "run", "run_id": "trial", "program": sweep["program"], "args": values}]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")} | {
            "WANDB_BASE_URL": server.url, "WANDB_API_KEY": wandb_server.API_KEY, "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path), "CI_MODE": "false",
        }  # fmt: skip
        wandb_command(["sweep", "--project", "mine", str(SWEEP)], environment, tmp_path)
        assert yaml.safe_load(server.sweep) == sweep
        said = wandb_command(["agent", "somebody/mine/sweep"], environment, tmp_path)
    assert "warning" not in said
    assert list(server.config) == ["trial"]
    final = read_receipt(tmp_path / "outputs" / "wandb_sweep" / "trial").final
    accuracies = [line["val/accuracy"] for line in server.history["trial"] if "val/accuracy" in line]
    assert accuracies == [final.value(ACCURACY)]
    assert server.exit_codes["trial"] == [0]


def wandb_command(words, environment, folder):
    done = subprocess.run([WANDB, *words], env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
