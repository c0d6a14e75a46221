"""run.bits=portable: what it asks for, when it starts again, and that it leaves its trace in the run's identity."""

import platform

import pytest
import torch
from conftest import run_module

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, TooLateError
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.portable import SWITCHES, THREADS
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.settings import Run


def asked(*words):
    return load(["data=digits", "run.bits=portable", *words]).settings.run


def test_once_pytorch_is_loaded_the_error_names_every_switch_and_its_value(monkeypatch):
    monkeypatch.delenv("MKL_CBWR", raising=False)
    with pytest.raises(TooLateError) as raised, prepared(asked()):
        pass
    assert raised.value.environment == SWITCHES
    assert all(f"{name}={value}" in str(raised.value) for name, value in SWITCHES.items())


@pytest.mark.parametrize("word", ["run.precision=bf16", "run.device=cuda", "run.device=mps"])
def test_what_cannot_be_portable_is_refused_rather_than_started_again(word):
    with pytest.raises(ConfigError, match=word) as raised, prepared(asked(word)):
        pass
    assert not isinstance(raised.value, TooLateError)


def test_switches_that_did_not_take_are_noticed(monkeypatch):
    """Set in a process whose PyTorch is loaded, they change nothing."""
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        pytest.skip("this processor has nothing but AVX2")
    for name, value in SWITCHES.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="has no AVX2"), prepared(asked()):
        pass


def test_the_default_is_as_it_was(tmp_path):
    assert Run.model_fields["bits"].default == "default"
    with prepared(load(["data=digits", "run.device=cpu"]).settings.run) as machine:
        assert machine.threads == torch.get_num_threads()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX2 is x86-64's")
def test_a_command_starts_itself_again_and_its_bits_are_not_those_of_the_default(tmp_path):
    words = [
        "data=digits", f"data.processed_path={tmp_path}/digits", "data.dataloader_workers=0", "model.name=conv_small",
        "model.options.channels=[16,16,32]", "training.epochs=1", "training.max_steps=4", "run.precision=fp32",
        "run.threads=1", "run.device=cpu",
    ]  # fmt: skip
    process(load(words).settings.data)
    done = run_module("modeling.train", *words, "run.bits=portable", f"hydra.run.dir={tmp_path}/portable")
    assert done.returncode == 0, done.stderr
    portable = read_receipt(tmp_path / "portable")
    assert (portable.instruction_set, portable.precision) == ("x86_64 AVX2, portable", "fp32")
    assert portable.threads == THREADS == 1
    train(load([*words, f"hydra.run.dir={tmp_path}/default"]))
    default = read_receipt(tmp_path / "default")
    assert portable.identity == default.identity | {"run.bits": "portable"}
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        assert portable.weights_sha256 != default.weights_sha256
    with pytest.raises(TooLateError):
        train(load([*words, "run.bits=portable", f"hydra.run.dir={tmp_path}/here"]))
    assert not (tmp_path / "here").exists()
