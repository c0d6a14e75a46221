"""Versions that nobody changes, one champion, a history: whole at any moment, also after a kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT
from versioned import dummy, gate

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.release.artefact import MODELS, read_artefact
from drift_detector_pipeline.release.registry import (
    champion,
    champion_folder,
    find_artefact,
    history,
    open_version,
    promote,
    register,
    rollback,
    versions,
)

SCRIPT = Path(__file__).with_name("versioned.py")


@pytest.fixture
def place(tmp_path):
    """Three exported models beside one another, nothing registered."""
    for number, name in enumerate(("one", "two", "three")):
        dummy(tmp_path / name, number)
    return tmp_path


@pytest.fixture
def three(place):
    """Three versions, the first of them champion."""
    found = [register(place / name, place) for name in ("one", "two", "three")]
    promote(found[0], who="ada", why="the first", place=place)
    return found


def start(what, place):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), what, str(place)], stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def lines_of(place):
    return [json.loads(line) for line in (place / "history.jsonl").read_text().splitlines()]


def test_a_version_is_a_copy_named_after_its_network_and_its_manifest(place):
    version = register(place / "one", place)
    assert version == f"resnet18-{file_hash(place / 'one' / 'artefact.json')[:8]}"
    shutil.rmtree(place / "one")
    assert open_version(version, place).sha256["model.onnx"] == file_hash(place / "versions" / version / "model.onnx")


def test_registering_again_changes_nothing(place):
    version = register(place / "one", place)
    before = (place / "versions" / version / "model.onnx").stat()
    assert register(place / "one", place) == register(place / "versions" / version, place) == version
    assert (place / "versions" / version / "model.onnx").stat() == before
    assert versions(place) == [version]


def test_registering_again_mends_a_damaged_version(place):
    version = register(place / "one", place)
    (place / "versions" / version / "model.onnx").write_bytes(b"rotten")
    with pytest.raises(DataError, match=r"model.onnx: damaged or exchanged .*; fetch it again: make models_pull"):
        open_version(version, place)
    register(place / "one", place)
    assert open_version(version, place).name == "resnet18"


def test_a_damaged_folder_is_not_registered_and_leaves_nothing(place):
    (place / "one" / "model.onnx").write_bytes(b"rotten")
    with pytest.raises(DataError, match=r"model.onnx: damaged"):
        register(place / "one", place)
    assert versions(place) == []


def test_a_name_that_no_folder_may_have_becomes_one(place, tmp_path):
    dummy(tmp_path / "odd", name="../hub:über/net")
    assert register(tmp_path / "odd", place).startswith("_hub_ber_net-")


def test_an_unknown_version_is_answered_with_the_nearest(three, place):
    wrong = three[1][:-1] + "x"
    with pytest.raises(DataError, match=rf"^{wrong}: no version in .*; the nearest are {three[1]}, .*make models"):
        open_version(wrong, place)
    with pytest.raises(DataError, match="no version in"):
        open_version("../one", place)


def test_a_version_that_only_its_pointer_is_here_of_says_how_to_fetch_it(three, place):
    (place / "versions" / f"{three[1]}.dvc").write_text("outs: []")
    shutil.rmtree(place / "versions" / three[1])
    with pytest.raises(DataError, match="make models_pull"):
        open_version(three[1], place)


def test_other_files_under_a_versions_name_are_refused(three, place):
    shutil.rmtree(place / "versions" / three[1])
    shutil.copytree(place / "three", place / "versions" / three[1])
    with pytest.raises(DataError, match=f"holds {three[2]}"):
        open_version(three[1], place)


def test_the_first_champion_needs_no_gate_and_the_next_one_does(three, place):
    first = champion(place)
    assert (first.number, first.version, first.who, first.why, first.action) == (
        1,
        three[0],
        "ada",
        "the first",
        "promote",
    )
    with pytest.raises(ConfigError, match=f"not tested against the champion, {three[0]}; test it: make gate VERSION="):
        promote(three[1], why="better", place=place)
    assert champion(place) == first
    gate(place, three[1], three[0])
    second = promote(three[1], who="ada", why="better", place=place)
    assert (second.number, second.gate) == (2, f"gates/{three[1]}_against_{three[0]}/gate.json")
    assert champion_folder(second, place) == place / "versions" / three[1]
    assert history(place) == [first, second] == [champion(place)._replace(**line) for line in lines_of(place)]


def test_the_newest_test_of_a_pair_decides(three, place):
    gate(place, three[1], three[0], passed=False)
    gate(place, three[1], three[0], number=2)
    gate(place, three[1], three[0], number=10, passed=False)
    with pytest.raises(ConfigError, match=r"_10.gate.json: did not pass: clean accuracy: 3.0 points lower"):
        promote(three[1], why="better", place=place)
    given = gate(place, three[1], three[0], number=11)
    assert promote(three[1], why="better", gate=given, place=place).gate.endswith("_11/gate.json")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"passed": 1}, "did not pass"), ({"passed": "yes"}, "did not pass"), ({"passed": None}, "did not pass"),
        ({"candidate": {"version": "resnet18-00000000", "manifest_sha256": "0"}}, "is about resnet18-00000000"),
        ({"champion": {"version": "resnet18-00000000", "manifest_sha256": "0"}}, "was tested against resnet18-0000"),
        ({"candidate": None}, "no test's result"), ({"champion": {}}, "no test's result"),
    ],
)  # fmt: skip
def test_a_gate_about_something_else_lets_nobody_in(three, place, changed, says):
    gate(place, three[1], three[0], **changed)
    with pytest.raises(ConfigError, match=says):
        promote(three[1], why="better", place=place)


def test_a_gate_against_an_earlier_champion_lets_nobody_in(three, place):
    old = gate(place, three[1], three[0])
    promote(three[2], why="now", force=True, place=place)
    with pytest.raises(ConfigError, match=f"was tested against {three[0]}, and the champion is {three[2]}"):
        promote(three[1], why="better", gate=old, place=place)


def test_half_a_gate_lets_nobody_in(three, place):
    path = gate(place, three[1], three[0])
    path.write_text(path.read_text()[:40])
    with pytest.raises(ConfigError, match=r"gate.json: no test's result"):
        promote(three[1], why="better", place=place)


def test_force_is_told_by_the_history(three, place):
    assert promote(three[1], why="a demonstration", force=True, place=place).why.endswith("(forced, without a gate)")
    assert lines_of(place)[-1]["gate"] is None
    gate(place, three[2], three[1])
    assert promote(three[2], why="better", force=True, place=place).why == "better"  # it would have got in without


def test_nobody_is_promoted_twice_or_without_a_reason(three, place):
    with pytest.raises(ConfigError, match=f"{three[0]}: is the champion already, since 20"):
        promote(three[0], why="again", force=True, place=place)
    with pytest.raises(ConfigError, match="say why"):
        promote(three[1], why=" ", force=True, place=place)
    with pytest.raises(ConfigError, match="say why"):
        promote(three[1], why="x", force=True, place=place) and rollback(why="", place=place)


def test_a_damaged_version_is_not_promoted(three, place):
    (place / "versions" / three[1] / "reference.npz").write_bytes(b"rotten")
    before = champion(place)
    with pytest.raises(DataError, match=r"reference.npz: damaged"):
        promote(three[1], why="better", force=True, place=place)
    assert champion(place) == before


def test_rollbacks_go_back_one_by_one_as_an_undo_does(three, place):
    promote(three[1], why="b", force=True, place=place)
    promote(three[2], why="c", force=True, place=place)
    assert [rollback(why="undo", place=place).version for _ in range(2)] == [three[1], three[0]]
    with pytest.raises(ConfigError, match="no champion before this one"):
        rollback(why="undo", place=place)
    promote(three[2], why="c again", force=True, place=place)
    assert rollback(why="undo", place=place).version == three[0]
    assert [one.number for one in history(place)] == list(range(1, 8))
    assert [one.action for one in history(place)].count("rollback") == 3


def test_rolling_back_to_files_that_are_damaged_changes_nothing(three, place):
    promote(three[1], why="b", force=True, place=place)
    (place / "versions" / three[0] / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"model\.onnx"):
        rollback(why="undo", place=place)
    assert champion(place).version == three[1]


def test_without_a_champion_there_is_none(place):
    assert champion(place) is None
    assert history(place) == []
    with pytest.raises(ConfigError, match="no champion before"):
        rollback(why="undo", place=place)


@pytest.mark.parametrize(
    "change", [{"number": "1"}, {"action": "coup"}, {"version": "../one"}, {"more": 1}, {"who": None}]
)
def test_a_champion_that_cannot_be_is_refused(three, place, change):
    path = place / "champion.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"champion.json: damaged .*history.jsonl"):
        champion(place)


def test_losing_champion_json_opens_no_back_door(three, place):
    (place / "champion.json").unlink()
    with pytest.raises(ConfigError, match="not tested against the champion"):
        promote(three[1], why="better", place=place)
    assert promote(three[0], why="restored", force=True, place=place).number == 2


def test_a_line_that_a_kill_kept_out_or_cut_off_comes_back_with_the_next_command(three, place):
    promote(three[1], why="b", force=True, place=place)
    path = place / "history.jsonl"
    whole = path.read_text()
    for left in (whole.splitlines(keepends=True)[0], whole[:-40]):
        path.write_text(left)
        assert [one.version for one in history(place)] == three[:2]  # for readers it was never away
    rollback(why="undo", place=place)
    assert path.read_text().startswith(whole)
    assert [line["number"] for line in lines_of(place)] == [1, 2, 3]


def test_a_damaged_line_of_the_history_is_named(three, place):
    promote(three[1], why="b", force=True, place=place)
    path = place / "history.jsonl"
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(DataError, match=r"history.jsonl, line 1: damaged"):
        history(place)


def test_words_of_any_kind_come_back_as_they_were(three, place):
    why = 'für\u2028\n"x" \U0001f600 \udce9'
    promote(three[1], who="ö", why=why, force=True, place=place)
    assert history(place)[-1].why == f"{why} (forced, without a gate)"
    assert history(place)[-1] == champion(place)


def test_the_model_of_a_log_is_found_by_its_hashes(three, place):
    one = read_artefact(place / "one")
    assert find_artefact(one.sha256["model.onnx"], one.sha256["reference.npz"], place) == place / "versions" / three[0]
    with pytest.raises(DataError, match="no artefact whose file has"):
        find_artefact(one.sha256["model.onnx"], "", place)
    bare = dummy(place / "fast", 7, reference=False)
    (place / "broken").mkdir()
    (place / "broken" / "artefact.json").write_text("[]")
    assert find_artefact(bare.sha256["model.onnx"], "", place) == place / "fast"


def test_of_two_that_promote_at_once_both_are_in_the_history(three, place):
    def go(version):
        for number in range(10):
            try:
                promote(version, why=str(number), force=True, place=place)
            except ConfigError:
                time.sleep(0.001)

    threads = [threading.Thread(target=go, args=(version,)) for version in three]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [line["number"] for line in lines_of(place)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert lines_of(place)[-1]["version"] == champion(place).version


def test_killed_at_any_touch_of_the_disk_the_champion_is_whole_and_the_history_complete(place):
    with start("moments", place) as started:
        out, _ = started.communicate(timeout=120)
    assert started.returncode == 0
    kills = [json.loads(line) for line in out.splitlines()]
    by_command = {
        name: [kill for kill in kills if kill["command"] == name] for name in ("promote", "rollback", "register")
    }
    assert all(len(found) >= 8 for found in by_command.values()), {
        name: len(found) for name, found in by_command.items()
    }
    for kill in kills:
        assert kill["champion"] == kill["last"]
        assert kill["numbers"] == list(range(1, kill["number"] + 1))
        assert 2 <= len(kill["versions"]) <= 3
    for name in ("promote", "rollback"):  # killed early nothing has changed, killed late all of it
        assert len({kill["champion"] for kill in by_command[name]}) == 2
    assert history(place) == [champion(place)._replace(**line) for line in lines_of(place)]


def kill_at_random(place, times, seed):
    """Kill who promotes and rolls back without end, again and again; how many champions there were."""
    rng = random.Random(seed)
    for _ in range(times):
        with start("loop", place) as started:
            started.stdout.readline()
            time.sleep(rng.uniform(0, 0.03))
            started.send_signal(signal.SIGKILL)
        found = champion(place)
        assert open_version(found.version, place).folder == champion_folder(found, place)
        assert [one.number for one in history(place)] == list(range(1, found.number + 1))
        assert history(place)[-1] == found
    return found.number


def test_killed_at_random_the_champion_is_whole(place):
    assert kill_at_random(place, 5, 1) > 10


@pytest.mark.slow
def test_killed_at_random_a_hundred_times_the_champion_is_whole(place):
    assert kill_at_random(place, 100, 2) > 200


def test_the_usual_place_is_models():
    assert Path("models") == MODELS
