"""The words of a command, sorted in one place."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, needs_clone

from drift_detector_pipeline.commands import Command, read_command, refuse_others
from drift_detector_pipeline.errors import ConfigError

OWN = {"split": ("train", "val")}


@pytest.mark.parametrize(
    ("words", "target", "overrides"),
    [
        ([], None, []),
        (["", "run.threads=1"], None, ["run.threads=1"]),
        (["", "outputs/run"], "outputs/run", []),
        (["outputs/run", "+experiment=quickstart"], "outputs/run", ["+experiment=quickstart"]),
        (["run.threads=1", "outputs/run"], "outputs/run", ["run.threads=1"]),
        (["outputs/a=b"], "outputs/a=b", []),
    ],
)
def test_a_command_on_a_run(words: list[str], target: str | None, overrides: list[str]) -> None:
    assert read_command(words) == Command(Path(target) if target else None, [], {}, overrides)


@pytest.mark.parametrize(
    ("words", "target", "images"),
    [
        ([], None, []),
        (["", "photos"], None, ["photos"]),
        (["outputs/run", "a.png", "b.png", "run.threads=1"], "outputs/run", ["a.png", "b.png"]),
        (["outputs/run", ""], "outputs/run", [""]),
    ],
)
def test_a_command_on_images(words: list[str], target: str | None, images: list[str]) -> None:
    found = read_command(words, takes_images=True)
    assert (found.target, found.images) == (Path(target) if target else None, images)


def test_a_file_whose_name_has_an_equals_sign_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=1.png").touch()
    found = read_command(["outputs/run", "x=1.png", "y=1.png"], takes_images=True)
    assert (found.images, found.overrides) == (["x=1.png"], ["y=1.png"])


def test_own_words_are_taken_out_and_their_values_checked() -> None:
    assert read_command(["outputs/run", "split=val"], OWN) == Command(Path("outputs/run"), [], {"split": "val"}, [])
    with pytest.raises(ConfigError, match="split=test: choose from train, val"):
        read_command(["split=test"], OWN)
    with pytest.raises(ConfigError, match="split=train: split=val is named before; name one"):
        read_command(["outputs/run", "split=val", "split=train"], OWN)


def test_a_second_run_is_refused_where_there_is_no_place_for_it() -> None:
    with pytest.raises(ConfigError, match="two: one run at a time, and one is named before"):
        read_command(["one", "two"])


def test_other_settings_are_refused_with_the_nearest_allowed_first() -> None:
    allowed = ("run.device", "run.threads")
    refuse_others(["run.threads=1"], allowed, "make it")
    for word, right in (("run.thread=1", "run.threads=1"), ("device=gpu", "run.device=cuda")):
        with pytest.raises(ConfigError, match=f"{word}: no such setting; did you mean {right}"):
            refuse_others([word], allowed, "make it")
    with pytest.raises(
        ConfigError,
        match=r"run\.seed=1: make it takes only run\.threads=\.\.\., run\.device=\.\.\.; all else is known$",
    ):
        refuse_others(["run.seed=1"], allowed, "make it", "all else is known")
    with pytest.raises(ConfigError, match=r"x=1: make it takes no settings$"):
        refuse_others(["x=1"], (), "make it")


def test_the_allowed_setting_of_that_name_is_meant() -> None:
    for word, right in (("precision=int8", "export.precision=int8"), ("path=x", "export.path=x")):
        with pytest.raises(ConfigError, match=f"{word}: no such setting; did you mean {right}"):
            refuse_others([word], ("export.precision", "export.path", "run.threads"), "make it")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--split=val", "--split=val: no such option; a setting has no dashes: split=val"),
        ("-v", "-v: no such option; a"),
    ],
)
def test_an_option_is_no_name_of_a_run_or_of_images(
    word: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        read_command(["run", word], takes_images=True)
    (tmp_path / word).touch()
    assert read_command(["run", word, "-*.jpg"], takes_images=True).images == [word, "-*.jpg"]


def make(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make` as a person types it, where it only shows what it would do; no words of `make test` reach it."""
    command = ["make", "--no-print-directory", "-n", *words]
    typed = {name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS")}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=typed | variables)


@needs_clone
@pytest.mark.parametrize(
    "word", ["training.epochs=5", "data=digits", "+experiment=quickstart", "lr=3", "args=x", "run.seed=", "a.b:=c"]
)
@pytest.mark.parametrize("target", ["train", "help", "docker_train"])
def test_a_word_outside_args_is_refused_by_name(word: str, target: str) -> None:
    done = make(target, "ARGS=data=digits", word)
    assert done.returncode == 2
    name = word.partition(":")[0].partition("=")[0]
    assert f"{name}=... stands outside ARGS and would not be read" in done.stderr
    assert f'ARGS="{name}=...' in done.stderr
    assert not done.stdout


@needs_clone
@pytest.mark.parametrize("word", ["run=outputs/a", "images=photos", "why=x"])
def test_a_word_that_make_has_in_capitals_is_answered_with_them(word: str) -> None:
    done = make("evaluate", word)
    assert done.returncode == 2 and f"{word.partition('=')[0]}=... is written in capitals here, as are" in done.stderr


@needs_clone
@pytest.mark.parametrize(
    ("words", "signs", "checks"),
    [
        ([], "/x/.ssh/id_ed25519", "/x/.ssh/id_ed25519.pub"),
        (["KEY=/x/a $b.pub"], "/x/a $b.pub", "/x/a $b.pub"),
        (["KEY="], "", ""),
    ],
)
def test_the_key_that_checks_is_the_public_one_unless_one_is_named(words: list[str], signs: str, checks: str) -> None:
    assert make("sign", *words).stdout.rstrip().endswith('sign "$RUN" "$KEY"')
    assert make("check_signature", *words).stdout.rstrip().endswith('check "$RUN" "$PUBLIC_KEY"')
    command = ["make", "--no-print-directory", "--eval", "probe: ; @printenv KEY PUBLIC_KEY", "probe", *words]
    unnamed = {name: value for name, value in os.environ.items() if name != "KEY"}  # `make test` hands its own down
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**unnamed, "HOME": "/x"})
    assert done.stdout == f"{signs}\n{checks}\n"


@needs_clone
def test_no_recipe_lets_the_shell_read_the_name_of_a_run() -> None:
    """As text between quotes, `a$b` would be another run, and `$(...)` a command."""
    recipes = (ROOT / "Makefile").read_text() + (ROOT / "docker.mk").read_text()
    for name in ("RUN", "KEY", "SIGNED_BY", "IMAGES", "VERSION", "WHY", "FROM", "FILE", "BASKET", "SOURCE"):
        assert f'"$({name})"' not in recipes
    shown = make("evaluate", "RUN=outputs/a b$(id)").stdout
    assert shown.rstrip().endswith('evaluate "$RUN"')
    command = ["make", "--no-print-directory", "--eval", "probe: ; @printenv RUN", "probe", "RUN=outputs/a b$(id)"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "outputs/a b$(id)\n"


@needs_clone
def test_variables_that_make_knows_are_no_such_words() -> None:
    assert make("train", "ARGS=data=digits training.epochs=5", "VENV=.venv", "CI_MODE=true", RUN="x").returncode == 0
    assert make("train", **{"training.epochs": "5", "lower": "x"}).returncode == 0  # of the surroundings, not typed


@needs_clone
@pytest.mark.parametrize("way", ["typed", "in the environment"])
def test_a_dollar_in_words_and_images_is_a_dollar(way: str) -> None:
    given = {"ARGS": "'data.raw_path=/x/$5_$(10)'", "IMAGES": "$5/*.jpg"}
    words = [f"{name}={value}" for name, value in given.items()] if way == "typed" else []
    shown = make("process_data", *words, **({} if words else given))
    assert shown.stdout.rstrip().endswith("drift_detector_pipeline.dataset 'data.raw_path=/x/$5_$(10)'")
    command = ["make", "--no-print-directory", "--eval", "probe: ; @printenv IMAGES", "probe", *words]
    surroundings = os.environ | ({} if words else given)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=surroundings)
    assert done.stdout == "$5/*.jpg\n"


@needs_clone
def test_clean_removes_what_a_kill_has_left_and_nothing_that_is_whole(tmp_path: Path) -> None:
    for file in ("Makefile", "docker.mk"):
        shutil.copy(ROOT / file, tmp_path)
    half = [
        "outputs/a/predictions/.1.partial",
        "outputs/a/evaluation/.val.partial",
        "data/raw/.x.y.partial",
        "models/.heal-a",
    ]
    whole = [
        "outputs/a/predictions/1",
        "data/processed/x.partial",
        "models/.artefact.old",
        "outputs/a/.video_1.partial",
    ]
    for folder in [*half, *whole]:
        (tmp_path / folder).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    assert [folder for folder in [*half, *whole] if (tmp_path / folder).exists()] == whole
