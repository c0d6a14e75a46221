"""Recording training steps: the same bits, traces that TensorBoard finds, and what `make profile` makes of them."""

import csv
import gzip
import json
import logging
import re
import resource
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from clip_runs import words
from conftest import ROOT, called, ci_environment, module_command, needs_clone, run_module
from drawn_clips import pack_clips

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.files import sealed
from drift_detector_pipeline.modeling.reproduce import reproduce
from drift_detector_pipeline.modeling.tracing import PHASES, STEP, open_profiler
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs import receipts
from drift_detector_pipeline.runs.machine import prepared

ON = "training.profiler.enabled=true"
NO_PLUGIN = "torch-tb-profiler is installed for developing, not in the image"
STEPS = 8  # of a run: two epochs


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Overrides for a small convolutional net on real digits, one thread: eight steps."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=16",
        "data.img_size=16", "data.val_fraction=0.7", "data.dataloader_workers=0", "model.name=conv_small",
        "model.options.channels=[8,8,8]", "training.epochs=2", "training.batch_size=120", "training.ema_decay=0.9",
        "training.gradient_clip_norm=1.0", "run.threads=1", "wandb.mode=disabled",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture(scope="module")
def plain(settings, tmp_path_factory):
    """A run without the profiler; do not change it."""
    return train(load([*settings, f"hydra.run.dir={tmp_path_factory.mktemp('plain')}/run"])).folder


@pytest.fixture
def run(settings, tmp_path):
    """Trains with the profiler and further settings of it; returns the folder."""

    def start(*profiler, name="run"):
        given = [f"training.profiler.{each}" for each in profiler]
        return train(load([*settings, ON, *given, f"hydra.run.dir={tmp_path}/{name}"])).folder

    return start


def traces(folder):
    return sorted((folder / "pytorch_profiler_logs").glob("*.pt.trace.json.gz"))


def events_of(trace):
    return json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]


def annotated(trace):
    names = [event["name"] for event in events_of(trace) if event.get("cat") == "user_annotation"]
    return {name: names.count(name) for name in (STEP, *PHASES)}


def of_rows(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in ("seconds", "images_per_second")} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    "profiler",
    [
        [],
        ["wait=0", "warmup=0", "active=2", "repeat=0"],
        ["with_stack=true", "profile_memory=true", "export_chrome_trace=false"],
        ["record_shapes=true", "with_flops=true", "with_modules=true"],
    ],
    ids=str,
)
def test_a_profiled_run_ends_with_the_same_bits_as_one_that_is_not(profiler, run, plain):
    folder = run(*profiler)
    assert traces(folder)
    assert receipts.read_receipt(folder).weights_sha256 == receipts.read_receipt(plain).weights_sha256
    assert receipts.read_receipt(folder).identity == receipts.read_receipt(plain).identity
    assert of_rows(folder) == of_rows(plain)


class Gone(BaseException):
    """Ends a training in the middle."""


def gone_after(step):
    def leave(done):
        if done == step:
            raise Gone

    return leave


def test_the_profiler_may_be_switched_on_and_off_between_two_pieces_of_a_run(settings, plain, tmp_path):
    folder, saved_often = tmp_path / "run", "run.checkpoint_every=1"
    with pytest.raises(Gone):
        train(load([*settings, saved_often, f"hydra.run.dir={folder}"]), gone_after(2))
    with pytest.raises(Gone):
        train(load([*settings, saved_often, ON, "training.profiler.wait=0", f"run.resume={folder}"]), gone_after(6))
    train(load([*settings, f"run.resume={folder}"]))
    assert len(traces(folder)) == 1
    assert receipts.read_receipt(folder).weights_sha256 == receipts.read_receipt(plain).weights_sha256


@pytest.mark.slow
@pytest.mark.parametrize("from_before_the_profiler", [False, True])
def test_a_profiled_run_and_one_without_these_settings_are_reproduced(
    from_before_the_profiler, run, tmp_path, monkeypatch
):
    folder = run()
    if from_before_the_profiler:
        receipt = json.loads((folder / "run.json").read_text())
        del receipt["settings"]["training"]["profiler"]
        (folder / "run.json").write_text(json.dumps(sealed(receipt)))
    monkeypatch.chdir(tmp_path)
    assert reproduce(folder)
    assert not list((tmp_path / "outputs").rglob("*.pt.trace.json.gz"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profiler", "steps"),
    [
        ([], [3]),
        (["active=1", "repeat=2"], [1, 1]),
        (["wait=0", "warmup=0", "active=2", "repeat=0"], [2, 2, 2, 2]),
        (["wait=3", "warmup=2"], [3]),
        (["wait=4", "warmup=1", "active=10"], [3]),  # the run ends first
        (["wait=0", "warmup=1", "active=3", "repeat=3"], [3, 3]),  # there too
    ],
)
def test_traces_hold_the_steps_that_were_asked_for_each_with_its_phases(profiler, steps, run):
    found = [annotated(trace) for trace in traces(run(*profiler))]
    assert found == [dict.fromkeys((STEP, *PHASES), count) for count in steps]


@pytest.mark.parametrize("wait", [STEPS - 1, STEPS, 100])
def test_a_run_too_short_to_be_profiled_says_so(wait, run, capsys):
    folder = run(f"wait={wait}", "warmup=1")
    assert not traces(folder)
    assert (
        f"warning: nothing is profiled: the run ended within the {wait + 1} steps that are left"
        in capsys.readouterr().err
    )


def test_an_error_in_a_recorded_step_leaves_no_trace_and_the_next_run_records(settings, run, tmp_path):
    with pytest.raises(Gone):
        train(load([*settings, ON, f"hydra.run.dir={tmp_path}/gone"]), gone_after(3))
    assert not traces(tmp_path / "gone")
    assert len(traces(run())) == 1


@pytest.mark.slow
def test_tensorboards_plugin_reads_name_steps_loader_and_modules(run):
    pytest.importorskip("torch_tb_profiler", reason=NO_PLUGIN)
    from torch_tb_profiler.consts import WORKER_PATTERN
    from torch_tb_profiler.profiler.data import RunProfileData
    from torch_tb_profiler.profiler.event_parser import ProfileRole

    [trace] = traces(run("with_modules=true", "profile_memory=true"))
    worker, milliseconds = WORKER_PATTERN.match(trace.name).groups()
    assert worker == "worker_0"
    assert 0 <= time.time() - int(milliseconds[1:]) / 1000 < 600
    read = RunProfileData.parse(worker, milliseconds, str(trace), str(trace.parent))
    assert read.steps_names == ["1", "2", "3"]
    events = events_of(trace)
    waited_us = sum(event["dur"] for event in events if event["name"].startswith("enumerate(DataLoader)#"))
    assert read.avg_costs.costs[ProfileRole.DataLoader] == pytest.approx(waited_us / 3, rel=0.01)
    modules = {event["name"] for event in events if event["name"].startswith("nn.Module: ")}
    assert {"nn.Module: Conv2d_0", "nn.Module: BatchNorm2d_0"} <= modules


@pytest.mark.parametrize("wanted", [[], ["record_shapes=true"], ["with_flops=true"]])
@pytest.mark.slow
def test_shapes_are_recorded_where_they_or_flops_are_asked_for(wanted, run):
    [trace] = traces(run(*wanted))
    shaped = any("Input Dims" in event.get("args", {}) for event in events_of(trace))
    assert shaped == bool(wanted)


def test_the_plain_trace_holds_what_the_packed_one_holds(run):
    folder = run("log_dir=elsewhere")
    [packed] = (folder / "elsewhere").glob("*.pt.trace.json.gz")
    [plain_trace] = (folder / "elsewhere").glob("*.chrome_trace.json")
    names = [event["name"] for event in json.loads(plain_trace.read_text())["traceEvents"]]
    assert names == [event["name"] for event in events_of(packed)]


def hook_us(profiler):
    """What the profiler costs the loop in one step, in microseconds of this thread, at best."""
    best = float("inf")
    for _ in range(20):
        started = time.thread_time()
        for _ in range(200):
            with profiler.step():
                for phase in PHASES:
                    with profiler.phase(phase):
                        pass
        best = min(best, (time.thread_time() - started) / 200 * 1e6)
    return best


@pytest.mark.parametrize("profiler", [["enabled=false"], ["enabled=true", "wait=1000000"], ["enabled=true", "wait=0"]])
def test_outside_its_active_steps_the_profiler_costs_less_than_2_percent_of_a_step_of_1_ms(profiler, tmp_path):
    """No model here trains faster than 1 ms a step; the last case is measured after its recording."""
    composed = load(["data=digits", *(f"training.profiler.{each}" for each in profiler)])
    logging.getLogger("drift_detector_pipeline").setLevel(logging.ERROR)
    with prepared(composed.settings.run) as machine, open_profiler(
        composed.settings.training.profiler, tmp_path, machine
    ) as opened:  # fmt: skip
        for _ in range(10):
            with opened.step():
                pass
        assert hook_us(opened) < 20


@pytest.fixture(scope="module")
def profiled(settings, tmp_path_factory):
    """`make profile` in a folder of its own: what it printed, and the folder of the run."""
    cwd = tmp_path_factory.mktemp("profiled")
    done = run_module(
        "modeling.profile", *settings, "model.options.channels=[16,32,64]", "training.sizes_px=[16,16]",
        "training.profiler.wait=3", "training.batch_size=40", cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    [folder] = (cwd / "outputs" / "profile").glob("*/*")
    return done.stdout, folder


def report_of(folder):
    return json.loads((folder / "pytorch_profiler_logs" / "profile_summary.json").read_text())


@pytest.mark.slow
def test_clips_are_profiled_as_images_are(tmp_path):
    given = [*words(tmp_path), "run.threads=1", "training.profiler.active=2"]
    pack_clips(load(given).settings.data)
    done = called("modeling.profile.__main__", *given, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path / "run")
    assert report["steps"] == 2 and report["phases_ms"]["forward"] > 0
    assert (report["model"], report["batch_size"], report["img_size"]) == ("conv_small", 4, 24)


@pytest.mark.slow
def test_the_parts_of_a_real_step_add_up_to_the_time_that_torch_measured_within_3_percent(profiled):
    _, folder = profiled
    report, [trace] = report_of(folder), traces(folder)
    of_torch = [event["dur"] / 1000 for event in events_of(trace) if event["name"].startswith("ProfilerStep#")]
    assert len(of_torch) == report["steps"] == 5
    assert sum(report["phases_ms"].values()) == pytest.approx(sum(of_torch) / 5, rel=0.03)
    assert all(report["phases_ms"][phase] > 0 for phase in PHASES)
    assert report["phases_ms"]["rest"] < 0.25 * report["step_ms"]  # 0.06 alone; beside a neighbour more


@pytest.mark.slow
def test_the_page_names_all_parts_the_longest_operators_the_peak_and_the_bottleneck(profiled):
    said, folder = profiled
    report = report_of(folder)
    for part in ("waiting for images", "copy, normalise", "forward", "backward", "optimizer", "rest of the loop"):
        assert re.search(rf"^ +{part} +[\d.]+ ms +[\d.]+%", said, flags=re.MULTILINE), part
    assert re.search(r"^  backward +convolution_backward +\d+ .*\d$", said, flags=re.MULTILINE)
    assert re.search(r"GFLOP/s: \d+% of the [\d.]+ GFLOP/s that a large (matmul|convolution) reaches here", said)
    assert report["bottleneck"] in said
    assert f"make tensorboard RUN={folder.relative_to(folder.parents[3])}" in said
    assert report["unrecorded_step_ms"] > 0
    assert min(report["peak_flops_per_second"].values()) > report["flops_per_second"] > 0


@pytest.mark.slow
def test_the_table_holds_every_operator_and_no_more_time_than_a_step_has(profiled):
    _, folder = profiled
    with (folder / "pytorch_profiler_logs" / "operators.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 50
    total = sum(float(row["self_ms"]) for row in rows)
    step_ms = report_of(folder)["step_ms"]
    assert 0.5 * step_ms < total < 1.01 * step_ms
    assert sum(float(row["gflop"]) for row in rows) == pytest.approx(report_of(folder)["flops_per_step"] / 1e9)


@pytest.mark.slow
def test_nobody_takes_a_profile_for_a_run_that_is_finished_or_goes_on(profiled, monkeypatch):
    _, folder = profiled
    assert not (folder / "run.json").exists()
    assert not (folder / "checkpoints").exists()
    monkeypatch.chdir(folder.parents[3])
    with pytest.raises(ResumeError, match="no finished run"):
        receipts.newest_finished()


def test_an_existing_run_is_neither_profiled_nor_harmed(plain, settings):
    before = {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    assert any("checkpoints" in path.parts for path in before)
    done = called("modeling.profile.__main__", *settings, f"hydra.run.dir={plain}", f"run.resume={plain}")
    assert done.returncode == 1
    assert f"{plain}: is there already; choose another hydra.run.dir" in done.stderr
    assert {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_of_a_profile_that_fails_nothing_stays(settings, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    command = module_command("modeling.profile", *settings, f"hydra.run.dir={tmp_path}/run")
    done = subprocess.run(command, env=ci_environment(), capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1 and "limit is reached" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_disk_that_fills_up_while_a_trace_is_written_is_explained(settings, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    command = module_command("modeling.train", *settings, ON, f"hydra.run.dir={tmp_path}/run")
    done = subprocess.run(command, env=ci_environment(), capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1
    assert "PyTorch could not write the trace; is the disk full" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_tensorboard_finds_curves_and_profiles_below_outputs_and_in_the_run(profiled):
    pytest.importorskip("torch_tb_profiler", reason=NO_PLUGIN)
    _, folder = profiled
    name = folder.relative_to(folder.parents[2]).as_posix()
    for logdir, prefix in ((folder.parents[2], f"{name}/"), (folder, "")):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                assert asked(port, "plugin/pytorch_profiler/runs")["runs"] == [f"{prefix}pytorch_profiler_logs"]
                assert asked(port, "runs") == [f"{prefix}tensorboard"]  # the curves
            finally:
                server.terminate()


@needs_clone
@pytest.mark.parametrize("options, missing", [("", False), (" -S", True)], ids=["installed", "missing"])
def test_make_tensorboard_says_when_profiles_would_not_show_and_what_adds_them(options, missing, tmp_path):
    pytest.importorskip("torch_tb_profiler", reason=NO_PLUGIN)
    words = ["make", "-o", ".venv/.installed", "tensorboard", f"RUN={tmp_path}", "ARGS=--version"]
    command = [*words, f"PYTHON={sys.executable}{options}"]  # -S: as if nothing were installed
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stderr
    assert ("torch-tb-profiler, is missing; this adds it: make requirements_dev" in said) == missing


def asked(port, what):
    """What TensorBoard answers, once it has something to answer."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/{what}", timeout=10) as answer:
                found = json.loads(answer.read())
            if found and found != {"runs": [], "loading": found.get("loading") if isinstance(found, dict) else None}:
                return found
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"no answer to {what}")
