"""transforms.py: what the model sees is a function of the stored image and, in training, of the generator alone."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from drift_detector_pipeline.images.augmentation import _random_box, augment
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.images.transforms import filled, normalize
from drift_detector_pipeline.settings import Augmentation

SIZES = [(32, 32), (32, 41), (57, 32), (16, 200), (9, 9), (160, 213), (1, 1)]
ALL_ON = Augmentation(min_area=0.35, shift_px=3, flip=True, cutout_px=5)
NOTHING = Augmentation(min_area=1.0, shift_px=0, flip=False)


def stored(height: int, width: int, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels.flags.writeable = False  # as a row of the memory map
    return pixels


def view(pixels: np.ndarray, how: Augmentation, seed: int = 0, side_px: int = 32) -> np.ndarray:
    return augment(pixels, side_px, how, np.random.default_rng(seed)).numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side_px", [8, 32, 33])
@pytest.mark.parametrize("how", [ALL_ON, NOTHING, Augmentation(min_area=0.1, shift_px=7, flip=True)])
def test_a_view_has_the_models_shape_and_type(size: tuple[int, int], side_px: int, how: Augmentation) -> None:
    seen = augment(stored(*size), side_px, how, np.random.default_rng(0))
    assert (seen.shape, seen.dtype) == ((side_px, side_px, 3), torch.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_a_view_is_a_function_of_image_and_generator(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    first = [view(stored(*size), ALL_ON, seed) for seed in range(10)]
    torch.manual_seed(1)
    np.random.seed(1)
    again = [view(stored(*size), ALL_ON, seed) for seed in reversed(range(10))][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    if min(size) > 1:
        assert len({one.tobytes() for one in first}) > 5


def test_the_stored_image_is_not_written_to() -> None:
    pixels = stored(40, 50).copy()
    before = pixels.copy()
    for seed in range(20):
        augment(pixels, 32, ALL_ON, np.random.default_rng(seed)).fill_(0)
        augment(pixels, 40, NOTHING, np.random.default_rng(seed)).fill_(0)
    assert np.array_equal(pixels, before)


def test_with_everything_off_training_sees_the_inference_crop() -> None:
    for size in [(32, 32), (32, 50), (61, 32)]:
        assert np.array_equal(view(stored(*size), NOTHING), inference_crop(stored(*size), 32))


@pytest.mark.parametrize("min_area", [0.08, 0.35, 0.9])
@pytest.mark.parametrize("size", [(160, 160), (160, 213), (213, 160)])
def test_a_crop_lies_inside_and_keeps_the_smallest_area(size: tuple[int, int], min_area: float) -> None:
    rng, (height, width) = np.random.default_rng(0), size
    boxes = [_random_box(height, width, min_area, rng) for _ in range(2000)]
    for box in boxes:
        assert 0 <= box.top <= height - box.height and 0 <= box.left <= width - box.width
        fallback = box.height == box.width == min(size)
        assert box.height * box.width >= min_area * height * width * 0.985 or fallback  # sides are whole pixels
        assert 0.74 < box.width / box.height < 1.35
    shares = [box.height * box.width / (height * width) for box in boxes]
    assert min(shares) < min_area + 0.1 and max(shares) > 0.7
    assert len({box.top for box in boxes}) > 5 and len({box.left for box in boxes}) > 5


def test_a_crop_of_a_strip_falls_back_to_its_centre() -> None:
    boxes = {_random_box(16, 200, 0.9, np.random.default_rng(seed)) for seed in range(50)}
    assert boxes == {(0, 92, 16, 16)}


def test_half_of_the_views_are_mirrored() -> None:
    pixels, how = stored(32, 32), Augmentation(min_area=1.0, shift_px=0, flip=True)
    views = [view(pixels, how, seed) for seed in range(400)]
    plain = sum(np.array_equal(seen, pixels) for seen in views)
    mirrored = sum(np.array_equal(seen, pixels[:, ::-1]) for seen in views)
    assert plain + mirrored == 400
    assert abs(mirrored - 200) < 5 * math.sqrt(400 / 4)


def test_a_shift_moves_by_every_offset_up_to_its_limit_and_reflects_the_border() -> None:
    pixels, shift_px = stored(16, 16), 2
    padded = np.pad(pixels, ((shift_px, shift_px), (shift_px, shift_px), (0, 0)), mode="reflect")
    expected = {padded[top : top + 16, left : left + 16].tobytes() for top in range(5) for left in range(5)}
    how = Augmentation(min_area=1.0, shift_px=shift_px, flip=False)
    assert {view(pixels, how, seed, 16).tobytes() for seed in range(400)} == expected


def test_a_square_around_any_pixel_is_covered() -> None:
    pixels, how = stored(16, 16), Augmentation(min_area=1.0, shift_px=0, flip=False, cutout_px=6)
    areas, covered = set(), np.zeros((16, 16), dtype=int)
    for seed in range(400):
        seen = view(pixels, how, seed, 16)
        hidden = (seen != pixels).any(axis=2)
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert (seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == [124, 116, 104]).all()
        assert max(len(rows), len(columns)) <= 6
        areas.add(int(hidden.sum()))
        covered += hidden
    assert {9, 36} <= areas  # in a corner, and whole
    assert covered.min() > 0


@pytest.mark.parametrize("size", SIZES)
def test_the_inference_crop_is_the_central_square(size: tuple[int, int]) -> None:
    pixels = stored(*size)
    square = min(size)
    top, left = (size[0] - square) // 2, (size[1] - square) // 2
    assert np.array_equal(inference_crop(pixels, square), pixels[top : top + square, left : left + square])
    resized = inference_crop(pixels, 20)
    assert (resized.shape, resized.dtype) == ((20, 20, 3), np.uint8)
    centre = Image.fromarray(pixels).crop((left, top, left + square, top + square))
    by_pillow = np.array(centre.resize((20, 20), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(resized - by_pillow).max() <= 1  # rounded otherwise


def test_normalization_agrees_with_its_definition() -> None:
    images = torch.from_numpy(stored(8, 8).copy()).permute(2, 0, 1)[None]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = normalize(images, mean, std)
    exact = (images.double() / 255 - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[
        :, None, None
    ]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sides", [(8, 8), (5, 7)])
def test_normalization_gives_the_same_bits_and_strides_in_any_layout(sides: tuple[int, int]) -> None:
    images = torch.from_numpy(np.stack([stored(*sides), stored(*sides)])).permute(0, 3, 1, 2)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    last, first = normalize(images, mean, std), normalize(images.contiguous(), mean, std)
    assert torch.equal(last, first)
    assert last.is_contiguous(memory_format=torch.channels_last) and first.is_contiguous()


def test_filling_up_adds_black_images_and_never_drops_one() -> None:
    images = torch.full((3, 2, 2), 7, dtype=torch.uint8)
    assert filled(images, 5).flatten(1).amax(1).tolist() == [7, 7, 7, 0, 0]
    assert filled(images, 5).dtype == torch.uint8
    assert filled(images, 3) is images
    with pytest.raises(ValueError, match="at most 2 images, got 3"):
        filled(images, 2)
