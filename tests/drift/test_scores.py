"""Scores: the same numbers in any batch and from any source, each obeying the law it is named by."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from conftest import write_image
from PIL import Image
from torch import nn

from drift_detector_pipeline.corruptions.corrupt import FAMILIES, corrupt
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.reference import Learned
from drift_detector_pipeline.drift.scores.directions import direction_scores, fit_directions, fit_features
from drift_detector_pipeline.drift.scores.module_forward import find_layers, through
from drift_detector_pipeline.drift.scores.output_scores import (
    OUTPUT_SCORES,
    OutputParameters,
    fit_outputs,
    output_scores,
    temperature_of,
)
from drift_detector_pipeline.drift.scores.phi import (
    CHANNELS,
    describe_scores,
    fit_scores,
    from_arrays,
    image_folds,
    missing,
    phi,
    to_arrays,
    unseen_scores,
)
from drift_detector_pipeline.drift.scores.pixels import PIXELS, pixel_names, pixel_scores
from drift_detector_pipeline.drift.scores.signals import Layers, Outputs, Signals, Twin, read_signals
from drift_detector_pipeline.images.decoder import decode
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD, inference_crop
from drift_detector_pipeline.networks.models import create
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.proof.study import _learned
from drift_detector_pipeline.proof.study_material import Material

SIDE = 32


def soft_images(count: int, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Random images with large and small detail: uint8 (N, S, S, 3)."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
        images.append(np.clip(smooth + rng.normal(0, rng.uniform(1, 8), smooth.shape), 0, 255).astype(np.uint8))
    return np.stack(images)


def measured(images: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(pixel_names(images.shape[1]), pixel_scores(images).T, strict=True))


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=4).eval()


@pytest.fixture(scope="module")
def forward(resnet):
    return through(resnet, IMAGENET_MEAN, IMAGENET_STD)


@pytest.fixture(scope="module")
def learned(forward):
    """Clean signals, labels, twins and what is learned from them."""
    images = soft_images(120)
    labels = np.arange(120) % 4
    clean = read_signals(images, forward)
    twins = [
        Twin(kind, severity, rows, read_signals(corrupt(images[rows], kind, severity, keys=rows), forward))
        for kind in ("gaussian_noise", "defocus_blur", "contrast")
        for severity, rows in ((1, np.arange(0, 60)), (3, np.arange(60, 120)))
    ]
    return clean, labels, twins, fit_scores(clean, labels, twins, SIDE)


# pixels


def test_a_flat_image_has_its_colour_and_nothing_else():
    flat = measured(np.full((1, SIDE, SIDE, 3), (200, 100, 40), dtype=np.uint8))
    assert flat["luma"][0] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 40, abs=0.5)
    assert flat["red_green"][0] == 100
    assert flat["black_level"][0] == pytest.approx(np.log(204))
    assert flat["yellow_blue"][0] == 110
    assert flat["saturation"][0] == pytest.approx(np.log(161))
    for name in ("contrast", "gradient", "laplacian", "fine_to_coarse", "blockiness", "anisotropy", "bright"):
        assert flat[name][0] == pytest.approx(0, abs=1e-3), name


@pytest.mark.parametrize("sigma", [4, 10, 25])
def test_noise_is_measured_as_large_as_it_is(sigma):
    gray = np.clip(128 + np.random.default_rng(0).normal(0, sigma, (4, 128, 128, 1)), 0, 255).repeat(3, axis=3)
    found = measured(gray.astype(np.uint8))
    assert np.exp(found["noise"]).mean() == pytest.approx(sigma, rel=0.04)


def test_pixel_scores_equal_their_definitions_in_floating_point():
    images = soft_images(5, side=48)
    found = measured(images)
    luma = (images.astype(np.float64) @ [77, 150, 29]) / 256
    across, down = np.diff(luma, axis=2), np.diff(luma, axis=1)
    energy = (across**2).mean(axis=(1, 2)) + (down**2).mean(axis=(1, 2))
    np.testing.assert_allclose(found["luma"], luma.mean(axis=(1, 2)), atol=0.05)
    np.testing.assert_allclose(found["contrast"], np.log(luma.std(axis=(1, 2)) + 1), atol=1e-3)
    np.testing.assert_allclose(found["gradient"], np.log(energy + 1), atol=4e-3)
    half = luma.reshape(5, 24, 2, 24, 2).mean(axis=(2, 4))
    coarse = (np.diff(half, axis=2) ** 2).mean(axis=(1, 2)) + (np.diff(half, axis=1) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(found["fine_to_coarse"], np.log((energy + 1) / (coarse + 1)), atol=4e-3)
    laplacian = np.diff(across, axis=2)[:, 1:-1] + np.diff(down, axis=1)[:, :, 1:-1]
    np.testing.assert_allclose(found["laplacian"], np.log((laplacian**2).mean(axis=(1, 2)) + 1), atol=4e-3)


def test_no_image_overflows_16_bits():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    found = measured(board[None, :, :, None].repeat(3, axis=3).astype(np.uint8))
    step = 8 * 255  # of [1 -2 1] x [1 -2 1] on a chessboard, at every place
    assert found["noise"][0] == pytest.approx(np.log(np.sqrt(np.pi / 2) / 6 * step), rel=0.01)
    assert found["gradient"][0] == pytest.approx(np.log(2 * 255**2), rel=0.01)


def test_blocks_and_directions_are_seen():
    images = soft_images(6, side=64)
    plain, blocky = measured(images), measured(corrupt(images, "jpeg", 5, keys=range(6)))
    assert (blocky["blockiness"] > plain["blockiness"] + 0.05).all()
    stripes = np.broadcast_to((np.arange(64) % 8 < 4) * 200, (1, 64, 64))[..., None].repeat(3, axis=3).astype(np.uint8)
    assert measured(stripes)["anisotropy"][0] > 5
    assert measured(stripes.transpose(0, 2, 1, 3))["anisotropy"][0] < -5


@pytest.mark.parametrize("sides", [(8, 8), (32, 32), (33, 50), (224, 224)])
def test_pixel_scores_do_not_depend_on_the_batch(sides):
    images = np.random.default_rng(0).integers(0, 256, (9, *sides, 3), dtype=np.uint8)
    together = pixel_scores(images)
    assert np.isfinite(together).all()
    for place in (0, 4, 8):
        np.testing.assert_allclose(pixel_scores(images[place : place + 1])[0], together[place], rtol=1e-5, atol=1e-5)


def test_what_says_nothing_on_tiny_images_is_left_out():
    assert set(PIXELS) - set(pixel_names(8)) == {"fine_to_coarse", "blockiness", "anisotropy"}
    assert pixel_scores(np.zeros((2, 8, 8, 3), np.uint8)).shape == (2, len(PIXELS) - 3)
    assert pixel_names(24) == list(PIXELS)


# signals


def test_batches_of_any_size_give_the_same_numbers(forward):
    images = soft_images(37)
    together = read_signals(images, forward)
    for size in (1, 2, 16, 17, 36):
        for start in (0, 37 - size):
            part = read_signals(images[start : start + size], forward)
            for one, all_ in zip(part, together, strict=True):
                np.testing.assert_allclose(one, all_[start : start + size], rtol=0, atol=1e-5)


def test_images_that_cannot_be_written_to_or_lie_reversed_in_memory_are_read_as_others(forward):
    images = soft_images(5)
    fixed, reversed_ = images.copy(), images[::-1].copy()[::-1]
    fixed.flags.writeable = False
    for given in (fixed, reversed_):
        for one, other in zip(read_signals(given, forward), read_signals(images, forward), strict=True):
            np.testing.assert_array_equal(one, other)


def test_neighbours_do_not_matter(forward):
    images = soft_images(4)
    for neighbour in (np.zeros_like(images), np.full_like(images, 255), soft_images(4, seed=5)):
        mixed = read_signals(np.concatenate([neighbour, images]), forward)
        for one, both in zip(read_signals(images, forward), mixed, strict=True):
            np.testing.assert_allclose(one, both[4:], rtol=0, atol=1e-5)


def test_signals_are_what_timm_itself_gives(resnet, forward):
    images = soft_images(5)
    found = read_signals(images, forward)
    values = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    inputs = (values - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    with torch.inference_mode():
        last, maps = resnet.forward_intermediates(inputs, indices=[0, 1, 2])
        features = resnet.forward_head(last, pre_logits=True)
        logits = resnet(inputs)
    np.testing.assert_allclose(found.early, torch.cat([m.mean((2, 3)) for m in maps], 1), atol=1e-4)
    np.testing.assert_allclose(found.features, features, atol=1e-4)
    np.testing.assert_allclose(found.logits, logits, atol=1e-4)


def test_the_model_is_left_without_hooks_and_in_its_precision(resnet, forward):
    images = soft_images(2)
    plain = read_signals(images, forward)
    with torch.autocast("cpu", torch.bfloat16):
        inside = read_signals(images, forward)
    np.testing.assert_array_equal(plain.logits, inside.logits)
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in resnet.modules())


@pytest.mark.parametrize(
    ("name", "options", "maps"),
    [
        ("convnext_atto", {}, 40 + 80),
        ("mobilenetv3_small_050", {}, 16 + 8 + 16),
        ("regnetx_002", {}, 32 + 24 + 56),
        ("conv_small", {}, 24 + 64 + 256),
        ("selecsls42", {}, 32),  # its other early stages give lists
        ("sequencer2d_s", {}, 192),  # its classifier is given maps (N, h, w, D)
        (
            "swin_tiny_patch4_window7_224",
            {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (1, 1, 1, 1)},
            72,
        ),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, 0),
        ("mlp", {}, 0),
    ],
)
def test_stem_and_first_stages_are_found_by_themselves(name, options, maps):
    side = options.get("img_size", SIDE)
    module = create(name, 3, side, options)
    found = read_signals(soft_images(2, side), through(module, IMAGENET_MEAN, IMAGENET_STD))
    assert found.early.shape == (2, maps)
    assert found.logits.shape == (2, 3)
    assert all(np.isfinite(values).all() for values in found)
    expected = torch.nn.functional.linear(torch.from_numpy(found.features), *_last_linear(module))
    np.testing.assert_allclose(expected.detach(), found.logits, atol=1e-4)  # the features are the classifier's input


def _last_linear(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    last = [child for child in module.modules() if isinstance(child, nn.Linear)][-1]
    return last.weight, last.bias


def test_a_foreign_model_is_watched_where_it_is_told():
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 5, 1),
        nn.Flatten(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="name the classifier"):
        find_layers(module)
    found = read_signals(soft_images(3), through(module, (0, 0, 0), (1, 1, 1), Layers(("0", "2"), "4")))
    assert (found.early.shape, found.features.shape, found.logits.shape) == ((3, 14), (3, 8), (3, 5))
    assert (found.early[:, :6] < 0).any()  # as the convolution gave them, before they were overwritten
    with pytest.raises(ValueError, match=r"no modules \['stem'\]"):
        through(module, (0, 0, 0), (1, 1, 1), Layers(("stem",), "4"))
    with pytest.raises(ValueError, match=r"layer 5 gives float32 \(16, 5\), expected float maps .* leave it out"):
        read_signals(soft_images(1), through(module, (0, 0, 0), (1, 1, 1), Layers(("5",), "4")))


class Gives(nn.Module):
    """A layer that gives whatever it is told to."""

    def __init__(self, what) -> None:
        super().__init__()
        self.forward = what


class Stages(nn.Module):
    """A model that names its stages as timm's do; not all of them give maps, and one is never called."""

    def __init__(self, *stages: str) -> None:
        super().__init__()
        self.maps, self.fc, self.unused = nn.Conv2d(3, 6, 3), nn.Linear(6, 4), nn.Linear(6, 4)
        self.listed, self.nothing = Gives(lambda maps: [maps, maps]), Gives(lambda maps: None)
        self.whole, self.folded = Gives(torch.Tensor.long), Gives(lambda maps: maps.flatten(0, 1)[:, None])
        self.last = Gives(lambda pair: pair[0])
        self.feature_info = [{"module": name, "num_chs": 6, "reduction": 1} for name in stages]

    def get_classifier(self) -> nn.Module:
        return self.fc

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        maps = self.maps(values)
        for layer in (self.listed, self.nothing, self.whole, self.folded):
            layer(maps)
        return self.last((self.fc(maps.mean((2, 3))), maps))


@pytest.mark.parametrize(
    ("name", "gives"),
    [
        ("listed", "a list"),
        ("nothing", "nothing"),
        ("whole", "int64 (16, 6, 30, 30)"),
        ("folded", "float32 (96, 1, 30, 30)"),
        ("unused", "nothing (it is never called)"),
        ("", "float32 (16, 4)"),
    ],
)
def test_a_layer_without_maps_is_left_out_if_found_and_refused_if_named(name, gives):
    images, module = soft_images(2), Stages(name, "maps")
    assert find_layers(module) == Layers((name, "maps"), "fc")
    found = read_signals(images, through(module, (0, 0, 0), (1, 1, 1)))
    expected = read_signals(images, through(module, (0, 0, 0), (1, 1, 1), Layers(("maps",), "fc")))
    assert found.early.shape == (2, 6)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=re.escape(f"layer {name} gives {gives}, expected float maps (N, C, h, w)")):
        read_signals(images, through(module, (0, 0, 0), (1, 1, 1), Layers(("maps", name), "fc")))
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())


def test_a_model_whose_stages_all_give_something_else_has_no_early_maps():
    forward = through(Stages("listed", "unused"), IMAGENET_MEAN, IMAGENET_STD)
    parameters = fit_scores(read_signals(soft_images(60), forward), np.arange(60) % 4, [], SIDE)
    assert "early feature maps" in missing(parameters)


def test_a_classifier_that_is_not_given_features_is_refused():
    for name, given in (("unused", "nothing (it is never called)"), ("last", "a tuple")):
        with pytest.raises(ValueError, match=re.escape(f"layer {name} is given {given}, expected float features")):
            read_signals(soft_images(1), through(Stages(), (0, 0, 0), (1, 1, 1), Layers((), name)))
    several = timm.create_model("efficientvim_m1", num_classes=3)
    with pytest.raises(ValueError, match=r"layer heads is given nothing .* name another"):
        read_signals(soft_images(1), through(several, IMAGENET_MEAN, IMAGENET_STD))


def test_values_that_are_not_finite_are_refused():
    module = Stages("maps")
    with torch.no_grad():
        module.fc.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"not finite \(nan or inf\) for 3 images"):
        read_signals(soft_images(3), through(module, (0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize("part", Outputs._fields)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_for_which_a_function_gives_no_finite_value_are_counted(part, value):
    def outputs(images: np.ndarray) -> Outputs:
        dark = torch.from_numpy((images == 0).all(axis=(1, 2, 3)))
        found = Outputs(torch.ones(len(images), 2), torch.ones(len(images), 3), torch.ones(len(images), 4))
        getattr(found, part)[dark, 1] = value
        return found

    images = soft_images(20)
    assert read_signals(images, outputs).logits.shape == (20, 2)  # the black images that fill a batch do not count
    images[[2, 17]] = 0
    with pytest.raises(ValueError, match=r"not finite \(nan or inf\) for 2 images"):
        read_signals(images, outputs)


def test_a_function_serves_as_a_model():
    def outputs(images: np.ndarray) -> Outputs:
        means = torch.from_numpy(images.mean(axis=(1, 2))).float()
        return Outputs(means @ torch.ones(3, 2), means)

    found = read_signals(soft_images(20), outputs)
    assert (found.early.shape, found.features.shape, found.logits.shape) == ((20, 0), (20, 3), (20, 2))
    plain = read_signals(soft_images(20), lambda images: tuple(outputs(images)[:2]))
    assert all((one == other).all() for one, other in zip(plain, found, strict=True))
    maps = torch.rand(16, 4, 5, 5)
    early = read_signals(soft_images(16), lambda images: (*outputs(images)[:2], maps)).early
    np.testing.assert_allclose(early, maps.mean(dim=(2, 3)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"expected logits, features and perhaps early maps .* got float32"):
        read_signals(soft_images(2), lambda images: torch.zeros(16, 2))
    with pytest.raises(ValueError, match="16 rows each"):
        read_signals(soft_images(2), lambda images: Outputs(torch.zeros(3, 2), torch.zeros(16, 3)))
    with pytest.raises(ValueError, match=r"16 rows each, got .* float32 \(16, 3\), a tuple"):
        read_signals(soft_images(2), lambda images: Outputs((torch.zeros(16, 2),), torch.zeros(16, 3)))
    with pytest.raises(ValueError, match="at least one image"):
        read_signals(soft_images(1)[:0], outputs)


# directions


def test_a_direction_is_that_of_linear_discriminant_analysis():
    """One planted shift d on data of covariance S: the direction is S^-1 d, and its score has a spread of 1."""
    rng = np.random.default_rng(0)
    mix, shift = rng.normal(size=(6, 6)), np.array([0.1, 0, 0, 0, 0, 0.2])
    clean = (rng.normal(size=(40_000, 6)) @ mix).astype(np.float32)
    rows = np.arange(2000)
    directions = fit_directions(clean, [(rows, (clean[rows] + shift).astype(np.float32))])
    expected = np.linalg.solve(mix.T @ mix, shift)
    found = directions.weights[:, 0]
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) == pytest.approx(1, abs=1e-3)
    scores = direction_scores(clean, directions)
    assert scores.std() == pytest.approx(1, rel=0.02)
    assert direction_scores(clean + shift.astype(np.float32), directions).mean() > scores.mean()


def test_faint_movements_count_as_much_as_strong_ones():
    rng = np.random.default_rng(1)
    clean = rng.normal(size=(5000, 10)).astype(np.float32)
    rows, strong, faint = np.arange(1000), np.eye(10)[2] * 20, np.eye(10)[7] * 0.05
    directions = fit_directions(clean, [(rows, np.float32(clean[rows] + move)) for move in (strong, faint)])
    assert directions.weights.shape == (10, 2)
    assert np.linalg.norm(directions.weights[[2, 7]], axis=1) == pytest.approx([1, 1], abs=0.05)


def test_features_are_projected_on_their_own_principal_axes():
    """Three axes of spread 9, 4 and 1, turned, among constant columns: found in that order, each with a spread of 1."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    features = np.zeros((3000, 5), np.float32)
    features[:, 1:4] = (rng.normal(size=(3000, 3)) * [9, 4, 1]) @ turn + 7
    found = fit_features(features)
    assert found.weights.shape == (5, 3)
    np.testing.assert_allclose(np.cov(direction_scores(features, found).T), np.eye(3), atol=2e-3)
    np.testing.assert_allclose(np.abs(found.weights[1:4].T @ turn.T), np.diag([1 / 9, 1 / 4, 1]), atol=0.03)
    assert fit_features(np.ones((50, 4), np.float32)).weights.shape == (4, 0)
    assert fit_features(rng.normal(size=(500, 64)).astype(np.float32)).weights.shape == (64, 10)


def test_constant_columns_and_no_twins_give_no_directions():
    clean = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    assert fit_directions(clean, []).weights.shape == (4, 0)
    clean[:, 1] = 3
    moved = clean[:50] + np.float32([0, 5, 1, 0])
    assert fit_directions(clean, [(np.arange(50), moved)]).weights[1] == pytest.approx(0)


# output scores


def test_distance_is_the_smallest_mahalanobis_distance():
    rng = np.random.default_rng(0)
    labels = np.arange(6000) % 3
    centres = rng.normal(0, 5, (3, 5))
    mix = rng.normal(size=(5, 5))
    features = (centres[labels] + rng.normal(size=(6000, 5)) @ mix).astype(np.float32)
    learned = fit_outputs(features, rng.normal(size=(6000, 3)).astype(np.float32), labels)
    assert learned.directions.shape == (5, 5)
    new = rng.normal(0, 5, (50, 5)).astype(np.float32)
    inverse = np.linalg.inv(mix.T @ mix)
    gaps = new[:, None] - centres
    expected = np.sqrt(np.einsum("nkd,de,nke->nk", gaps, inverse, gaps).min(axis=1))
    found = output_scores(new, np.zeros((50, 3), np.float32), learned)[:, list(OUTPUT_SCORES).index("mahalanobis")]
    np.testing.assert_allclose(np.exp(found), expected, rtol=0.06)


def test_at_most_64_directions_of_the_features_are_kept():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(900, 512)).astype(np.float32), np.arange(900) % 10
    learned = fit_outputs(features, rng.normal(size=(900, 10)).astype(np.float32), labels)
    assert (learned.directions.shape, learned.class_means.shape) == ((512, 64), (10, 64))


def test_the_temperature_undoes_too_much_confidence():
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5))
    chances = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert temperature_of((3 * honest).astype(np.float32), labels) == pytest.approx(3, rel=0.03)


def test_output_scores_are_their_formulas_and_stay_finite_when_sure():
    logits = np.array([[2.0, 1, -1], [800, 0, -3], [0, 0, 0]], dtype=np.float32)
    learned = OutputParameters(*(np.float32(part) for part in (2.0, np.zeros(2), np.eye(2), np.zeros((3, 2)))))
    found = dict(zip(OUTPUT_SCORES, output_scores(np.ones((3, 2), np.float32), logits, learned).T, strict=True))
    chances = torch.softmax(torch.from_numpy(logits) / 2, 1).numpy().astype(np.float64)
    assert found["confidence"][0] == pytest.approx(np.log(chances[0, 0] / (1 - chances[0, 0])))
    assert found["margin"][0] == pytest.approx(0.5)
    assert found["entropy"][2] == pytest.approx(np.log(np.log(3) + 1e-4))
    assert found["energy"][0] == pytest.approx(-np.log(np.exp([2, 1, -1]).sum()))
    assert found["confidence"][1] == pytest.approx(400, rel=1e-3)
    assert all(np.isfinite(values).all() for values in found.values())


# phi


def test_every_column_of_phi_has_a_name_and_a_channel(learned):
    clean, _, _, parameters = learned
    scores = describe_scores(parameters)
    assert phi(clean, parameters).shape == (120, len(scores))
    assert len({score.name for score in scores}) == len(scores)
    assert {score.channel for score in scores} == set(CHANNELS) - {"labels"}
    assert missing(parameters) == {}


def test_phi_of_files_and_of_packed_rows_is_the_same(tmp_path: Path, forward, learned, data_of):
    source = tmp_path / "source"
    for number in range(12):
        suffix = ("png", "jpg")[number % 2]
        write_image(source / f"class_{number % 2}" / f"{number}.{suffix}", seed=number, size=(50 + number, 40))
    data = data_of(source, stored_side_px=36, img_size=SIDE)
    process(data)
    packed = PackedImages(data.processed_path)
    rows = [inference_crop(packed[index], SIDE) for index in range(len(packed))]
    files = [inference_crop(decode((source / path).read_bytes(), 36), SIDE) for path in packed.paths]
    of_rows, of_files = (phi(read_signals(np.stack(images), forward), learned[3]) for images in (rows, files))
    np.testing.assert_array_equal(of_rows, of_files)


def test_parameters_survive_being_saved(learned):
    clean, _, _, parameters = learned
    buffer = io.BytesIO()
    np.savez(buffer, **to_arrays(parameters))
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        again = from_arrays(arrays)
    np.testing.assert_array_equal(phi(clean, again), phi(clean, parameters))
    with pytest.raises(KeyError):
        from_arrays({})


def test_the_state_of_a_resnet18_with_10_classes_leaves_room_in_half_a_megabyte():
    rng = np.random.default_rng(0)
    signals = Signals(*(rng.normal(size=(300, width)).astype(np.float32) for width in (16, 256, 512, 10)))
    twins = [Twin("fog", level, np.arange(300), Signals(*(part + level for part in signals))) for level in range(1, 11)]
    parameters = fit_scores(signals, np.arange(300) % 10, twins, 224)
    reference = 2000 * len(describe_scores(parameters)) * 4
    assert sum(array.nbytes for array in to_arrays(parameters).values()) + reference < 2**19


def test_images_that_were_learned_from_are_scored_like_new_ones():
    """Distances to means and covariances an image took part in are too small; those of unseen_scores are not."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> Signals:
        spread = 10.0 ** -np.linspace(0, 3, 60)  # as uneven as features are
        parts = [rng.normal(size=(count, width)) for width in (16, 4, 60, 10)]
        return Signals(*(part.astype(np.float32) for part in (*parts[:2], parts[2] * spread, parts[3])))

    clean, labels = draw(300), np.arange(300) % 10
    parameters = fit_scores(clean, labels, [], 224)
    own, _ = unseen_scores(clean, labels, [], parameters.axes, image_folds(300), parameters.strangers)
    column = [score.name for score in describe_scores(parameters)].index("mahalanobis")
    new, naive = (phi(signals, parameters)[:, column].mean() for signals in (draw(2000), clean))
    assert abs(own[:, column].mean() - new) < 0.6 * abs(naive - new)


def test_an_image_and_its_twins_are_unseen_in_the_same_fold(learned):
    """Scores of twins must not change when labels of images outside their fold do, and do when those inside do not."""
    clean, labels, twins, parameters = learned
    folds = image_folds(120)
    _, before = unseen_scores(clean, labels, twins, parameters.axes, folds, parameters.strangers)
    inside = folds == 0
    other = np.where(inside, (labels + 1) % 4, labels)
    _, after = unseen_scores(clean, other, twins, parameters.axes, folds, parameters.strangers)
    for twin, one, two in zip(twins, before, after, strict=True):
        np.testing.assert_array_equal(one[inside[twin.rows]], two[inside[twin.rows]])
        assert (one[~inside[twin.rows]] != two[~inside[twin.rows]]).any()


def test_folds_are_equally_large():
    assert np.bincount(image_folds(52)).tolist() == [11, 11, 10, 10, 10]


def test_corruption_moves_the_directions_learned_from_it(forward, learned):
    parameters = learned[3]
    names = [score.name for score in describe_scores(parameters)]
    images = soft_images(60, seed=3)
    clean = phi(read_signals(images, forward), parameters)[:, names.index("direction_1")]
    for kind in ("gaussian_noise", "shot_noise"):
        noisy = phi(read_signals(corrupt(images, kind, 3, keys=range(60)), forward), parameters)
        assert abs(noisy[:, names.index("direction_1")].mean() - clean.mean()) > 2 * clean.std()


def test_a_model_without_early_maps_says_so():
    torch.manual_seed(0)
    images = soft_images(60, side=8)
    forward = through(create("mlp", 3, 8, {}), IMAGENET_MEAN, IMAGENET_STD)
    clean = read_signals(images, forward)
    parameters = fit_scores(clean, np.arange(60) % 3, [], 8)
    assert set(missing(parameters)) == {
        "fine_to_coarse", "blockiness", "anisotropy", "early feature maps", "directions",
    }  # fmt: skip
    assert phi(clean, parameters).shape == (60, len(describe_scores(parameters)))


def test_gray_worlds_have_a_scale_for_colour(forward):
    gray = soft_images(60)[..., :1].repeat(3, axis=3)
    parameters = fit_scores(read_signals(gray, forward), np.arange(60) % 4, [], SIDE)
    assert (np.linalg.eigvalsh(parameters.covariance) > 0).all()


def test_signals_that_do_not_fit_are_refused(learned):
    clean, labels, twins, parameters = learned
    with pytest.raises(ValueError, match="signals of 119 images"):
        fit_scores(clean, labels[:119], twins, SIDE)
    with pytest.raises(ValueError, match="with 13 pixel scores"):
        fit_scores(clean, labels, twins, 8)
    with pytest.raises(ValueError, match="at least 2 classes"):
        fit_scores(clean, np.zeros(120, int), twins, SIDE)
    with pytest.raises(ValueError, match="twins of fog 1 do not fit"):
        fit_scores(clean, labels, [Twin("fog", 1, np.arange(5), clean)], SIDE)
    with pytest.raises(ValueError, match="pixel scores, early maps and features"):
        phi(clean._replace(early=clean.early[:, :3]), parameters)


def scrambled(twin: Twin) -> Twin:
    return twin._replace(signals=Signals(*(part[::-1] * 2 + 1 for part in twin.signals)))


def arrays_of(learned: Learned) -> dict[str, np.ndarray]:
    parts = [(type(part).__name__, part._asdict()) for part in learned.accuracy]
    own = {f"{part}.{name}": value for part, values in parts for name, value in values.items()}
    return to_arrays(learned.parameters) | own


@pytest.mark.parametrize(("family", "kind"), [("noise", "gaussian_noise"), ("blur", "defocus_blur")])
@pytest.mark.slow
def test_nothing_learned_without_a_family_knows_of_its_twins(learned, family, kind):
    clean, labels, twins, _ = learned

    def without_family(some: list[Twin]) -> dict[str, np.ndarray]:
        material = Material(SIDE, clean, labels, [], some, clean, labels, [], clean, labels, [], [], [], [], [])
        return arrays_of(_learned(material, FAMILIES[family]))

    expected = without_family(twins)
    others = without_family([scrambled(twin) if twin.kind == kind else twin for twin in twins])
    assert expected.keys() == others.keys() and expected["looks.weights"].shape[1] == 4  # one for each twin that stays
    for name, array in expected.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)
    for place in [place for place, twin in enumerate(twins) if twin.kind != kind]:
        changed = without_family([*twins[:place], scrambled(twins[place]), *twins[place + 1 :]])
        for name in ("looks.weights", "Risk.weights", "Lookalikes.places"):
            assert not np.array_equal(expected[name], changed[name]), name
