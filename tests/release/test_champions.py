"""make promote and make rollback, as they are typed."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, called, ci_environment, needs_clone
from versioned import dummy, gate

from drift_detector_pipeline.release.registry import champion, history, register


@pytest.fixture
def here(tmp_path):
    """A folder to type commands in: two exported models, one of them champion."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    for number, name in enumerate(("artefact", "better")):
        dummy(tmp_path / "models" / name, number)
    done = called("release.champions", "promote", "models/artefact", 'the "first" = one', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_a_folder_is_registered_and_promoted_and_who_and_why_are_kept(here):
    found = champion(here / "models")
    assert (found.number, found.why, found.action, bool(found.who)) == (1, 'the "first" = one', "promote", True)


def test_the_next_one_needs_a_gate_or_force_and_can_be_rolled_back(here):
    version = register(here / "models" / "better", here / "models")
    refused = called("release.champions", "promote", version, "better", cwd=here)
    assert refused.returncode == 1
    assert f"test it: make gate VERSION={version}" in refused.stderr and "force=true" in refused.stderr
    gate(here / "models", version, champion(here / "models").version)
    done = called("release.champions", "promote", version, "better", "who=ada", cwd=here)
    assert done.stdout.startswith(f"champion 2: {version}, before: resnet18-")
    assert done.stdout.endswith(
        "ada: better (gates/" + f"{version}_against_{history(here / 'models')[0].version}/gate.json)\n"
    )
    back = called("release.champions", "rollback", "worse", cwd=here)
    assert back.returncode == 0 and champion(here / "models") == history(here / "models")[-1]
    assert champion(here / "models").version == history(here / "models")[0].version


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["promote", "", "why"], "name a version: make promote VERSION="),
        (["promote", "resnet18-00000000", "why"], "resnet18-00000000: no version in models/versions; the nearest are"),
        (["promote", "models/better", "why"], "test it: make gate"),
        (["promote", "models/better", "", "force=true"], 'say why, for those who read the history later: WHY="..."'),
        (["promote", "models/better", "why", "force=yes"], "force=yes: choose from true, false"),
        (["promote", "models/better", "why", "forced=true"], "forced=true: "),
        (
            ["promote", "models/better", "why", "gate=/dev/zero"],
            "/dev/zero: no test's result (ValueError: a pipe or a device",
        ),
        (["promote", "models/better", "why", "who=a", "who=b"], "who=b: who=a is named before; name one"),
        (["promot", "models/better", "why"], "promot: expected one of promote, rollback"),
        (["rollback", ""], "no champion before this one"),
        (["rollback", "why", "force=true"], "force=true: make rollback takes only who="),
    ],
)
def test_what_cannot_be_is_said_in_a_line_and_changes_nothing(here, words, said):
    done = called("release.champions", *words, cwd=here)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert said in done.stderr
    assert champion(here / "models").number == 1


@needs_clone
def test_make_hands_on_any_words(tmp_path):
    """Through the Makefile, its quotes and the environment."""
    why = "costs 5$ & \"less\" than 'before'; done"
    code = "import json, os, sys; print(json.dumps(sys.argv[1:]))"
    (tmp_path / "echo.py").write_text(code)
    command = ["make", "--no-print-directory", "--file", str(ROOT / "Makefile"), "promote", "VERSION=a b", f"WHY={why}",
               "ARGS=force=true", f"MODULE={sys.executable} {tmp_path}/echo.py #", "INSTALLED="]  # fmt: skip
    command[-2] = f"MODULE={sys.executable} {tmp_path}/echo.py -m x"
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["-m", "x.release.champions", "promote", "a b", why, "force=true"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["promote", "nosuch-12345678", "why"],
            "nosuch-12345678: no version in models/versions; there is none yet; make models lists all",
        ),
        (
            ["rollback", "why"],
            "models/history.jsonl: no champion before this one; make promote VERSION=... chooses one",
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing_where_nothing_was(words, said, tmp_path):
    assert called("release.champions", *words, cwd=tmp_path).stderr == f"error: {said}\n"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_nobody_says_a_reason_for_is_not_registered(here):
    shutil.copytree(here / "models" / "artefact", here / "models" / "another")
    before = sorted(here.rglob("*"))
    done = called("release.champions", "promote", "models/another", " ", cwd=here)
    assert done.stderr == 'error: models/another: say why, for those who read the history later: WHY="..."\n'
    assert sorted(here.rglob("*")) == before


def test_a_gate_below_a_tilde_is_one_of_the_home_folder(here, monkeypatch):
    version = register(here / "models" / "better", here / "models")
    gate(here / "models", version, champion(here / "models").version).rename(here / "gate.json")
    monkeypatch.setenv("HOME", str(here))
    done = called("release.champions", "promote", version, "better", "gate=~/gate.json", cwd=here)
    assert done.returncode == 0, done.stderr
    assert champion(here / "models").gate == str(here / "gate.json")
