"""A run is vouched for by the owner of one key, and by nobody else."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, needs_clone
from finished_runs import finished_run, own_copy

from drift_detector_pipeline.errors import ConfigError, ModelError
from drift_detector_pipeline.runs.signature import check, sign, signature_of

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen here")


@pytest.fixture
def run(made_once, tmp_path: Path) -> Path:
    return own_copy(finished_run(made_once, "fp32"), tmp_path / "run")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return new_key(tmp_path / "owner")


def new_key(key: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


def test_what_was_signed_is_known_again_by_its_owners_key_alone(run, key, tmp_path):
    assert sign(run, key) == signature_of(run)
    check(run, key.with_suffix(".pub"))
    stranger = new_key(tmp_path / "stranger")
    with pytest.raises(ModelError, match=r"not what the owner of .*stranger\.pub signed"):
        check(run, stranger.with_suffix(".pub"))
    sign(run, stranger)  # anybody can sign anew
    with pytest.raises(ModelError, match=r"not what the owner of .*owner\.pub signed"):
        check(run, key.with_suffix(".pub"))


def test_a_receipt_or_weights_that_changed_since_are_not_what_was_signed(run, key):
    sign(run, key)
    receipt, weights = run / "run.json", run / "best_model.safetensors"
    whole = receipt.read_bytes()
    receipt.write_bytes(whole + b" ")
    with pytest.raises(ModelError, match=r"run\.json: not what"):
        check(run, key.with_suffix(".pub"))
    receipt.write_bytes(whole)
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"best_model\.safetensors: SHA-256"):
        check(run, key.with_suffix(".pub"))
    with pytest.raises(ModelError, match=r"best_model\.safetensors: SHA-256"):
        sign(run, key)


@pytest.mark.parametrize("given", ["none", "owner", "run"])
def test_what_is_no_public_key_is_named(run, key, tmp_path, given):
    sign(run, key)
    with pytest.raises(ConfigError, match=f"KEY={tmp_path / given}: "):
        check(run, tmp_path / given)


def test_without_a_signature_there_is_nothing_to_check(run, key):
    with pytest.raises(ModelError, match=r"not signed .*make sign RUN="):
        check(run, key.with_suffix(".pub"))


@pytest.mark.slow
@needs_clone
def test_nothing_is_trained_again_for_a_run_that_somebody_else_signed(run, key, tmp_path):
    assert make("sign", run, KEY=key).stdout == f"{run}/run.json.sig\n"
    refused = make("reproduce", run, SIGNED_BY=new_key(tmp_path / "stranger").with_suffix(".pub"))
    assert refused.returncode != 0 and "stranger.pub signed" in refused.stderr and "epoch" not in refused.stdout


def make(target: str, run: Path, **said: Path) -> subprocess.CompletedProcess[str]:
    command = [
        "make",
        "--no-print-directory",
        target,
        f"RUN={run}",
        *(f"{name}={value}" for name, value in said.items()),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("words", [[], ["sign"], ["forge", "run", "key"], ["sign", "run", "key", "more"]])
def test_words_that_name_no_run_and_key_say_how_both_are_named(words, call_main):
    done = call_main("runs.signature", *words)
    assert done.returncode == 1 and "make sign RUN=" in done.stderr and "Traceback" not in done.stderr


def test_a_key_without_end_is_no_key(run, key):
    sign(run, key)
    with pytest.raises(ConfigError, match="expected one public key"):
        check(run, Path("/dev/zero"))


def test_a_key_below_a_tilde_is_one_of_the_home_folder(run, key, monkeypatch, call_main):
    monkeypatch.setenv("HOME", str(key.parent))
    assert call_main("runs.signature", "sign", f"~/{run.name}", f"~/{key.name}").returncode == 0
    assert call_main("runs.signature", "check", f"~/{run.name}", f"~/{key.name}.pub").returncode == 0
