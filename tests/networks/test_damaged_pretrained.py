"""Weights that others have trained, damaged on their way: the same weights, or one sentence."""

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from drift_detector_pipeline.config import load
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.networks.models import build
from drift_detector_pipeline.networks.pretrained import load_pretrained


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.fixture
def lender() -> nn.Module:
    torch.manual_seed(1)
    return network()


def damaged(content: bytes, draw: random.Random) -> bytes:
    """With a flipped bit, cut, or with a few other bytes."""
    place, kind = draw.randrange(len(content)), draw.randrange(3)
    if kind == 0:
        return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
    return content[:place] + (draw.randbytes(9) + content[place + 9 :]) * (kind == 1)


def test_any_damage_to_a_pth_leaves_its_weights_or_is_refused(lender: nn.Module, tmp_path: Path) -> None:
    torch.save(lender.state_dict(), path := tmp_path / "w.pth")
    content, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        path.write_bytes(damaged(content, draw))
        try:
            load_pretrained(made := network(), path)
        except ModelError as error:
            refused += 1
            assert str(error).startswith(f"model.pretrained_path={path}: ")
        else:
            assert all(torch.equal(tensor, lender.state_dict()[name]) for name, tensor in made.state_dict().items())
    assert refused > 100


def test_damage_to_a_pth_of_the_old_format_is_one_sentence(lender: nn.Module, tmp_path: Path) -> None:
    torch.save(lender.state_dict(), path := tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    content, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        path.write_bytes(damaged(content, draw))
        try:
            load_pretrained(network(), path)
        except ModelError:
            refused += 1
    assert refused > 100


def test_a_pth_that_was_written_without_checksums_is_read(lender: nn.Module, tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(lender.state_dict(), path := tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    load_pretrained(made := network(), path)
    assert torch.equal(made.state_dict()["0.weight"], lender.state_dict()["0.weight"])


def test_a_damaged_backbone_is_called_by_the_setting_that_names_it(tmp_path: Path) -> None:
    (path := tmp_path / "backbone.pth").write_bytes(b"no weights at all\n" * 20)
    settings = load(["data=digits", "model.name=resnet18", f"model.backbone_run={path}"]).settings.model
    with pytest.raises(ModelError, match=r"model\.backbone_run=.*backbone\.pth: no safetensors or \.pth file"):
        build(settings, 5, 32)
