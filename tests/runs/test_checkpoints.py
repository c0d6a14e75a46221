"""Checkpoints whose header is damaged: the previous one serves, or a sentence says that none does."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.networks.weights import pack_tensors
from drift_detector_pipeline.runs.checkpoints import (
    NAMES,
    Checkpoint,
    load_checkpoint,
    read_identity,
    save_checkpoint,
)

TENSORS = {"model.weight": torch.arange(3.0)}
WHOLE = {"progress": {"step": 1}, "identity": {"run.seed": 1}, "sha256": tensors_hash(TENSORS)}
ODD = [None, 3, "x", [None], True]
HEADERS = [
    *(WHOLE | {part: odd} for part in WHOLE for odd in ODD),
    *({name: value for name, value in WHOLE.items() if name != part} for part in WHOLE),
]


def test_a_damaged_header_is_passed_over_for_the_previous_checkpoint(tmp_path: Path, caplog) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, Checkpoint(TENSORS, {"step": step}, {"run.seed": step}))
    for header in HEADERS:
        (tmp_path / NAMES[0]).write_bytes(pack_tensors(TENSORS, header))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert load_checkpoint(tmp_path).progress == {"step": 1}
        assert "going on from previous.safetensors instead" in caplog.text


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_may_have_no_end_is_no_checkpoint_and_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    for name in NAMES:
        make(tmp_path / name)
    with pytest.raises(ResumeError, match="a pipe or a device; a plain file is expected"):
        load_checkpoint(tmp_path)
    assert read_identity(tmp_path) is None


def test_damaged_headers_alone_are_no_checkpoint(tmp_path: Path) -> None:
    for header in HEADERS:
        (tmp_path / NAMES[0]).write_bytes(pack_tensors(TENSORS, header))
        with pytest.raises(ResumeError, match=r"no usable checkpoint .*Start anew: make train"):
            load_checkpoint(tmp_path)
        assert read_identity(tmp_path) in (None, WHOLE["identity"])
