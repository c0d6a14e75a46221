"""Which frames of a clip are shown, and that all of them are changed alike."""

import numpy as np
import pytest
import torch

from drift_detector_pipeline.arrays import ClipTruth
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.settings import Augmentation, ColourJitter, RandAugment
from drift_detector_pipeline.tasks.clips.frames import drawn, middles, said_together
from drift_detector_pipeline.tasks.clips.task import CLIPS, decide
from drift_detector_pipeline.tasks.clips.view import ClipTarget, view
from drift_detector_pipeline.tasks.task import View

SIDE, K = 16, 5
EVERYTHING = Augmentation(
    min_area=0.3, shift_px=2, flip=True, cutout_px=4, colour_jitter=ColourJitter(brightness=0.4, hue=0.3),
    rand_augment=RandAugment(operations=2),
)  # fmt: skip


def clip(frames, seed=0):
    """Frames that are all different."""
    return np.random.default_rng(seed).integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8)


def test_middles_are_those_of_equal_parts():
    assert middles(10, 5).tolist() == [1, 3, 5, 7, 9]
    assert middles(71, 8).tolist() == [4, 13, 22, 31, 39, 48, 57, 66]
    assert middles(3, 8).tolist() == [0, 1, 2]  # all once


def test_drawn_places_lie_one_in_each_part_and_reach_all_of_it():
    rng, n, k = np.random.default_rng(0), 23, 4
    many = np.array([drawn(n, k, rng) for _ in range(4000)])
    for part in range(k):
        inside = set(range(int(part * n / k), int(np.ceil((part + 1) * n / k))))
        assert set(many[:, part].tolist()) == inside
        counts = np.bincount(many[:, part])[min(inside) + 1 : max(inside)]  # but for the ends, which parts share
        assert abs(counts / len(many) * n / k - 1).max() < 0.2
    assert drawn(3, 8, rng).tolist() == [0, 1, 2]


def test_without_augmentation_the_middles_are_cut_as_images_are():
    stored = clip(11)
    shown, target = view(stored, ClipTruth(1, "s"), View(SIDE, None, K), None)
    assert shown.shape == (K, SIDE, SIDE, 3) and shown.dtype == torch.uint8
    assert target == ClipTarget(1, K, "s")
    wanted = np.stack([inference_crop(stored[at], SIDE) for at in middles(11, K)])
    assert np.array_equal(shown.numpy(), wanted)


def test_all_frames_of_a_clip_are_changed_alike():
    """A clip that stands still stays a clip that stands still, whatever is drawn; two draws differ."""
    still = np.repeat(clip(1), 9, axis=0)
    views = [view(still, None, View(SIDE, EVERYTHING, K), np.random.default_rng(seed))[0] for seed in range(12)]
    for shown in views:
        assert (shown == shown[:1]).all()
    assert len({shown.numpy().tobytes() for shown in views}) == 12


def test_frames_are_a_function_of_the_generator_alone():
    first, again, other = (
        view(clip(30), None, View(SIDE, EVERYTHING, K), np.random.default_rng(seed))[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("random", [False, True])
def test_a_short_clip_is_filled_up_and_the_target_says_so(random):
    how = View(SIDE, Augmentation(min_area=1, shift_px=0, flip=False) if random else None, K)
    shown, target = view(clip(3), None, how, np.random.default_rng(0))
    assert target == ClipTarget(None, 3, None) and shown.shape == (K, SIDE, SIDE, 3)
    assert (shown[2:] == shown[2]).all() and not torch.equal(shown[1], shown[2])
    assert CLIPS.draw(shown.numpy(), {}, target, ["a", "b"]).shape == (SIDE, 3 * SIDE + 2 * 2, 3)


def test_what_is_said_together_leaves_padding_out():
    logits = np.array([[1, 2], [3, 5], [1e9, -1e9]], np.float32)
    assert said_together(logits, 2).tolist() == [2.0, 3.5]
    assert said_together(logits[:2]).tolist() == [2.0, 3.5]


def test_how_much_features_vary_is_added_by_its_weights_padding_left_out():
    logits, features = np.zeros((3, 2), np.float32), np.array([[0, 1], [2, 1], [9, 9]], np.float32)
    said = said_together(logits, 2, features=features, deviation=np.array([[1, 0], [-2, 3]], np.float32))
    np.testing.assert_allclose(said, [1, -2 + 3e-3], rtol=1e-6)


def test_a_threshold_moves_the_class_that_is_looked_for():
    """fight is looked for, as no_fight denies something."""
    top3 = [{"label": "no_fight", "probability": 0.7}, {"label": "fight", "probability": 0.3}]
    said = {**top3[0], "top3": top3}
    assert decide(said, ["fight", "no_fight"], 0.31)["label"] == "no_fight"
    moved = decide(said, ["fight", "no_fight"], 0.3)
    assert (moved["label"], moved["probability"], moved["top3"]) == ("fight", 0.3, top3)


def test_what_clips_cannot_do_is_refused(data_of, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.augmentation\.mix=mixup: clips cannot be mixed"):
        CLIPS.check_data(data_of(tmp_path, "clips", **{"augmentation.mix": "mixup"}))
