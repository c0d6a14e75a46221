"""docker-entrypoint.sh as a container runs it, on the host: credentials, settings, and the command in its place."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from drive_server import EMAIL, make_account

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw import remote
from drift_detector_pipeline.raw.drive_credentials import account_of

ENTRYPOINT = ROOT / "docker-entrypoint.sh"
CONFIG = """[core]
    remote = gdrive
[cache]
    dir = /of/the/host
    type = "reflink,copy"
['remote "gdrive"']
    url = gdrive://folder
    gdrive_service_account_json_file_path = /of/the/host/key.json
['remote "nas"']
    url = /mnt/nas
"""


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A service account's key file's text; it opens nothing."""
    return make_account(tmp_path_factory.mktemp("account"))


@pytest.fixture
def place(tmp_path):
    """A folder as /app is in the image, with the host's DVC settings mounted beside it."""
    (tmp_path / "app" / ".dvc").mkdir(parents=True)
    (tmp_path / "app" / ".dvc" / "config").write_text("[core]\n    remote = as_built\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config").write_text(CONFIG)
    return tmp_path


def environment(place, **variables):
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("GDRIVE_", "DVC_", "AWS_"))}
    python = str(Path(sys.executable).parent)
    ours = {"PYTHONPATH": str(ROOT), "PATH": f"{python}:{os.environ['PATH']}"}
    return keep | ours | {"PIPELINE_MOUNTED_SETTINGS": str(place / "run")} | variables


def enter(place, *command, **variables):
    return subprocess.run(
        [ENTRYPOINT, *command], cwd=place / "app", env=environment(place, **variables), capture_output=True, text=True
    )


def inside(place, name, **variables):
    """What the command sees in the variable `name`."""
    code = f"import os; print(os.environ.get({name!r}), end='')"
    return enter(place, sys.executable, "-c", code, **variables).stdout


@pytest.mark.parametrize("name", ["GDRIVE_CREDENTIALS_DATA", "GDRIVE_CREDENTIALS_DATA_CONTENT"])
def test_a_key_in_the_environment_reaches_dvc_and_only_its_address_is_printed(place, key, name):
    done = enter(place, "true", **{name: key})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"Google Drive: the key of {EMAIL}\n")
    assert inside(place, "GDRIVE_CREDENTIALS_DATA", **{name: key}) == key
    assert inside(place, "GDRIVE_CREDENTIALS_DATA_CONTENT", **{name: key}) == "None"


def test_a_mounted_key_reaches_dvc(place, key):
    (place / "run" / "gdrive-service-account.json").write_text(key)
    assert inside(place, "GDRIVE_CREDENTIALS_DATA") == key
    assert enter(place, "true").stderr == f"Google Drive: the key of {EMAIL}\n"


def test_a_key_mounted_elsewhere_is_found_by_its_variable(place, key):
    (place / "other.json").write_text(key)
    path = str(place / "other.json")
    assert inside(place, "GDRIVE_CREDENTIALS_DATA", GDRIVE_KEY_FILE_PATH_IN_CONTAINER=path) == key


def test_a_key_with_quotes_and_dollars_arrives_as_it_is(place, key):
    strange = json.dumps(json.loads(key) | {"project_id": 'it\'s $HOME `id` \\ "x"'}, indent=2)
    assert inside(place, "GDRIVE_CREDENTIALS_DATA", GDRIVE_CREDENTIALS_DATA=strange) == strange


@pytest.mark.parametrize(
    "number, said", [(0, "is not JSON"), (1, "no service account's key"), (2, "private_key is damaged")]
)
def test_a_broken_key_is_said_in_one_line_and_stops_nothing(place, key, number, said):
    fields = json.loads(key)
    cut = json.dumps(fields | {"private_key": fields["private_key"][:300]})
    broken = [key[: len(key) // 2], '{"installed": {}}', cut][number]
    done = enter(place, "echo", "going on", GDRIVE_CREDENTIALS_DATA=broken)
    assert (done.returncode, done.stdout) == (0, "going on\n")
    assert done.stderr.count("\n") == 1 and said in done.stderr
    assert fields["private_key"][30:60] not in done.stderr


def test_an_unreadable_key_is_named(place):
    (place / "run" / "gdrive-service-account.json").mkdir()
    done = enter(place, "true")
    assert done.returncode == 0
    assert "gdrive-service-account.json cannot be read (Is a directory)" in done.stderr


def test_without_credentials_it_says_what_still_works(place):
    done = enter(place, "true")
    assert done.returncode == 0
    assert done.stderr.startswith("Google Drive: no credentials, so nothing is pulled from or pushed to gdrive")
    assert "DVC's cache, other remotes and public addresses work" in done.stderr


def test_without_a_drive_remote_nothing_is_said_of_drive(place):
    (place / "run" / "config").write_text("[core]\n    remote = nas\n['remote \"nas\"']\n    url = /mnt/nas\n")
    assert enter(place, "true").stderr == ""


def test_dvc_reads_the_hosts_settings_without_its_places(place, key):
    (place / "run" / "config.local").write_text("['remote \"nas\"']\n    url = /mnt/other\n")
    before = {path.name: path.read_text() for path in (place / "run").iterdir()}
    assert enter(place, "true", GDRIVE_CREDENTIALS_DATA=key).returncode == 0
    assert {path.name: path.read_text() for path in (place / "run").iterdir()} == before
    repository = remote.open_repository(place / "app")
    assert repository.settings["core.no_scm"] == "true"
    assert repository.settings["cache.type"] == "reflink,copy"
    assert repository.settings["remote.nas.url"] == "/mnt/other"
    assert repository.settings["remote.gdrive.gdrive_use_service_account"] == "true"
    assert "/of/the/host" not in str(repository.settings)
    assert repository.default_remote == "gdrive"


def test_without_mounted_settings_dvc_reads_those_of_the_image(place):
    (place / "run" / "config").unlink()
    enter(place, "true")
    assert remote.open_repository(place / "app").default_remote == "as_built"


def test_the_env_file_is_read_with_and_without_quotes_and_what_is_set_wins(place):
    (place / "run" / ".env").write_text("ONE='a b'\nTWO=\"c\"\nTHREE=d # said\nexport FOUR=e\nSET=new\n")
    names = {"ONE": "a b", "TWO": "c", "THREE": "d", "FOUR": "e", "SET": "old"}
    assert {name: inside(place, name, SET="old") for name in names} == names


def test_a_key_in_the_env_file_is_used(place, key):
    (place / "run" / ".env").write_text(f"GDRIVE_CREDENTIALS_DATA='{json.dumps(json.loads(key))}'\n")
    assert enter(place, "true").stderr == f"Google Drive: the key of {EMAIL}\n"


def test_an_env_file_cannot_run_commands(place):
    (place / "run" / ".env").write_text("A=$(touch escaped)\nB='; touch escaped'\n")
    assert inside(place, "A") == "$(touch escaped)"
    (place / "run" / ".env").write_text("'x; touch escaped'=1\n")
    done = enter(place, "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: .env: ")
    assert not (place / "app" / "escaped").exists()


def test_unreadable_dvc_settings_stop_the_container_in_one_line(place):
    (place / "run" / "config").write_text("remote = without a section\n")
    done = enter(place, "echo", "never")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: .dvc/config cannot be read (MissingSectionHeaderError)")


def test_the_command_gets_its_words_as_they_are_and_its_exit_status_is_passed_on(place):
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    done = enter(place, sys.executable, "-c", code, "a b", "$HOME", "", "'")
    assert (done.returncode, done.stdout) == (7, "['a b', '$HOME', '', \"'\"]\n")


def test_a_signal_reaches_the_command_itself(place):
    code = "import os, time, signal; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen(
        [ENTRYPOINT, sys.executable, "-c", code], cwd=place / "app", env=environment(place), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert int(running.stdout.readline()) == running.pid  # exec: no shell in between
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == -signal.SIGTERM


def test_a_command_that_does_not_exist_has_the_usual_exit_status(place):
    assert enter(place, "no-such-command").returncode == 127


def test_messages_never_repeat_a_key(key):
    fields = json.loads(key)
    for broken in (
        key[:-5],
        json.dumps(fields | {"private_key": fields["private_key"][:-200]}),
        json.dumps([key]),
        "[" * 100_000,
    ):
        with pytest.raises(DataError) as caught:
            account_of(broken, "the key")
        assert fields["private_key"][40:80] not in str(caught.value)
        assert caught.value.__cause__ is None  # a traceback would show it


def test_the_shell_scripts_are_clean():
    shellcheck = shutil.which("shellcheck", path=Path(sys.executable).parent) or shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is installed for developing, not in the image")
    for shell, script in {"sh": ENTRYPOINT, "dash": ROOT / "docker-install.sh", "bash": ROOT / ".ci" / "run"}.items():
        done = subprocess.run([shellcheck, f"--shell={shell}", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
