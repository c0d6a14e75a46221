"""Batches are a function of (seed, epoch, position), whoever makes them and from wherever one starts."""

import shlex
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.modeling.loaders import load_batches
from drift_detector_pipeline.modeling.order import Request, epoch_order, evaluation_requests, training_requests
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.settings import ColourJitter, RandAugment, Twins
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION

EPOCHS, BATCH, SIDE = 3, 4, 12
STEPS = 4  # an epoch, of 18 images: two are left out


@pytest.fixture(scope="module")
def data(image_folder, tmp_path_factory):
    """A processed folder with 18 images to train on, and settings with every augmentation switched on."""
    overrides = [
        "data=folder", f"data.raw_path={image_folder}",
        f"data.processed_path={tmp_path_factory.mktemp('data')}/animals",
        "data.stored_side_px=16", f"data.img_size={SIDE}", "data.val_fraction=0.3", "data.fit_fraction=0.2",
        "data.augmentation={min_area: 0.5, shift_px: 2, flip: true}",
    ]  # fmt: skip
    settings = load(overrides).settings.data
    process(settings)
    return settings


@pytest.fixture(scope="module")
def images(data):
    return open_processed(data).images


def requests(images, first_step=0, seed=1, **options):
    sizes_px = [SIDE] * EPOCHS
    given = {"seed": seed, "first_step": first_step, "batch_size": BATCH, "sizes_px": sizes_px} | options
    return training_requests(images.indices("train"), **given)


def batches(data, images, found, workers=0, seed=1):
    return list(load_batches(images, found, CLASSIFICATION, data=data, seed=seed, workers=workers))


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images)
        assert one.targets == other.targets


def visited(found):
    return [index for request in found for index in request.indices.tolist()]


def test_the_images_are_as_many_as_these_tests_count_on(images):
    assert len(images.indices("train")) == 18
    assert len(list(requests(images))) == EPOCHS * STEPS


def test_a_batch_holds_uint8_images_in_channels_last_memory_and_their_labels(data, images):
    for request, batch in zip(requests(images), batches(data, images, requests(images)), strict=True):
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (BATCH, 3, SIDE, SIDE)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.targets == images.labels[request.indices].tolist()


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_makes_the_same_batches(workers, data, images):
    assert_same(batches(data, images, requests(images), workers), batches(data, images, requests(images)))


@pytest.mark.parametrize("sizes_px", [[8, SIDE, 20], [20, 8, SIDE]])
def test_batches_of_any_size_pass_from_worker_to_training(sizes_px, data, images):
    """Shared memory is laid out for the first batch or data.img_size; what is larger goes another way."""
    found = [batches(data, images, requests(images, sizes_px=sizes_px), workers) for workers in (2, 0)]
    assert [batch.images.shape[-1] for batch in found[0]] == [side for side in sizes_px for _ in range(STEPS)]
    assert_same(*found)


@pytest.mark.slow
def test_too_little_shared_memory_is_an_error_that_says_what_to_do(data, tmp_path):
    """In a mount namespace of its own, where /dev/shm holds a quarter of a megabyte."""
    small = "mount -t tmpfs -o size=256k tmpfs /dev/shm"
    probe = f"unshare --map-root-user --mount sh -c '{small}'"
    if subprocess.run(probe, shell=True, capture_output=True).returncode:  # not there, or not allowed
        pytest.skip("no mount namespaces here")
    command = [sys.executable, "-m", "drift_detector_pipeline.modeling.train", "data=folder"]
    command += [f"data.raw_path={data.raw_path}", f"data.processed_path={data.processed_path}", f"data.img_size={SIDE}"]
    command += ["data.stored_side_px=16", "data.val_fraction=0.3", "data.fit_fraction=0.2", "training.batch_size=4"]
    command += ["data.dataloader_workers=64", f"hydra.run.dir={tmp_path}", "wandb.mode=disabled", "training.epochs=1"]
    script = f"{small} && exec {shlex.join(command)}"
    done = subprocess.run(["unshare", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "shared memory for batches" in done.stderr and "data.dataloader_workers=0" in done.stderr


@pytest.mark.parametrize("first_step", range(EPOCHS * STEPS + 1))
def test_starting_at_any_step_continues_the_same_sequence(first_step, data, images):
    whole = batches(data, images, requests(images))
    assert_same(batches(data, images, requests(images, first_step)), whole[first_step:])


def test_the_parts_of_the_processes_make_up_the_batch_of_a_single_one(data, images):
    alone = batches(data, images, requests(images))
    parts = [batches(data, images, requests(images, batch_size=2, rank=rank, processes=2)) for rank in (0, 1)]
    for one, *shares in zip(alone, *parts, strict=True):
        assert torch.equal(one.images, torch.cat([share.images for share in shares]))
        assert one.targets == [target for share in shares for target in share.targets]


@pytest.mark.parametrize(("batch_size", "processes"), [(1, 1), (4, 1), (5, 1), (18, 1), (2, 3), (3, 2)])
def test_an_epoch_visits_each_image_at_most_once_and_leaves_out_less_than_a_step(batch_size, processes, images):
    train = images.indices("train")
    seen = []
    for rank in range(processes):
        found = requests(images, batch_size=batch_size, sizes_px=[SIDE], rank=rank, processes=processes)
        seen += visited(found)
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(train.tolist())
    assert len(train) - len(seen) < batch_size * processes


def test_epochs_and_seeds_have_orders_and_left_out_images_of_their_own(images):
    train = images.indices("train")
    orders = [tuple(epoch_order(train, seed, epoch)) for seed in (1, 2) for epoch in (0, 1, 2)]
    assert len(set(orders)) == len(orders)
    assert all(sorted(order) == train.tolist() for order in orders)
    asked = list(requests(images))
    epochs = [tuple(visited(each for each in asked if each.epoch == epoch)) for epoch in range(EPOCHS)]
    assert epochs == [order[: STEPS * BATCH] for order in orders[:EPOCHS]]
    left_out = [set(train.tolist()) - set(visited(requests(images, seed=seed, sizes_px=[SIDE]))) for seed in range(5)]
    assert any(first != second for first, second in pairwise(left_out))


def test_an_image_looks_different_in_each_epoch_and_seed_and_the_same_again(data, images):
    def views(seed):
        found = {}
        asked = list(requests(images))
        for request, batch in zip(asked, batches(data, images, iter(asked), seed=seed), strict=True):
            for index, view in zip(request.indices.tolist(), batch.images, strict=True):
                found[request.epoch, index] = view.numpy().tobytes()
        return found

    first, again, other = views(1), views(1), views(2)
    assert first == again
    assert sum(first[key] == other[key] for key in first) <= 1
    assert len(set(first.values())) >= len(first) - 1


def test_an_alternating_flip_shows_each_image_from_the_other_side_in_every_epoch(data, images):
    still = data.augmentation.model_copy(update={"min_area": 1.0, "shift_px": 0, "flip": False})
    turns = still.model_copy(update={"flip": "alternating"})
    asked = list(requests(images))
    plain, turned = (
        batches(data.model_copy(update={"augmentation": how}), images, iter(asked)) for how in (still, turns)
    )
    begins = {}
    for request, before, after in zip(asked, plain, turned, strict=True):
        for index, one, other in zip(request.indices.tolist(), before.images, after.images, strict=True):
            mirrored = not torch.equal(one, other)
            assert not mirrored or torch.equal(one.flip(-1), other)
            begins.setdefault(index, set()).add(mirrored ^ (request.epoch % 2 == 1))
    assert all(len(found) == 1 for found in begins.values())
    assert {True} in begins.values() and {False} in begins.values()


def test_a_view_does_not_depend_on_the_batch_it_is_in(data, images):
    def views(batch_size):
        asked = list(requests(images, batch_size=batch_size, sizes_px=[SIDE]))
        made = batches(data, images, iter(asked))
        flat = [view for batch in made for view in batch.images]
        return dict(zip(visited(asked), flat, strict=True))

    ones, threes = views(1), views(3)
    assert all(torch.equal(view, ones[index]) for index, view in threes.items())


def test_each_epoch_has_its_size(data, images):
    found = batches(data, images, requests(images, sizes_px=[8, 12, 16]))
    assert [batch.images.shape[-1] for batch in found] == [8] * STEPS + [12] * STEPS + [16] * STEPS


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_random_numbers_of_the_model_alone(workers, data, images):
    torch.manual_seed(5)
    np.random.seed(5)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].tolist()
    batches(data, images, requests(images), workers)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == before_numpy


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_evaluation_covers_every_image_exactly_once(processes, batch_size, images):
    val = images.indices("val")
    shares = [
        visited(evaluation_requests(val, batch_size=batch_size, side_px=SIDE, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    assert sorted(index for share in shares for index in share) == val.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_shows_the_inference_crop_in_stored_order(workers, data, images):
    val = images.indices("val")
    found = batches(data, images, evaluation_requests(val, batch_size=4, side_px=SIDE), workers)
    assert [target for batch in found for target in batch.targets] == images.labels[val].tolist()
    expected = np.stack([inference_crop(images[int(index)], SIDE) for index in val])
    assert np.array_equal(torch.cat([batch.images for batch in found]).permute(0, 2, 3, 1).numpy(), expected)


COLOURS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
OPTIONS = {
    "alternating": {"flip": "alternating"},
    "colour_jitter": {"colour_jitter": ColourJitter(**COLOURS)},
    "rand_augment": {"rand_augment": RandAugment(operations=2, magnitude=9)},
    "mixup": {"mix": "mixup"},
    "cutmix": {"mix": "cutmix"},
}


def rare(images):
    """Indices to train on of which two are of the first class, and their labels."""
    train = images.indices("train")
    kept = np.concatenate([train[images.labels[train] == 0][:2], train[images.labels[train] != 0]])
    return kept, images.labels[kept]


@pytest.fixture(params=[*OPTIONS, "balance"])
def option(request, data, images):
    """What makes the batches of one option: settings, and requests from a step on."""
    changed = {"augmentation": data.augmentation.model_copy(update=OPTIONS.get(request.param, {}))}
    indices, labels = rare(images)
    balance_by = labels if request.param == "balance" else None

    def ask(first_step=0, batch_size=BATCH, **options):
        return training_requests(
            indices, seed=1, first_step=first_step, batch_size=batch_size, sizes_px=[SIDE] * 2, balance_by=balance_by,
            **options,
        )  # fmt: skip

    return data.model_copy(update=changed), ask


def test_an_option_changes_batches_and_any_number_of_workers_makes_the_same(option, data, images):
    changed, ask = option
    alone = batches(changed, images, ask())
    for workers in (1, 3):
        assert_same(batches(changed, images, ask(), workers), alone)
    plain = batches(data, images, training_requests(rare(images)[0], seed=1, first_step=0, batch_size=BATCH,
                                                    sizes_px=[SIDE] * 2))  # fmt: skip
    assert len(plain) == len(alone)
    assert all(not torch.equal(one.images, other.images) for one, other in zip(plain, alone, strict=True))


def test_with_an_option_any_step_continues_the_sequence_and_processes_share_it(option, images):
    changed, ask = option
    whole = batches(changed, images, ask())
    for first_step in (1, 3, 5):
        assert_same(batches(changed, images, ask(first_step)), whole[first_step:])
    parts = [batches(changed, images, ask(batch_size=2, rank=rank, processes=2)) for rank in (0, 1)]
    for one, *shares in zip(whole, *parts, strict=True):
        assert torch.equal(one.images, torch.cat([share.images for share in shares]))
        assert one.targets == [target for share in shares for target in share.targets]


def test_only_what_is_trained_on_is_mixed(data, images):
    mixing = data.model_copy(update={"augmentation": data.augmentation.model_copy(update={"mix": "mixup"})})
    val = batches(mixing, images, evaluation_requests(images.indices("val"), batch_size=4, side_px=SIDE))
    assert all(isinstance(target, int) for batch in val for target in batch.targets)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixed_images_are_their_own_and_their_partners_views_by_share(mix, data, images):
    mixing = data.model_copy(update={"augmentation": data.augmentation.model_copy(update={"mix": mix})})
    asked = list(requests(images))
    views = {}
    for request, batch in zip(asked, batches(data, images, iter(asked)), strict=True):
        views |= {(request.epoch, int(index)): view.double()
                  for index, view in zip(request.indices, batch.images, strict=True)}  # fmt: skip
    seen = 0
    for request, batch in zip(asked, batches(mixing, images, iter(asked)), strict=True):
        assert [target.own for target in batch.targets] == images.labels[request.indices].tolist()
        assert [target.other for target in batch.targets] == images.labels[request.partners[:, 0]].tolist()
        for place, (index, partner) in enumerate(zip(request.indices, request.partners[:, 0], strict=True)):
            own, other = views[request.epoch, int(index)], views.get((request.epoch, int(partner)))
            if other is None:  # the epoch leaves its last images out, but not as partners
                continue
            seen += 1
            share, mixed = batch.targets[place].share, batch.images[place].double()
            if mix == "mixup":
                assert (mixed - (share * own + (1 - share) * other)).abs().max() <= 0.51
            else:
                assert ((mixed == own) | (mixed == other)).all()
    assert seen > 30


def test_partners_are_other_images_of_the_epoch_each_once(images):
    for epoch in range(EPOCHS):
        found = [request for request in requests(images, batch_size=1) if request.epoch == epoch]
        partners = [int(request.partners[0, 0]) for request in found]
        assert sorted(partners) == images.indices("train").tolist()
        assert sum(partner == int(request.indices[0]) for partner, request in zip(partners, found, strict=True)) < 6


def test_balanced_epochs_show_rare_images_again_each_time_in_another_view(data, images):
    indices, labels = rare(images)
    asked = list(training_requests(indices, seed=1, first_step=0, batch_size=7, sizes_px=[SIDE] * 20,
                                   balance_by=labels))  # fmt: skip
    drawn = np.concatenate([images.labels[request.indices] for request in asked])
    assert np.bincount(drawn) / len(drawn) == pytest.approx(1 / 3, abs=0.02)
    views = {}
    for request, batch in zip(asked[:2], batches(data, images, iter(asked[:2])), strict=True):
        for index, view in zip(request.indices.tolist(), batch.images, strict=True):
            views.setdefault(index, []).append(view.numpy().tobytes())
    again = [seen for seen in views.values() if len(seen) > 1]
    assert again and all(len(set(seen)) == len(seen) for seen in again)


def with_twins(data, **values):
    twins = Twins(**({"kind": "fog", "levels": [2, 3], "share": 0.5} | values))
    return data.model_copy(update={"augmentation": data.augmentation.model_copy(update={"twins": twins})})


def test_some_training_images_are_changed_and_the_others_keep_their_bits(data, images):
    usual = torch.cat([batch.images for batch in batches(data, images, requests(images))])
    mixed = torch.cat([batch.images for batch in batches(with_twins(data), images, requests(images))])
    kept = [torch.equal(one, other) for one, other in zip(usual, mixed, strict=True)]
    assert 0.25 < np.mean(kept) < 0.75  # of 48; by chance outside once in 2,000 seeds
    whole = torch.cat([batch.images for batch in batches(with_twins(data, share=1.0), images, requests(images))])
    assert not any(torch.equal(one, other) for one, other in zip(usual, whole, strict=True))


def test_twins_are_the_same_whoever_makes_them_and_from_wherever_one_starts(data, images):
    foggy = with_twins(data)
    whole = batches(foggy, images, requests(images))
    assert_same(batches(foggy, images, requests(images), workers=2), whole)
    assert_same(batches(foggy, images, requests(images, first_step=5)), whole[5:])
    other = batches(foggy, images, requests(images, seed=2), seed=2)
    assert not torch.equal(other[0].images, whole[0].images)


def test_twins_of_an_image_differ_from_epoch_to_epoch(data, images):
    foggy, place = with_twins(data, share=1.0, levels=[3]), images.indices("train")[:1].repeat(BATCH)
    still = foggy.model_copy(
        update={"augmentation": foggy.augmentation.model_copy(update={"min_area": 1.0, "shift_px": 0, "flip": False})}
    )
    asked = [Request(place, SIDE, epoch, np.zeros_like(place), place[:, None]) for epoch in (0, 1)]
    first, second = batches(still, images, iter(asked))
    assert not torch.equal(first.images[0], second.images[0]) and torch.equal(first.images[0], first.images[1])


def test_the_inference_crop_has_no_twin(data, images):
    asked = list(evaluation_requests(images.indices("val"), batch_size=BATCH, side_px=SIDE))
    assert_same(batches(with_twins(data), images, iter(asked)), batches(data, images, iter(asked)))
