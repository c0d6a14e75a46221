"""W&B: a real `wandb` and a real server on loopback that answers, refuses, hangs or dies; training does not mind."""

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb_server
from conftest import ROOT, ci_environment, module_command, needs_clone
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.files import sealed
from drift_detector_pipeline.modeling.reproduce import reproduce
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.runs.tracking import mirror
from drift_detector_pipeline.runs.tracking.tracker import NoTracker, tracked_id
from drift_detector_pipeline.runs.tracking.wandb_tracking import wandb_tracker

STEPS_PER_EPOCH, EPOCHS, LOG_FREQ = 4, 3, 2
STEPS = STEPS_PER_EPOCH * EPOCHS
EPOCH_NAMES = {"train/epoch_loss": "train_loss", "val/epoch_loss": "val_loss", "val/accuracy": "val_accuracy",
               "perf/images_per_second": "images_per_second"}  # fmt: skip
STEP_NAMES = {"train/batch_loss", "train/learning_rate"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Overrides for a short run on real digits: four steps an epoch, a checkpoint every third step."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.val_fraction=0.7", "data.dataloader_workers=0", "model.name=mlp",
        f"training.epochs={EPOCHS}", "training.batch_size=120", "run.checkpoint_every=3", "run.threads=1",
        f"wandb.log_freq={LOG_FREQ}",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture(scope="module")
def untracked(digits, tmp_path_factory):
    """The hashes of the weights of a run without W&B."""
    folder = tmp_path_factory.mktemp("untracked") / "run"
    train(load([*digits, f"hydra.run.dir={folder}", "wandb.mode=disabled"]))
    assert not (folder / "wandb").exists()
    return read_receipt(folder).weights_sha256


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """No key, no CI, and no server that could be reached by accident."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed_port()}")
    for name in ("WANDB_API_KEY", "WANDB_CONFIG_DIR", "NETRC", "CI_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(nobody, monkeypatch):
    """A W&B server for which there is a key."""
    with wandb_server.serving() as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", wandb_server.API_KEY)
        yield running


@pytest.fixture
def run(digits, tmp_path, capsys, untracked):
    """Train with these overrides; whatever W&B does, the run finishes with the same weights as without it."""

    def tracked(*overrides, after_step=lambda step: None):
        folder, started = tmp_path / "run", time.monotonic()
        outcome = train(load([*digits, f"hydra.run.dir={folder}", *overrides]), after_step)
        seconds, said = time.monotonic() - started, capsys.readouterr()
        assert outcome.exit_status == 0
        assert read_receipt(folder).weights_sha256 == untracked
        assert not writers()
        out, err = ([line for line in text.splitlines() if "W&B" in line and "finishing" not in line] for text in said)
        return SimpleNamespace(folder=folder, seconds=seconds, out=out, err=err, everything=said.out + said.err)

    return tracked


def closed_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def writers():
    """Process ids of this process's children that talk to W&B."""
    return [pid for pid in children(os.getpid()) if "wandb_writer" in Path(f"/proc/{pid}/cmdline").read_text()]


def segments(folder):
    return sorted(path.name for path in (folder / "wandb").iterdir() if "run-" in path.name)


def the_id(folder):
    receipt = read_receipt(folder)
    return tracked_id(receipt.start, folder, receipt.identity)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_tracked(server, folder, *, steps=STEPS):
    """What arrived at the server is what the run's own files say: names, steps, values, images, model, settings."""
    name, receipt = the_id(folder), read_receipt(folder)
    lines = server.history[name]
    for row in rows(folder):
        line = one(line for line in lines if line["_step"] == row["step"] and "val/accuracy" in line)
        assert {ours: line[theirs] for theirs, ours in EPOCH_NAMES.items()}.items() <= row.items()
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    for scalar in STEP_NAMES:
        sent = {line["_step"]: line[scalar] for line in lines if scalar in line}
        written = {event.step: event.value for event in events.Scalars(scalar)}
        assert sorted(sent) == [step for step in range(1, steps + 1) if step % LOG_FREQ == 0]
        assert {step: pytest.approx(written[step]) for step in sent} == sent
    samples = one(line["val/samples"] for line in lines if "val/samples" in line)
    assert samples["count"] == 16 == len(set(samples["filenames"]) & server.files.keys())
    right = sum(caption.endswith("right") for caption in samples["captions"])
    assert right / 16 == pytest.approx(receipt.score, abs=0.4)
    artifact = one(server.artifacts)
    assert (artifact["artifactCollectionName"], artifact["artifactTypeName"]) == ("digits-mlp", "model")
    best = (folder / "best_model.safetensors").read_bytes()
    assert server.files["best_model.safetensors"] == best
    assert server.config[name]["model"]["value"] | {"options": {}} == receipt.recorded["model"]  # {} is not sent
    assert server.exit_codes[name][-1] == 0
    assert server.unknown == []


def one(found):
    values = list(found)
    assert len(values) == 1, values
    return values[0]


def type_command(text):
    """Run the `wandb sync ...` that a line names, as a person would."""
    command = shlex.split(re.search(r"to send it later: (.*)", text).group(1))
    environment = os.environ | {"WANDB_DIR": os.environ["HOME"]}  # of its own log, else the working directory
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)


@pytest.mark.parametrize(
    ("off", "ci"),
    [
        (["wandb.mode=disabled"], "false"),
        (["wandb.mode=disabled"], "true"),
        (["wandb.mode=auto"], "true"),
        (["wandb.mode=online", "wandb.enabled=false"], "false"),
    ],
)
def test_off_is_a_tracker_that_does_nothing(off, ci, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("CI_MODE", ci)
    settings = load([*digits, *off]).settings
    assert isinstance(wandb_tracker(settings, tmp_path, "id", 0), NoTracker)
    assert list(tmp_path.iterdir()) == []


def test_the_environment_says_mode_project_and_entity_unless_the_command_does(monkeypatch):
    for name in ("MODE", "PROJECT", "ENTITY", "NAME"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    assert load(["data=digits"]).settings.wandb.model_dump() == {
        "enabled": True, "project": "drift_detector_pipeline", "entity": None, "run_name": None, "tags": [],
        "mode": "auto", "log_freq": 10,
    }  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert load(["data=digits"]).settings.wandb.mode == "offline"
    assert load(["data=digits"]).settings.wandb.project == "mine"
    assert load(["data=digits", "wandb.mode=disabled"]).settings.wandb.mode == "disabled"


def test_the_id_depends_on_when_where_and_as_what_a_run_started():
    mine = tracked_id("2026-01-01T00:00:00+00:00", Path("outputs/a"), {"run.seed": 1})
    assert re.fullmatch("[0-9a-f]{12}", mine)
    assert mine == tracked_id("2026-01-01T00:00:00+00:00", Path("/moved/a/"), {"run.seed": 1})
    assert mine != tracked_id("2026-01-01T00:00:01+00:00", Path("outputs/a"), {"run.seed": 1})
    assert mine != tracked_id("2026-01-01T00:00:00+00:00", Path("outputs/b"), {"run.seed": 1})
    assert mine != tracked_id("2026-01-01T00:00:00+00:00", Path("outputs/a"), {"run.seed": 2})


@needs_clone
def test_make_takes_the_key_from_its_command_line_or_from_env_and_hides_neither(tmp_path):
    for path in (ROOT / ".venv", ROOT / "Makefile", *ROOT.glob("*.mk")):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / ".env").write_text('WANDB_API_KEY="of the file"\n')
    probe = "probe: ; @$(ENVIRONMENT) printenv WANDB_API_KEY"

    def key(*words, given=""):
        command = ["make", "--no-print-directory", "--eval", probe, "probe", *words]
        environment = os.environ | {"WANDB_API_KEY": given}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout.strip()

    assert key() == "of the file"
    assert key(given="of the environment") == "of the environment"
    assert key("WANDB_API_KEY=of the command") == "of the command"


@pytest.mark.slow
def test_a_run_is_reproduced_with_the_tracking_of_today(digits, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train(load([*digits, f"hydra.run.dir={folder}", "wandb.mode=disabled"]))
    receipt = json.loads((folder / "run.json").read_text())
    del receipt["settings"]["wandb"]  # as receipts were before there was any
    (folder / "run.json").write_text(json.dumps(sealed(receipt)))
    monkeypatch.chdir(tmp_path)
    assert reproduce(folder)


@pytest.mark.slow
def test_offline_nothing_leaves_until_the_command_it_names_is_typed(server, run):
    done = run("wandb.mode=offline", "wandb.run_name=small digits", "wandb.tags=[baseline,mlp]")
    assert (server.history, server.config) == ({}, {})
    assert done.err == []
    assert one(done.out).startswith("W&B: offline; to send it later: ")
    assert re.fullmatch(rf"offline-run-\d+_\d+-{the_id(done.folder)}", one(segments(done.folder)))
    type_command(done.out[0])
    assert_tracked(server, done.folder)
    assert server.shown[the_id(done.folder)] == {"displayName": "small digits", "tags": ["baseline", "mlp"]}


@pytest.mark.slow
def test_without_a_key_auto_is_offline_and_says_so_once(nobody, run):
    done = run("wandb.mode=auto")
    assert one(done.out).startswith("W&B: offline, no key")
    assert done.err == []
    assert [name.startswith("offline-run-") for name in segments(done.folder)] == [True]


@pytest.mark.slow
def test_with_a_key_auto_is_online_and_everything_arrives(server, run, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", f'"{wandb_server.API_KEY}"')  # as docker --env-file hands it on
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    home = Path(os.environ["HOME"])
    done = run("wandb.mode=auto")
    assert done.out == [f"W&B: {server.url}/somebody/drift_detector_pipeline/runs/{the_id(done.folder)}"]
    assert done.err == []
    assert server.shown[the_id(done.folder)]["displayName"] == "/".join(done.folder.resolve().parts[-3:])
    assert "wandb:" not in done.everything
    assert_tracked(server, done.folder)
    assert server.elsewhere == []  # no third party is told
    assert not home.exists() or list(home.rglob("*")) == []  # all files are in the run's folder


@pytest.mark.slow
@pytest.mark.parametrize("mood", ["closed", "hangs", "refuses", "denies", "misspelt key"])
def test_a_server_that_cannot_be_used_leaves_an_offline_run_and_one_warning(mood, server, run, monkeypatch):
    if mood == "closed":
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed_port()}")
    elif mood == "misspelt key":
        monkeypatch.setenv("WANDB_API_KEY", "none")
    else:
        server.mood = mood
    done = run("wandb.mode=auto")
    assert done.seconds < 50
    assert done.out == []
    assert one(done.err).startswith(f"warning: W&B: offline, {os.environ['WANDB_BASE_URL']} cannot be used (")
    assert [name.startswith("offline-run-") for name in segments(done.folder)] == [True]
    server.mood = "answers"
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", wandb_server.API_KEY)
    type_command(done.err[0])
    assert_tracked(server, done.folder)


@pytest.mark.slow
@pytest.mark.parametrize("mood", ["hangs", "refuses", "denies"])
def test_a_server_that_changes_its_mind_costs_one_warning_and_a_bounded_time(mood, server, run):
    def change(step):
        if step == 6:
            wait_until(lambda: any(server.history.values()) or server.config)
            server.mood = mood

    done = run("wandb.mode=auto", after_step=change)
    assert done.seconds < 50
    assert one(done.err).startswith("warning: W&B: not everything arrived (")
    server.mood = "answers"
    type_command(done.err[0])
    sent = server.history[the_id(done.folder)]
    assert {line["_step"] for line in sent if "val/accuracy" in line} == {row["step"] for row in rows(done.folder)}


@pytest.mark.slow
def test_a_model_that_is_refused_is_said_and_the_rest_arrives(server, run):
    server.refused = {"CreateArtifact"}
    done = run("wandb.mode=auto")
    assert "not everything arrived" in one(done.err)
    assert "CreateArtifact" in done.err[0]
    sent = server.history[the_id(done.folder)]
    assert max(line["_step"] for line in sent) == STEPS
    assert server.exit_codes[the_id(done.folder)] == [0]


@pytest.mark.slow
@pytest.mark.parametrize(("which", "said"), [("wandb_writer", "died"), ("wandb-core", "stopped (")])
def test_a_killed_process_of_wandb_costs_one_warning(which, said, server, run):
    def kill(step):
        if step == 6:
            wait_until(lambda: server.config)
            writer = one(writers())
            os.kill(writer if which == "wandb_writer" else one(children(writer)), signal.SIGKILL)

    done = run("wandb.mode=auto", after_step=kill)
    assert done.seconds < 25
    assert said in one(done.err)
    assert "metrics.jsonl and tensorboard/ have everything" in done.err[0]


@pytest.mark.slow
def test_a_wandb_that_cannot_be_imported_costs_one_warning(nobody, run, tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run("wandb.mode=offline")
    assert "its process died, see" in one(done.err)
    assert "ImportError" in (done.folder / "wandb" / "messages.log").read_text()


@pytest.mark.slow
def test_a_process_of_wandb_that_stands_still_is_ended_in_time(server, run, monkeypatch):
    monkeypatch.setattr(mirror, "_SEND_S", 1)
    monkeypatch.setattr(mirror, "_WRITER_SLACK_S", 2)
    stopped = []

    def stop(step):
        if step == 6:
            wait_until(lambda: server.config)
            stopped.append(one(writers()))
            os.kill(stopped[0], signal.SIGSTOP)

    done = run("wandb.mode=auto", "wandb.log_freq=1", after_step=stop)
    assert done.seconds < 20
    assert "came to no end" in one(done.err)
    wait_until(lambda: not Path(f"/proc/{stopped[0]}").exists())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["offline", "auto"])
def test_a_killed_and_resumed_run_is_one_run(mode, server, digits, untracked, tmp_path):
    folder, steps = tmp_path / "run", tmp_path / "steps"
    settings = [*digits, f"wandb.mode={mode}", "data.dataloader_workers=1"]
    interrupted(steps, "SIGKILL", 7, [*settings, f"hydra.run.dir={folder}"])
    done = interrupted(steps, "SIGKILL", 0, [*settings, f"run.resume={folder}"])
    assert done.returncode == 0, done.stderr
    assert read_receipt(folder).weights_sha256 == untracked
    assert len(segments(folder)) == 2
    assert all(name.endswith(the_id(folder)) for name in segments(folder))
    if mode == "offline":
        type_command(one(line for line in done.stdout.splitlines() if "W&B" in line))
    assert list(server.config) == [the_id(folder)]
    assert_tracked(server, folder)


def interrupted(steps, name, at, overrides):
    script = ROOT / "tests" / "interrupted_training.py"
    command = [sys.executable, "-W", "error", str(script), str(steps), name, str(at), *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_run_that_is_told_to_end_does_not_wait_for_a_server_that_hangs(server, digits, tmp_path):
    server.mood = "hangs"
    folder = tmp_path / "run"
    done = interrupted(tmp_path / "steps", "SIGTERM", 7, [*digits, "wandb.mode=auto", f"hydra.run.dir={folder}"])
    ended = time.time()
    assert done.returncode == 143
    assert f"run.resume={folder}" in done.stdout
    assert done.stderr == ""
    assert ended - (folder / "checkpoints" / "last.safetensors").stat().st_mtime < 25  # waiting to the end is 40 s


@pytest.mark.slow
def test_stop_on_the_page_of_the_run_stops_it_as_ctrl_c_does(server, digits, untracked, tmp_path, capsys):
    folder = tmp_path / "run"

    def press(step):
        if step == 5:
            server.stopped = True
            before = signal.getsignal(signal.SIGINT)  # the handler that stops politely, once
            wait_until(lambda: signal.getsignal(signal.SIGINT) is not before, 60)  # W&B asks every 15 s

    tracked = [*digits, "wandb.mode=auto"]
    outcome = train(load([*tracked, f"hydra.run.dir={folder}"]), press)
    assert outcome.exit_status == 130
    assert f"run.resume={folder}" in capsys.readouterr().out
    server.stopped = False
    train(load([*tracked, f"run.resume={folder}"]))
    assert read_receipt(folder).weights_sha256 == untracked
    assert server.exit_codes[the_id(folder)] == [1, 0]


@pytest.mark.slow
def test_nothing_is_asked_on_a_terminal_even_if_there_is_no_key(nobody, digits, tmp_path):
    command = module_command("modeling.train", *digits, f"hydra.run.dir={tmp_path}/run", "wandb.mode=online")
    terminal, end = pty.openpty()
    running = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, cwd=ROOT, env=ci_environment())
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the last process that had it is gone
            break
    os.close(terminal)
    assert running.wait(5) == 0
    assert b"warning: W&B: offline, no key" in shown
    assert shown.count(b"W&B") - shown.count(b"W&B: finishing") == 1


@pytest.mark.slow
def test_of_several_processes_only_the_first_tracks(nobody, digits, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m",
               "drift_detector_pipeline.modeling.train", *digits, f"hydra.run.dir={tmp_path}/run", "run.device=cpu",
               "training.batch_size=60", "run.precision=fp32", "wandb.mode=offline"]  # fmt: skip
    done = subprocess.run(command, env=ci_environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(segments(tmp_path / "run")) == 1
    assert done.stdout.count("W&B: offline") == 1


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(condition, timeout_s=20):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
