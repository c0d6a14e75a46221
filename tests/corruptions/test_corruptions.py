"""Corruptions: functions of (seed, key, kind, severity), stronger with severity, obeying the laws of their names."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import called
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_images

from drift_detector_pipeline.corruptions import blur, digital, noise, weather
from drift_detector_pipeline.corruptions.corrupt import BENIGN, FAMILIES, KINDS, SEVERITIES, change_benignly, corrupt
from drift_detector_pipeline.corruptions.strength import TABLE, strength
from drift_detector_pipeline.proof.ssim import ssim

RANDOM = {
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "snow",
    "frost",
    "fog",
    "elastic",
}


def photos(count: int, side_px: int) -> np.ndarray:
    """Crops of two real photographs, each a quarter of their height wide: uint8 (N, S, S, 3)."""
    sources = load_sample_images().images
    rng = np.random.default_rng(0)
    crops = []
    for index in range(count):
        source = Image.fromarray(sources[index % 2])
        width = max(side_px, 160)
        left, top = rng.integers(0, source.width - width), rng.integers(0, source.height - width)
        crops.append(np.asarray(source.crop((left, top, left + width, top + width)).resize((side_px, side_px))))
    return np.stack(crops)


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    return photos(6, 32)


def gray(value: float, side: int = 64, count: int = 3) -> np.ndarray:
    return np.full((count, side, side, 3), value, dtype=np.float32)


def generators(count: int = 3) -> list[np.random.Generator]:
    return [np.random.default_rng(index) for index in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sides", [(8, 8), (9, 13), (33, 70), (32, 32)])
def test_every_kind_works_at_any_side_from_8_px_on(kind, sides):
    images = np.random.default_rng(1).integers(0, 256, (2, *sides, 3), dtype=np.uint8)
    for severity in (1, 5):
        changed = corrupt(images, kind, severity, keys=[4, 5])
        assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
    assert (changed != images).any()


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_comes_out_the_same_in_any_batch(kind):
    images = photos(40, 64)  # more than one chunk
    images = np.concatenate([images, images])
    keys = list(range(80))
    together = corrupt(images, kind, 3, keys=keys)
    order = np.random.default_rng(2).permutation(80)[:7]
    np.testing.assert_array_equal(corrupt(images[order], kind, 3, keys=[keys[i] for i in order]), together[order])
    np.testing.assert_array_equal(corrupt(images[3:4], kind, 3, keys=[3]), together[3:4])


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_key_decide_what_is_random(kind, small):
    same = np.repeat(small[:1], 2, axis=0)
    first, second = corrupt(same, kind, 3, keys=[1, 2])
    (other_seed,) = corrupt(same[:1], kind, 3, keys=[1], seed=9)
    assert (first != second).any() == (first != other_seed).any() == (kind in RANDOM)


def test_the_input_is_left_as_it_is(small):
    before = small.copy()
    small.flags.writeable = False
    for kind in KINDS:
        corrupt(small, kind, 5, keys=range(6))
    for change in BENIGN:
        change_benignly(small, change)
    np.testing.assert_array_equal(small, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "side", [32, pytest.param(128, marks=pytest.mark.slow), pytest.param(224, marks=pytest.mark.slow)]
)
def test_ssim_falls_strictly_with_severity(kind, side):
    images = photos(20, side)
    medians = [np.median(ssim(images, corrupt(images, kind, severity, keys=range(20)))) for severity in SEVERITIES]
    assert medians[0] < 1
    assert (np.diff(medians) < 0).all(), medians


def test_families_hold_each_kind_once():
    assert sorted(kind for kinds in FAMILIES.values() for kind in kinds) == sorted(KINDS) == sorted(TABLE)
    assert len(KINDS) == 15


@pytest.mark.parametrize(
    ("kind", "severity", "message"), [("rain", 1, "rain"), ("fog", 0, "severity"), ("fog", 6, "severity")]
)
def test_unknown_kinds_and_severities_are_refused(kind, severity, message, small):
    with pytest.raises(ValueError, match=message):
        corrupt(small, kind, severity, keys=range(6))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 7, 9, 3), np.uint8),
        np.zeros((1, 9, 9, 1), np.uint8),
        np.zeros((1, 9, 9, 3)),
        np.zeros((9, 9, 3), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(images):
    with pytest.raises(ValueError, match="expected uint8"):
        corrupt(images, "fog", 1, keys=[0])
    with pytest.raises(ValueError, match="expected uint8"):
        change_benignly(images, "flip")


def test_every_image_needs_a_key(small):
    with pytest.raises(ValueError, match="a key for each of 6 images, got 2"):
        corrupt(small, "fog", 1, keys=[1, 2])


def test_no_images_give_no_images(small):
    assert corrupt(small[:0], "snow", 1, keys=[]).shape == (0, 32, 32, 3)
    assert change_benignly(small[:0], "jpeg95").shape == (0, 32, 32, 3)


def test_published_values_hold_at_32_and_224_px_and_lie_between_elsewhere():
    assert strength("gaussian_noise", 1, 32)["sigma"] == pytest.approx(0.04)
    assert strength("gaussian_noise", 5, 224)["sigma"] == pytest.approx(0.38)
    assert 0.04 < strength("gaussian_noise", 1, 96)["sigma"] < 0.08
    assert strength("defocus_blur", 5, 448)["radius_px"] == pytest.approx(20)  # lengths grow with the image
    assert strength("gaussian_noise", 5, 448)["sigma"] == pytest.approx(0.38)  # nothing else does
    assert strength("motion_blur", 1, 8) == strength("motion_blur", 1, 32)


def test_gaussian_noise_has_its_deviation():
    noisy = noise.gaussian_noise(gray(0.5), generators(), sigma=0.1)
    assert noisy.std() == pytest.approx(0.1, rel=0.02)
    assert noisy.mean() == pytest.approx(0.5, abs=0.003)


def test_shot_noise_has_the_variance_of_counted_photons():
    noisy = noise.shot_noise(gray(0.3), generators(), photons=25)
    assert noisy.mean() == pytest.approx(0.3, abs=0.005)
    assert noisy.var() == pytest.approx(0.3 / 25, rel=0.05)


def test_impulse_noise_sets_its_share_to_black_and_white():
    noisy = noise.impulse_noise(gray(0.5), generators(), share=0.2)
    assert (noisy == 0).mean() == pytest.approx(0.1, abs=0.01)
    assert (noisy == 1).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("kernel", [blur.disk(3, 0.5), blur.streak(30, 5, 3), blur.streak(90, 4, 9)])
def test_blur_is_a_convolution_with_mirrored_borders(kernel, small):
    image = small[0].astype(np.float32) / 255
    expected = np.stack([ndimage.convolve(image[..., c], kernel, mode="reflect") for c in range(3)], axis=-1)
    np.testing.assert_allclose(blur.convolve(image[None], [kernel])[0], expected, atol=2e-6)
    assert kernel.sum() == pytest.approx(1)


def test_a_disk_has_the_spread_of_a_disk():
    kernel, offsets = blur.disk(10, 0.1), np.arange(-11, 12)
    assert (kernel.sum(axis=0) * offsets**2).sum() == pytest.approx(10**2 / 4, rel=0.06)


def test_a_streak_is_half_a_gaussian_along_its_angle():
    kernel = blur.streak(30, 30, 6)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    right, down = (kernel.sum(axis=0) * offsets).sum(), (kernel.sum(axis=1) * offsets).sum()
    assert np.hypot(right, down) == pytest.approx(6 * np.sqrt(2 / np.pi), rel=0.05)
    assert np.degrees(np.arctan2(down, right)) == pytest.approx(30, abs=0.5)


def test_glass_takes_pixels_from_nearby():
    steps = np.zeros((1, 64, 64, 3), dtype=np.float32)
    steps[:, :, 32:] = 1
    mixed = blur.glass_blur(steps, generators(1), sigma_px=0.05, scatter_px=2.0)[0, :, :, 0]
    assert set(np.unique(mixed)) == {0, 1}
    assert (mixed[:, :22] == 0).all() and (mixed[:, 42:] == 1).all() and (mixed[:, 30:34] == 0).any()


def test_zooming_leaves_the_centre_and_smears_the_border():
    image = photos(1, 65).astype(np.float32) / 255
    change = np.abs(blur.zoom_blur(image, generators(1), largest=1.25) - image)[0].mean(axis=2)
    assert change[32, 32] < 1e-5
    assert change[25:40, 25:40].mean() < change.mean()


def test_brightness_adds_to_value_and_keeps_hue():
    brighter = weather.brightness(
        np.array([[[[0.2, 0.4, 0.1], [0, 0, 0]]]], dtype=np.float32), generators(1), added=0.2
    )
    np.testing.assert_allclose(brighter[0, 0], [[0.3, 0.6, 0.15], [0.2, 0.2, 0.2]], atol=1e-6)


def test_contrast_keeps_the_mean_and_scales_the_deviation(small):
    images = small.astype(np.float32) / 255
    flatter = digital.contrast(images, generators(6), factor=0.3)
    np.testing.assert_allclose(flatter.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(flatter.std(axis=(1, 2)), 0.3 * images.std(axis=(1, 2)), rtol=1e-3)


def test_fog_keeps_the_brightest_value_and_pales_the_rest(small):
    images = small.astype(np.float32) / 255
    foggy = weather.fog(images, generators(6), thickness=1.5, decay=2)
    assert (foggy.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3)) + 1e-5).all()
    assert foggy.std(axis=(1, 2)).mean() < 0.8 * images.std(axis=(1, 2)).mean()


def test_clouds_are_rougher_the_less_they_decay():
    smooth, rough = (weather.cloud_like(generators(8), 64, decay) for decay in (3.0, 1.4))
    assert (smooth.min(), smooth.max(), smooth.shape) == (0, 1, (8, 64, 64))
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_elastic_without_push_or_moved_corners_changes_nothing(small):
    images = small.astype(np.float32) / 255
    same = digital.elastic(images, generators(6), push_px=0, sigma_px=2, corner_px=0)
    np.testing.assert_allclose(same, images, atol=1e-5)


def test_pixels_become_blocks(small):
    blocky = digital.pixelate(small.astype(np.float32) / 255, generators(6), share=0.25)
    np.testing.assert_array_equal(blocky, blocky[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2))


def test_jpeg_is_what_pillow_makes_of_it(small):
    buffer = io.BytesIO()
    Image.fromarray(small[0]).save(buffer, format="JPEG", quality=40)
    with Image.open(buffer) as decoded:
        np.testing.assert_array_equal(corrupt(small[:1], "jpeg", 5, keys=[0])[0], np.asarray(decoded))


def test_benign_changes_do_what_they_are_called(small):
    np.testing.assert_array_equal(change_benignly(change_benignly(small, "flip"), "flip"), small)
    for side, by_px in ((224, 4), (128, 2), (32, 1), (8, 1)):
        images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
        np.testing.assert_array_equal(change_benignly(images, "shift")[:, :, by_px:], images[:, :, :-by_px])
    for change, factor in (("brighter", 1.03), ("darker", 0.97)):
        expected = np.clip(np.rint(small * factor), 0, 255)
        np.testing.assert_array_equal(change_benignly(small, change), expected)
    for change in ("resample", "jpeg95"):
        changed = change_benignly(small, change)
        assert (changed != small).any() and np.median(ssim(small, changed)) > 0.9
    with pytest.raises(ValueError, match="expected a change"):
        change_benignly(small, "crop")


def test_ssim_of_equal_images_is_1_and_of_flat_ones_as_its_formula_says(small):
    np.testing.assert_allclose(ssim(small, small), 1)
    dark, light = (np.full((1, 40, 40, 3), value, dtype=np.uint8) for value in (60, 180))
    constant = (0.01 * 255) ** 2
    expected = (2 * 60 * 180 + constant) / (60**2 + 180**2 + constant)
    assert ssim(dark, light)[0] == pytest.approx(expected)
    np.testing.assert_allclose(ssim(small, small[::-1]), ssim(small[::-1], small))


def test_ssim_is_the_mean_over_gaussian_windows(small):
    """Against the definition, window by window."""
    one, other = (images[0] @ np.array([0.299, 0.587, 0.114]) for images in (small, small[1:]))
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for row in range(5, 27):
        for column in range(5, 27):
            a, b = (image[row - 5 : row + 6, column - 5 : column + 6] for image in (one, other))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append(
                (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    assert ssim(small[:1], small[1:2])[0] == pytest.approx(np.mean(values))


@pytest.mark.slow
def test_the_command_draws_a_sheet_and_writes_what_it_prints(tmp_path: Path):
    data = ["data=digits", f"data.processed_path={tmp_path}/digits"]
    assert called("dataset", *data, cwd=tmp_path).returncode == 0
    done = called("proof.corruption_sheet", *data, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "reports/corruptions_digits_32px.json").read_text())
    assert list(report["kinds"]) == list(KINDS)
    assert f"{report['kinds']['fog']['ssim'][0]:.3f}" in done.stdout
    with Image.open(tmp_path / "outputs/corruptions/corruptions_digits_32px.png") as sheet:
        assert sheet.width > 6 * 128 and sheet.height > 16 * 128


def test_the_command_names_what_is_missing(tmp_path: Path, call_main):
    done = call_main("proof.corruption_sheet", "data=digits", f"data.processed_path={tmp_path}/none")
    assert done.returncode == 1 and "make process_data" in done.stderr
    done = call_main("proof.corruption_sheet", "outputs/no_run")
    assert done.returncode == 1 and "no finished run" in done.stderr
