"""`engine=ray` on a cluster of two nodes: the rows of one process, also when a worker is killed."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, make_folder, pack_tar
from finished_runs import finished_run, own_copy
from judged_run import make_judged_run
from killed_once import KilledOnce, doubled

from drift_detector_pipeline import cluster
from drift_detector_pipeline.cluster import spread
from drift_detector_pipeline.drift.__main__ import judge_images
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.modeling import open_elsewhere
from drift_detector_pipeline.modeling.labels import predict

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray warns of itself
    pytest.mark.skipif(find_spec("ray") is None, reason="large, and in no lock: make check_ray"),
]


@pytest.fixture(scope="module")
def bucket():
    """The environment in which there is a bucket `photos`, on a server of its own."""
    moto = pytest.importorskip("moto.server", reason="moto is installed for developing, not in the image")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    yield {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
    }
    server.stop()


PATIENT = {  # with a machine that does much else meanwhile
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_failure_threshold": "100",
}


@pytest.fixture(scope="module")
def nodes(bucket):
    """A cluster of two nodes of one core each, to which this process is connected; all of it listens on 127.0.0.1."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for name, value in (cluster.SETTINGS | cluster.LOOPBACK | PATIENT | bucket | {"PYTHONPATH": path}).items():
            patch.setenv(name, value)  # as machines are set up before they are joined
        warnings.simplefilter("ignore")
        import ray
        from ray.cluster_utils import Cluster

        both = Cluster()
        try:
            for _ in range(2):
                both.add_node(wait=False, num_cpus=1, object_store_memory=80_000_000, **cluster.NO_REPORTS)
            both.wait_for_nodes(timeout=600)
            ray.init(address=both.address, log_to_driver=False, logging_level="CRITICAL")
            yield both
        finally:
            ray.shutdown()
            both.shutdown()


def test_units_come_back_in_order_from_other_processes(nodes):
    found = list(spread(range(6), doubled))
    assert [one for one, _ in found] == [0, 2, 4, 6, 8, 10]
    assert os.getpid() not in {process for _, process in found}


def test_an_error_of_ours_is_the_same_error_here(nodes):
    with pytest.raises(DataError, match="-1: is less than nothing"):
        list(spread([1, -1], doubled))


def test_more_cores_than_any_machine_has_are_refused_at_once(nodes):
    with pytest.raises(ConfigError, match=r"no machine of the cluster has 9 CPU \(1 at most\); see run.threads"):
        list(spread([1], doubled, threads=9))


def test_a_signal_while_ray_starts_is_answered_as_before():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(SystemExit), cluster._own_answer_to_sigterm():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] * 2


def files_of(folder):
    """What a prediction wrote, but for when and by which command."""
    summary = json.loads((folder / "summary.json").read_text())
    same = {name: value for name, value in summary.items() if name not in ("when", "command")}
    return (folder / "predictions.jsonl").read_bytes(), (folder / "predictions.csv").read_bytes(), same


@pytest.fixture(scope="module")
def weights(made_once, tmp_path_factory):
    return own_copy(finished_run(made_once, "fp32"), tmp_path_factory.mktemp("ray") / "run") / "final_model.safetensors"


def test_predictions_are_the_bytes_of_one_process_though_a_worker_was_killed(nodes, weights, tmp_path, monkeypatch):
    photos = make_folder(tmp_path / "photos", 28)
    (photos / "cut.png").write_bytes(b"\x89PNG")
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as packed:
            for number in range(5):
                packed.add(photos / "cat" / f"{2 * number}.png" if number % 3 == 0 else photos / "dog" / "1.jpg",
                           f"{shard}{number:03}.png" if number % 3 == 0 else f"{shard}{number:03}.jpg")  # fmt: skip
    words = [str(photos), str(tmp_path / "shard-*.tar"), str(tmp_path / "none.png")]
    here = predict(weights, words)
    flag = tmp_path / "flag"

    kill_a_worker(monkeypatch, flag)
    there = predict(weights, words, engine="ray")
    assert flag.exists()
    assert (there.predicted, there.unreadable) == (here.predicted, here.unreadable) == (94, 2)
    assert files_of(there.folder) == files_of(here.folder)


def kill_a_worker(monkeypatch, flag):
    """Let the process die that does the last unit of the first work; it leaves `flag`."""

    def with_a_kill(units, work, **how):
        return spread(units, KilledOnce(work, flag, units[-1]), **how)

    monkeypatch.setattr(open_elsewhere, "spread", with_a_kill)


def test_folders_shards_and_buckets_hold_the_same_images(nodes, weights, tmp_path):
    import s3fs

    photos = make_folder(tmp_path / "photos", 3)
    (photos / "cat" / ".hidden.png").touch()
    (photos / "cut.png").write_bytes(b"PNG")
    with tarfile.open(tmp_path / "shard.tar", "w") as packed:
        packed.add(photos, ".")
    files = s3fs.S3FileSystem(use_listings_cache=False)
    files.mkdir("photos")
    files.put(str(photos), "photos/loose", recursive=True)
    files.put(str(tmp_path / "shard.tar"), "photos/shards/000.tar")
    expected = answers_below(predict(weights, [str(photos)]).folder, str(photos))
    assert len(expected) == 9
    for place in ("s3://photos/loose", "s3://photos/shards/000.tar"):
        for engine in ("local", "ray"):
            assert answers_below(predict(weights, [place], engine=engine).folder, place) == expected
    assert len(files_of(predict(weights, ["s3://photos/loose/cat/*.png"]).folder)[0].splitlines()) == 1
    with pytest.raises(DataError, match=r"s3://nosuch/x: .*bucket does not exist; .*AWS_ENDPOINT_URL"):
        predict(weights, ["s3://nosuch/x"])


def answers_below(folder, place):
    """Each line of a prediction, with its path below `place`."""
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return [line | {"path": line["path"].removeprefix(f"{place}/")} for line in lines]


def test_verdicts_are_those_of_one_process_though_a_worker_was_killed(nodes, tmp_path, monkeypatch):
    place = make_judged_run(tmp_path)
    (place / "noisy" / "cut.png").write_bytes(b"\x89PNG")
    twice = [str(pack_tar(place / "noisy", tmp_path / "noisy.tar")), str(place / "noisy")]
    files = {}
    for engine in ("local", "ray"):
        for words in (twice, [str(place / "clean")]):
            verdict = judge_images(place / "run", words, [], engine)
            files.setdefault(verdict.level, []).append(verdict_files(place / "run"))
        kill_a_worker(monkeypatch, flag := tmp_path / "flag")
    assert flag.exists()
    assert verdict.images == 48
    (loud, verdicts), (quiet, calm) = files.items()
    assert (loud, quiet) == ("alert", "quiet")
    for here, there in (verdicts, calm):
        assert there == here
    assert '"copies": 48' in verdicts[0][0] and "cut.png" in verdicts[0][0]


def verdict_files(run):
    """verdict.json and the page of a run's newest verdict, but for when that was."""
    newest = max((run / "drift").iterdir(), key=lambda one: one.stat().st_mtime_ns)
    verdict, page = ((newest / name).read_text() for name in ("verdict.json", "report.html"))
    when = json.loads(verdict)["when"]
    return verdict.replace(when, ""), page.replace(when, "")


LISTENS = """
import sys
from pathlib import Path
def look(event, args):
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event == "socket.connect" and isinstance(args[1], tuple) and args[0].type == 1:  # UDP's sends nothing
        host = args[1][0]
    else:
        return
    if host not in ("127.0.0.1", "0.0.0.0", "localhost", "::1", None):
        with Path(__file__).with_name("asked").open("a") as file:
            print(host, file=file)
        raise OSError(f"{host}: is not to be asked")
sys.addaudithook(look)
"""
OURS = """
import time
from drift_detector_pipeline.cluster import spread
found = spread([1, 2], abs)
assert next(found) == 1
time.sleep(8)  # the process that would ask somebody takes seconds to start
import ray
assert ray.util.get_node_ip_address() == "127.0.0.1"
assert list(found) == [2]
"""
BY_HAND = ["start", "--head", "--port=0", "--num-cpus=1", "--include-dashboard=false"]
SECONDS = 20  # in which Ray has asked, if it asks


@pytest.fixture
def listened(tmp_path):
    """The environment in which no Python process reaches another machine, and a file with the hosts that any asked."""
    (tmp_path / "sitecustomize.py").write_text(LISTENS)  # of every Python process, Ray's included
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | PATIENT
    own |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    return own | cluster.LOOPBACK | {"RAY_USAGE_STATS_ENABLED": "0"}, tmp_path / "asked"


def test_what_the_command_starts_asks_nobody_elsewhere(listened):
    own, asked = listened
    done = subprocess.run([sys.executable, "-c", OURS], env=own, cwd=ROOT, timeout=600, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not asked.exists()


@pytest.mark.parametrize(
    "port, hosts",
    [
        (["--dashboard-port=-1"], set()),  # as in docs/growth.md
        ([], {"169.254.169.254", "metadata.google.internal", "usage-stats.ray.io"}),  # by its own switches alone
    ],
)
def test_a_head_started_by_hand_asks_nobody_elsewhere_if_it_has_no_port_for_pages(listened, port, hosts):
    own, asked = listened
    command = [sys.executable, "-m", "ray.scripts.scripts", *BY_HAND, *port, "--block"]
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True, start_new_session=True) as ray:
        assert any("Ray runtime started" in line for line in ray.stdout)
        time.sleep(SECONDS)
        os.killpg(ray.pid, signal.SIGKILL)
    assert set(asked.read_text().split() if asked.exists() else ()) == hosts
