"""model_input.py: one crop, whatever resizes it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from drift_detector_pipeline.images.model_input import inference_crop, resized_by_numpy

SIDES = (24, 31, 32, 48, 64, 96, 128, 200, 224, 256, 384, 512)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Extreme values, where overshoots of the kernel are clipped, and all others."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    values[: height // 2] = (values[: height // 2] > 127) * 255
    return values


@pytest.mark.parametrize("stored", [24, 33, 64, 160, 256, 300, 512])
@pytest.mark.parametrize("side_px", SIDES)
def test_resizing_without_torch_gives_the_bits_of_torch(stored: int, side_px: int) -> None:
    image = noise(stored, stored, seed=side_px)
    planes = torch.from_numpy(image.copy()).unsqueeze(0).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(planes, (side_px, side_px), mode="bicubic", antialias=True)
    assert np.array_equal(resized_by_numpy(image, side_px), resized[0].permute(1, 2, 0).numpy())


@pytest.mark.slow
def test_a_process_without_torch_crops_to_the_same_bits() -> None:
    code = """
import hashlib, sys
import numpy as np
from drift_detector_pipeline.images.model_input import inference_crop
found = hashlib.sha256()
for height, width in ((40, 57), (200, 160), (64, 64), (16, 200)):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found.update(inference_crop(image, 48).tobytes())
print(found.hexdigest(), "torch" in sys.modules)
"""
    with_torch = subprocess.check_output([sys.executable, "-c", "import torch\n" + code], cwd=ROOT, text=True)
    without = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert (with_torch.split()[1], without.split()[1]) == ("True", "False")
    assert with_torch.split()[0] == without.split()[0]


def test_an_image_that_fits_is_copied_and_not_changed() -> None:
    image = noise(32, 32)
    image.flags.writeable = False
    crop = inference_crop(image, 32)
    assert np.array_equal(crop, image) and crop.flags.writeable
