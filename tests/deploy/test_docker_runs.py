"""Training in a container on a real engine: the host's bits, clean stops, runs that continue on either side, owners."""

import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import pack_tar, write_image
from containers import (
    DOCKER,
    IMAGE,
    SESSION,
    docker,
    environment,
    files_below,
    make,
    make_command,
    make_tree,
    needs_engine,
    on_the_host,
    receipt,
    succeeded,
    wait_for,
)  # fmt: skip
from drawn_boxes import draw_source
from small_detectors import BACKBONE

pytestmark = [pytest.mark.slow, needs_engine]

PHOTOS = (
    "data=imagenette data.raw_path=data/raw/photos.tgz data.stored_side_px=64 data.img_size=64 training.batch_size=32"
)
QUICK = "training.epochs=1 model.name=mlp"
RUNS = {  # as many threads as there are cores; one thread: convolutions in two stand still beside a neighbour
    "digits": f"+experiment=quickstart {QUICK}",
    "photographs": f"{PHOTOS} training.epochs=2 data.dataloader_workers=2 run.threads=1",
    "boxes": "data=boxes data.raw_path=data/raw/things data.stored_side_px=80 data.img_size=64 model.name=yolox "
    f"model.options.backbone={BACKBONE} training.epochs=2 training.batch_size=4 run.threads=1",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A working tree with a small archive of JPEG files, and drawn things with boxes, beside the digits."""
    folder = make_tree(tmp_path_factory.mktemp("tree") / "a clone")  # a space in its name
    raw = folder.parent / "photos"
    for split, count in {"train": 100, "val": 20}.items():
        for label in ("n01440764", "n02102040"):
            for number in range(count):
                write_image(raw / split / label / f"{number}.JPEG", seed=len(files_below(raw)), size=(90, 70))
    pack_tar(raw, folder / "data" / "raw" / "photos.tgz")
    draw_source(folder / "data" / "raw" / "things")
    return folder


@pytest.fixture(scope="module")
def on_host(tree):
    """The same runs on the host: their folders."""
    folders = {}
    for name, words in RUNS.items():
        succeeded(on_the_host(tree, "dataset", *words.split()))
        folders[name] = tree / "outputs" / f"host_{name}"
        succeeded(on_the_host(tree, "modeling.train", *words.split(), f"hydra.run.dir=outputs/host_{name}"))
    return folders


@pytest.fixture(scope="module")
def in_container(tree, on_host):
    """The same runs in a container: their folders."""
    for name, words in RUNS.items():
        succeeded(make(tree, "docker_train", args=f"{words} hydra.run.dir=outputs/container_{name}"))
    return {name: tree / "outputs" / f"container_{name}" for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_a_container_trains_to_the_bits_of_the_host(on_host, in_container, name, record_property):
    host, container = receipt(on_host[name]), receipt(in_container[name])
    assert container["weights_sha256"] == host["weights_sha256"]
    for fact in ("threads", "instruction_set", "precision", "packages", "data_fingerprint", "identity"):
        assert container[fact] == host[fact], fact
    assert IMAGE not in host["where"]
    assert container["where"].startswith(f"{IMAGE} sha256:")
    assert container["git"]["commit"] == label("org.opencontainers.image.revision").removesuffix("-dirty")
    record_property("sha256", container["weights_sha256"]["final_model.safetensors"])
    print(name, container["weights_sha256"]["final_model.safetensors"])


def label(name):
    return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{name}"}}}}', IMAGE).strip()


def stopped_in_the_container(tree, folder, words):
    """Start a run in a container and stop it after its first epoch; return what it said and how long stopping took."""
    command = make_command("docker_train", f"{words} hydra.run.dir=outputs/{folder.name}")
    with subprocess.Popen(
        command, cwd=tree, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        wait_for(lambda: (folder / "metrics.jsonl").exists() or running.poll() is not None, "an epoch")
        assert running.poll() is None, running.communicate()
        started = time.monotonic()
        docker("stop", docker("ps", "--quiet", "--filter", "name=pipeline-train").strip())
        seconds = time.monotonic() - started
        said, _ = running.communicate(timeout=60)
    assert running.returncode == 2  # make's own for any failure; Python's is in the next test
    return said, seconds


def test_a_stopped_container_says_how_to_go_on_and_the_host_continues_to_the_same_bits(tree, on_host):
    folder = tree / "outputs" / "stopped"
    said, seconds = stopped_in_the_container(tree, folder, RUNS["photographs"])
    print(f"stopped in {seconds:.1f} s")
    assert seconds < 60  # it was not killed
    assert f"run.resume=outputs/{folder.name}" in said
    assert "make docker_train ARGS=" in said and "on the host" in said
    assert not (folder / "run.json").exists()
    resumed = succeeded(on_the_host(tree, "modeling.train", *RUNS["photographs"].split(), "run.resume=outputs/stopped"))
    assert "continuing outputs/stopped from step" in resumed.stdout
    assert receipt(folder)["weights_sha256"] == receipt(on_host["photographs"])["weights_sha256"]


def test_a_run_stopped_on_the_host_continues_in_a_container_to_the_same_bits(tree, on_host):
    folder, words = tree / "outputs" / "stopped_on_host", RUNS["photographs"]
    command = [sys.executable, "-m", "drift_detector_pipeline.modeling.train", *words.split()]
    with subprocess.Popen(
        [*command, "hydra.run.dir=outputs/stopped_on_host"], cwd=tree, env=environment(PYTHONPATH=str(tree)),
        stdout=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        wait_for(lambda: (folder / "metrics.jsonl").exists() or running.poll() is not None, "an epoch")
        running.terminate()
        assert running.wait(60) == 143
    succeeded(make(tree, "docker_train", args=f"{words} run.resume=auto"))
    assert receipt(folder)["weights_sha256"] == receipt(on_host["photographs"])["weights_sha256"]


def test_the_exit_status_is_the_trainings(tree):
    """Without make in between, which makes 2 of any failure; how such a run goes on is in the two tests above."""
    folder, words = tree / "outputs" / "twice", RUNS["photographs"].split()
    command = [
        DOCKER,
        "run",
        "--rm",
        "--init",
        "--stop-timeout=60",
        "--name",
        f"{SESSION}-status",
        "--shm-size=2g",
    ]
    command += ["--user", f"{os.getuid()}:{os.getgid()}", *mounts(tree), IMAGE]
    command += ["python", "-m", "drift_detector_pipeline.modeling.train", *words]
    with subprocess.Popen([*command, "hydra.run.dir=outputs/twice"], stdout=subprocess.DEVNULL) as running:
        wait_for(lambda: (folder / "metrics.jsonl").exists() or running.poll() is not None, "an epoch")
        docker("stop", f"{SESSION}-status")
        assert running.wait(60) == 143


def mounts(tree):
    return [word for name in ("data", "models", "outputs") for word in ("--volume", f"{tree}/{name}:/app/{name}")]


def threads_inside(tree, *prefix):
    code = "python -c 'import torch; print(torch.get_num_threads())'"
    return int(succeeded(make(tree, "docker_shell", args=f'-c "{code}"', prefix=prefix)).stdout)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core only")
def test_a_narrower_affinity_gives_the_container_the_hosts_threads(tree):
    assert threads_inside(tree, "taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))) == 1


def test_the_hosts_omp_num_threads_is_handed_on(tree):
    assert threads_inside(tree, "env", "OMP_NUM_THREADS=1") == 1


def test_files_belong_to_who_called_make(tree, in_container):
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in files_below(tree)}
    assert owners == {(os.getuid(), os.getgid())}


@pytest.fixture(scope="module")
def somebody():
    """An ordinary user who may use the engine; made by root and removed again."""
    if os.geteuid() != 0:
        pytest.skip("making a user needs root; the other tests run as an ordinary user then")
    subprocess.run(["useradd", "--create-home", "--groups", "docker", SESSION], check=True)
    yield pwd.getpwnam(SESSION)
    subprocess.run(["userdel", "--remove", SESSION], check=True, stderr=subprocess.DEVNULL)


def test_an_ordinary_user_trains_stops_and_continues_and_owns_every_file(somebody, on_host):
    tree = make_tree(Path(somebody.pw_dir) / "clone")
    subprocess.run(["chown", "-R", f"{somebody.pw_uid}:{somebody.pw_gid}", tree], check=True)
    subprocess.run(["chmod", "-R", "go-rwx", tree], check=True)  # a umask of 077
    prefix = ("runuser", "--user", somebody.pw_name, "--", "env", f"HOME={somebody.pw_dir}")
    done = succeeded(make(tree, "docker_quickstart", args=f"{QUICK} hydra.run.dir=outputs/run", prefix=prefix))
    assert "on validation images never trained on" in done.stdout
    assert receipt(tree / "outputs" / "run")["weights_sha256"] == receipt(on_host["digits"])["weights_sha256"]
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in files_below(tree)}
    assert owners == {(somebody.pw_uid, somebody.pw_gid)}


def test_bad_input_ends_in_one_message_without_a_traceback(tree):
    done = make(tree, "docker_train", args="data=digits training.epohcs=3")
    assert done.returncode == 2
    assert "training.epochs" in done.stderr
    assert "Traceback" not in done.stderr


def test_files_named_in_args_are_seen_inside_and_cannot_be_written(tree, tmp_path):
    for label_name in ("cat", "dog"):
        for number in range(40):
            write_image(tmp_path / "mine" / label_name / f"{number}.png", seed=number)
    words = f"data=folder data.raw_path={tmp_path}/mine data.stored_side_px=32 data.processed_path=data/processed/mine"
    succeeded(make(tree, "docker_process_data", args=words))
    assert (tree / "data" / "processed" / "mine" / "manifest.json").exists()


def test_a_shell_and_its_home_can_be_used_by_anybody(tree):
    code = "touch ~/x /tmp/x outputs/x && id -u && echo $USER"
    done = succeeded(make(tree, "docker_shell", args=f"-c '{code}'"))
    assert done.stdout.split() == [str(os.getuid()), "pipeline"]


def test_without_anything_mounted_it_runs_as_uid_1000_and_can_train():
    assert docker("run", "--rm", IMAGE, "id", "-u").strip() == "1000"
    command = ["python", "-m", "drift_detector_pipeline.quickstart", *QUICK.split()]
    assert "Accuracy" in docker("run", "--rm", "--shm-size=1g", IMAGE, *command)
