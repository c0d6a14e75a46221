"""run.bits=portable: what it asks for, when it starts again, and that cores do not matter then."""

import os
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
def test_a_command_starts_itself_again_and_one_core_gives_the_bits_of_two(tmp_path):
    words = [
        "data=digits", f"data.processed_path={tmp_path}/digits", "data.dataloader_workers=0", "model.name=conv_small",
        "model.options.channels=[16,16,32]", "training.epochs=1", "training.max_steps=4", "run.bits=portable",
    ]  # fmt: skip
    process(load(words).settings.data)
    cores = os.sched_getaffinity(0)
    receipts = []
    try:
        for number, some in enumerate([cores, {min(cores)}]):
            os.sched_setaffinity(0, some)
            done = run_module("modeling.train", *words, f"hydra.run.dir={tmp_path}/{number}")
            assert done.returncode == 0, done.stderr
            receipts.append(read_receipt(tmp_path / str(number)))
    finally:
        os.sched_setaffinity(0, cores)
    assert receipts[0].weights_sha256 == receipts[1].weights_sha256
    assert {(one.instruction_set, one.precision, one.threads) for one in receipts} == {
        ("x86_64 AVX2, portable", "fp32", THREADS)
    }
    assert receipts[0].identity["run.bits"] == "portable"
    with pytest.raises(TooLateError):
        train(load([*words, f"hydra.run.dir={tmp_path}/here"]))
    assert not (tmp_path / "here").exists()
