"""`make watch` as a command: a folder that fills, files that are not whole yet, and a process that is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ci_environment
from PIL import Image

from drift_detector_pipeline.config import load
from drift_detector_pipeline.corruptions.corrupt import corrupt
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.stream import inbox
from drift_detector_pipeline.drift.stream.inbox import Found, Journal, group_of, source_of, waiting
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.weights import load_model
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import crops_of, roles_of

WATCH = [sys.executable, "-m", "drift_detector_pipeline.drift.watch"]
ENDS = ("watch.follow=false", "watch.horizon=10000")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with a reference, and a folder of 300 clean and then 60 noisy digits, written one after another."""
    place = tmp_path_factory.mktemp("watch")
    composed = load([
        "data=digits", f"data.processed_path={place / 'digits'}", "data.stored_side_px=16", "data.img_size=16",
        "data.dataloader_workers=0", "model.name=conv_small", "model.options.channels=[16,16,32]", "training.epochs=2",
        "data.fit_fraction=0.2", "training.batch_size=50", "wandb.mode=disabled", f"hydra.run.dir={place / 'run'}",
    ])  # fmt: skip
    process(composed.settings.data)
    assert train(composed).exit_status == 0
    processed = open_processed(composed.settings.data)
    roles, labels = roles_of(processed), processed.images.labels
    module, header = load_model(place / "run" / "final_model.safetensors")
    fit, ref = (crops_of(processed, part, 16) for part in (roles.fit, roles.ref))
    DriftDetector.build(
        module, fit, labels[roles.fit], ref, labels[roles.ref], kinds=("gaussian_noise", "contrast"), twins=60,
        mean=header["preprocessing"]["mean"], std=header["preprocessing"]["std"],
    ).save(place / "run")  # fmt: skip
    order = np.random.default_rng(0).permutation(roles.pool)
    clean = crops_of(processed, order, 16)
    noisy = corrupt(clean[:60], "gaussian_noise", 5, keys=range(60))
    (place / "images").mkdir()
    for number, image in enumerate([*clean, *noisy]):
        file = place / "images" / f"{number:04}.png"
        Image.fromarray(image).save(file)
        os.utime(file, ns=(0, 10**18 + number * 10**9))
    return place, len(clean)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run that has watched nothing yet."""
    return shutil.copytree(finished[0] / "run", tmp_path / "run")


@pytest.fixture
def watched(call_main):
    return lambda *words: call_main("drift.watch", *map(str, words))


def journal(run, name="images"):
    place = run / "watch" / name
    files = (
        (place / "state.json").read_bytes(),
        (place / "alarms.jsonl").read_bytes(),
        (place / "seen.jsonl").read_bytes(),
    )
    return files


@pytest.mark.slow
def test_a_change_in_a_folder_is_noticed_once_with_its_file(finished, run, watched):
    place, clean = finished
    done = watched(run, place / "images", *ENDS)
    assert done.returncode in (3, 4), done.stdout + done.stderr
    alarms = [json.loads(line) for line in journal(run)[1].splitlines()]
    assert [alarm["level"] for alarm in alarms] in (["notice"], ["notice", "alert"])
    first = alarms[0]
    assert clean < first["image"] <= clean + 40
    assert first["name"] == f"{first['image'] - 1:04}.png"
    assert abs(first["since"] - clean - 1) <= 10
    assert json.loads(done.stdout.splitlines()[0]) == first
    assert f"notice: Since about image {first['since']} (" in done.stdout
    (report,) = (run / "watch" / "images" / "verdicts").iterdir()
    verdict = json.loads((report / "verdict.json").read_text())
    assert verdict["level"] in ("notice", "alert") and verdict["cause"]["kind"] == "gaussian_noise", verdict
    assert verdict["images"] == clean + 60 - first["since"] + 1
    assert f"the {verdict['images']} images since then: " in done.stdout and (report / "report.html").exists()
    again = watched(run, place / "images", *ENDS)
    assert again.returncode == done.returncode
    assert journal(run)[1].splitlines() == [json.dumps(alarm).encode() for alarm in alarms]
    assert "resumes after" in again.stdout and "since then" not in again.stdout
    assert [report] == list(report.parent.iterdir())


@pytest.mark.slow
def test_killed_at_any_moment_and_continued_equals_uninterrupted(finished, run, tmp_path, watched):
    place, _ = finished
    killed, spent = shutil.copytree(run, tmp_path / "killed"), []
    straight = watched(run, place / "images", *ENDS)
    assert straight.returncode in (3, 4), straight.stderr
    state = killed / "watch" / "images" / "state.json"
    for after in (1, 2):
        process = subprocess.Popen([*WATCH, killed, place / "images", *ENDS], env=ci_environment())
        while process.poll() is None and _counted(state) < after * 64:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        spent.append(_counted(state))
    assert 0 < spent[0] <= spent[1]
    with (killed / "watch" / "images" / "alarms.jsonl").open("ab") as file:
        file.write(b'{"half": ')  # as if killed while it was written
    last = watched(killed, place / "images", *ENDS)
    assert last.returncode == straight.returncode, last.stderr
    assert journal(killed) == journal(run)


def _counted(state):
    try:
        return len((state.parent / "seen.jsonl").read_bytes().splitlines()) if state.exists() else 0
    except OSError:
        return 0


@pytest.mark.slow
def test_a_folder_that_fills_is_followed_until_the_process_is_told_to_end(finished, run, tmp_path):
    place, _ = finished
    folder = tmp_path / "filling"
    folder.mkdir()
    files = sorted((place / "images").iterdir())
    process = subprocess.Popen(
        [*WATCH, run, folder], env=ci_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    state, whole = run / "watch" / "filling" / "state.json", files[0].read_bytes()
    shutil.copy(files[1], folder)
    _wait_for(lambda: _counted(state) == 1)
    (folder / "0000.png").write_bytes(whole[: len(whole) // 2])
    time.sleep(2)  # two looks at half a file
    assert _counted(state) == 1
    (folder / "0000.png").write_bytes(whole)
    shutil.copy(files[2], folder)
    _wait_for(lambda: _counted(state) == 3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "quiet after 3 images, 0 files unreadable; stopped; the same command resumes from here" in out


def _wait_for(true):
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_files_that_are_no_images_are_named_and_folders_can_be_sources(finished, run, tmp_path, watched, monkeypatch):
    place, clean = finished
    monkeypatch.setattr(inbox, "SETTLED_S", 0.2)
    files = sorted((place / "images").iterdir())
    for name, some in {"north": files[: clean // 2], "south": files[-60:]}.items():
        (tmp_path / "cameras" / name).mkdir(parents=True)
        for file in some:
            shutil.copy2(file, tmp_path / "cameras" / name)
    (tmp_path / "cameras" / "north" / "broken.png").write_bytes(b"no image")
    (tmp_path / "cameras" / "north" / "coming.png.part").write_bytes(b"no image")
    done = watched(run, tmp_path / "cameras", *ENDS, "watch.sources=folders")
    assert done.returncode in (3, 4)
    assert "warning: north/broken.png: " in done.stderr and "coming" not in done.stderr
    assert "1 files unreadable; all is judged" in done.stdout
    assert {json.loads(line)["source"] for line in journal(run, "cameras")[1].splitlines()} == {"south"}
    quiet = watched(run, tmp_path / "cameras", *ENDS, "watch.sources=folders", "watch.restart=true")
    assert quiet.returncode == 0


@pytest.mark.slow
def test_another_folder_of_the_same_name_has_a_state_of_its_own_and_another_promise_is_refused(
    finished, run, tmp_path, watched
):
    place, _ = finished
    other = tmp_path / "other" / "images"
    other.mkdir(parents=True)
    shutil.copy(place / "images" / "0000.png", other)
    watched(run, place / "images", *ENDS)
    assert watched(run, other, *ENDS).returncode == 0
    assert len(journal(run, "images_2")[2].splitlines()) == 1
    done = watched(run, other, "watch.follow=false")
    assert done.returncode == 1
    assert "state.json: begun with StreamLimits(alpha=0.01, horizon=10000" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["RUN"], "name one folder: make watch"),
        (["RUN", "nowhere"], "nowhere: no such folder"),
        (["RUN", ".", "watch.alpha=2"], "watch.alpha"),
        (
            ["RUN", ".", "drift.alpha=0.1"],
            "drift.alpha=0.1: make watch takes only watch.alpha",
        ),
    ],
)
def test_errors_are_one_message_and_status_1(words, said, watched):
    done = watched(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and said in done.stderr


def test_files_come_in_the_order_they_were_written_and_each_once(tmp_path):
    for number, name in enumerate(["b.png", "a.png", "c.png", ".hidden", "d.png.tmp"]):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, ns=(0, 10**18 + number // 2))
    assert [one.name for one in waiting(tmp_path, set())] == ["a.png", "b.png", "c.png"]
    assert [one.name for one in waiting(tmp_path, {"b.png"})] == ["a.png", "c.png"]


def test_a_journal_forgets_what_was_written_but_not_counted(tmp_path):
    first = Journal(tmp_path, tmp_path / "images")
    first.count(["a", "b"], {"c": "no image"}, [{"level": "notice"}], {"some": "state"})
    for name in ("seen.jsonl", "alarms.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write(b'"half')
    again = Journal(tmp_path, tmp_path / "images")
    assert list(again.seen) == ["a", "b", "c"] and again.unreadable == {"c": "no image"}
    assert again.watch == {"some": "state"}
    assert (tmp_path / "alarms.jsonl").read_text() == '{"level": "notice"}\n'
    (tmp_path / "seen.jsonl").write_text("")
    with pytest.raises(DataError, match=r"damaged .*seen\.jsonl has 0 bytes"):
        Journal(tmp_path, tmp_path / "images")
    for seen, length in ((b"5\n", "2"), (b"[[]]\n", "5"), (b"[" * 100_000, "100000"), (b"", "-1"), (b"", "1e400")):
        (tmp_path / "seen.jsonl").write_bytes(seen)
        (tmp_path / "state.json").write_text(f'{{"seen_bytes": {length}, "alarm_bytes": 0, "watch": null}}')
        with pytest.raises(DataError, match=r"damaged .*move the folder away to begin anew"):
            Journal(tmp_path, tmp_path / "images")


def test_sources_and_groups_go_by_simple_rules(tmp_path):
    one = Found("north/clip7_0012.png", tmp_path, 120 * 10**9)
    assert (source_of(one, "folders"), source_of(one, "one")) == ("north", "")
    assert group_of(one, "name") == "north/clip7"
    assert (group_of(one, "minute"), group_of(one, "none")) == ("2", None)
