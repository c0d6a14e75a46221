"""Optimizers by name, and the laws of the learning rate."""

import itertools
from functools import cache

import pytest
import torch
from timm.optim import list_optimizers
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from drift_detector_pipeline.config import load
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.modeling.optimization import build_optimizer, learning_rate_factor, set_learning_rate
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.runs.checkpoints import restore_tensors, training_tensors
from drift_detector_pipeline.runs.machine import has_bf16_units

SCHEDULERS = ["CosineAnnealingLR", "StepLR", "OneCycleLR", "linear", "none"]
EVERY_CASE = [
    pytest.param(scheduler, warmup, steps, id=f"{scheduler}-{warmup}-{steps}")
    for scheduler, warmup, steps in itertools.product(SCHEDULERS, [0.0, 0.05, 0.3], [60, 997])
]


@cache
def shipped():
    return load(["data=digits"]).settings.training


def settings(**changes):
    return shipped().model_copy(update=changes)


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


def losses(module, optimizer, steps=30):
    images, labels = torch.rand(32, 3, 8, 8), torch.arange(32) % 4
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        yield loss.item()


def steps_from(module, optimizer, first, last):
    for step in range(first, last):
        torch.manual_seed(step)
        set_learning_rate(optimizer, 1 - 0.01 * step)
        optimizer.zero_grad()
        functional.cross_entropy(module(torch.randn(16, 3, 8, 8)), torch.arange(16) % 4).backward()
        optimizer.step()


def assert_continues(name):
    """Eight steps give the same bits as four, a checkpoint, and four more in a new model with a new optimizer."""
    how = settings(optimizer=name)
    whole, first, second = small_net(), small_net(), small_net()
    steps_from(whole, build_optimizer(how, whole), 0, 8)
    steps_from(first, optimizer := build_optimizer(how, first), 0, 4)
    tensors = {key: tensor.clone() for key, tensor in training_tensors(first, None, optimizer).items()}
    restore_tensors(tensors, second, None, optimizer := build_optimizer(how, second))
    steps_from(second, optimizer, 4, 8)
    assert tensors_hash(second.state_dict()) == tensors_hash(whole.state_dict()), name


def factors(scheduler, warmup, steps):
    how = settings(scheduler=scheduler, warmup_fraction=warmup)
    return [learning_rate_factor(how, step, steps) for step in range(steps)]


@pytest.mark.parametrize(
    ("name", "learning_rate"),
    [("AdamW", 0.01), ("SGD", 0.05), ("lion", 0.003), ("muon", 0.02), ("nmuon", 0.02), ("lamb", 0.02),
     ("filtermuon", 0.2)],
)  # fmt: skip
def test_an_optimizer_makes_the_loss_go_down(name, learning_rate):
    module = small_net()
    seen = list(losses(module, build_optimizer(settings(optimizer=name, learning_rate=learning_rate), module)))
    assert seen[-1] < seen[0] - 0.1


@pytest.mark.parametrize("name", ["AdamW", "SGD", "lion", "muon", "nadamw", "adafactor", "lamb", "adan", "laprop",
                                  "filtermuon"])  # fmt: skip
def test_an_optimizer_continues_from_a_checkpoint_to_the_same_bits(name):
    assert_continues(name)


@pytest.mark.slow
def test_every_optimizer_that_this_machine_can_run_continues_from_a_checkpoint_to_the_same_bits():
    names = [name for name in list_optimizers() if not name.startswith(("bnb", "fused", "adahessian", "kron"))]
    assert len(names) > 50
    for name in names:
        assert_continues(name)


def test_sgd_has_nesterov_momentum():
    [group, *_] = build_optimizer(settings(optimizer="SGD"), small_net()).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.9, True)


def test_muon_multiplies_in_bf16_only_where_there_are_units_for_it():
    """Without them a step of ResNet-18 takes fifty times as long."""
    module, seen = small_net(), set()

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket is torch.ops.aten.addmm:
                seen.add(args[0].dtype)
            return function(*args, **(kwargs or {}))

    optimizer = build_optimizer(settings(optimizer="muon", learning_rate=0.02), module)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    with Watching():
        optimizer.step()
    assert seen == {torch.bfloat16 if has_bf16_units(torch.device("cpu")) else torch.float32}


def test_filter_banks_turn_at_a_fixed_norm_and_their_steps_have_equal_singular_values():
    module = small_net()
    bank = module[0].weight
    bank.grad = (
        torch.randn_like(bank) * torch.logspace(0, 3, 8)[:, None, None, None]
    )  # one filter far ahead of the others
    before = bank.detach() * (8**0.5 / bank.norm()).item()
    build_optimizer(settings(optimizer="filtermuon", learning_rate=0.1, weight_decay=0.1), module).step()
    values = torch.linalg.svdvals((bank.detach() - before).flatten(1) / 0.1)
    assert values.max() < 1.4 and values.max() / values[:4].min() < 3  # before: as 1,000 to 1


def test_what_is_no_filter_bank_follows_sgd_with_nesterov_momentum_at_its_own_rate():
    ours, theirs = small_net(), small_net()
    ours.get_classifier = lambda: ours[5]
    options = {"rest_momentum": 0.8, "bias_lr_scale": 2.0, "head_lr_scale": 0.5}
    optimizer = build_optimizer(
        settings(optimizer="filtermuon", learning_rate=0.1, weight_decay=0.01, optimizer_options=options), ours
    )
    rest = [theirs[0].bias, theirs[1].weight, theirs[1].bias]
    reference = torch.optim.SGD(
        [{"params": rest, "lr": 0.2, "weight_decay": 0.05}, {"params": theirs[5].parameters(), "lr": 0.05}],
        momentum=0.8, nesterov=True, weight_decay=0.2, lr=1.0,
    )  # fmt: skip
    for step in range(4):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.manual_seed(step)
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone() if other is not theirs[0].weight else None
        optimizer.step()
        reference.step()
    for name, weight in theirs.named_parameters():
        if name != "0.weight":
            torch.testing.assert_close(dict(ours.named_parameters())[name], weight)


def test_a_linear_rate_falls_by_the_same_amount_each_step_and_would_reach_0_at_the_end():
    found = factors("linear", 0.0, 50)
    assert found == pytest.approx([1 - step / 50 for step in range(50)])


def test_an_option_reaches_the_optimizer():
    optimizer = build_optimizer(settings(optimizer="SGD", optimizer_options={"momentum": 0.5}), small_net())
    assert {group["momentum"] for group in optimizer.param_groups} == {0.5}


def test_an_unknown_optimizer_is_answered_with_the_nearest():
    with pytest.raises(ModelError, match=r"training\.optimizer=adamv: no such optimizer; the nearest are adam"):
        build_optimizer(settings(optimizer="adamv"), small_net())


@pytest.mark.parametrize("name", ["AdamW", "SGD", "lion"])
def test_an_unknown_option_is_named(name):
    with pytest.raises(ModelError, match=rf"training\.optimizer={name} does not take .*colour"):
        build_optimizer(settings(optimizer=name, optimizer_options={"colour": 1}), small_net())


@pytest.mark.parametrize("name", ["adahessian", "kron"])
def test_an_optimizer_that_this_loop_cannot_drive_or_save_is_refused(name):
    with pytest.raises(ModelError, match="no such optimizer"):
        build_optimizer(settings(optimizer=name), small_net())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["fusedadam", "bnbadamw8bit"])
def test_an_optimizer_for_gpus_only_is_refused_without_one(name):
    with pytest.raises(ModelError, match=rf"training\.optimizer={name}: .*CUDA"):
        build_optimizer(settings(optimizer=name), small_net())


@pytest.mark.parametrize("name", ["AdamW", "SGD", "muon"])
def test_weights_decay_and_biases_and_norms_do_not(name):
    module = small_net()
    decay = {}
    for group in build_optimizer(settings(optimizer=name, weight_decay=0.3), module).param_groups:
        decay |= {id(parameter): group["weight_decay"] for parameter in group["params"]}
    found = {name: decay[id(parameter)] for name, parameter in module.named_parameters()}
    assert found == {"0.weight": 0.3, "0.bias": 0, "1.weight": 0, "1.bias": 0, "5.weight": 0.3, "5.bias": 0}


def test_frozen_weights_are_not_the_optimizers_business():
    module = small_net()
    module[0].requires_grad_(False)
    optimizer = build_optimizer(settings(), module)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_a_factor_sets_the_rate_from_the_first_one_each_time():
    optimizer = build_optimizer(settings(learning_rate=0.5), small_net())
    for factor in (0.1, 1.0, 0.2):
        set_learning_rate(optimizer, factor)
        assert {group["lr"] for group in optimizer.param_groups} == {0.5 * factor}


@pytest.mark.parametrize(("scheduler", "warmup", "steps"), EVERY_CASE)
def test_the_rate_is_above_0_and_at_most_the_one_asked_for_which_it_reaches(scheduler, warmup, steps):
    found = factors(scheduler, warmup, steps)
    assert all(0 < factor <= 1 for factor in found)
    flat = 1 if scheduler == "linear" else 2  # how a curve leaves its top, which may lie between two steps
    assert max(found) == pytest.approx(1, abs=5 / steps**flat)


@pytest.mark.parametrize(("scheduler", "warmup", "steps"), EVERY_CASE)
def test_the_rate_rises_until_the_warm_up_ends_and_never_after(scheduler, warmup, steps):
    found = factors(scheduler, warmup, steps)
    changes = [after - before for before, after in itertools.pairwise(found)]
    rising = sum(step < warmup * steps for step in range(steps))
    assert all(change > 0 for change in changes[: max(0, rising - 1)])
    assert all(change <= 0 for change in changes[rising:])


@pytest.mark.parametrize("steps", [10, 60, 997])
def test_one_cycle_starts_low_and_the_others_warm_up_linearly(steps):
    assert 1 / 25 < factors("OneCycleLR", 0.3, steps)[0] < 1 / 25 + 1 / steps * 3
    rise = factors("none", 0.5, steps)[: steps // 2]
    assert rise == pytest.approx([(step + 1) / (steps / 2 + 1) for step in range(len(rise))])


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("scheduler", ["CosineAnnealingLR", "OneCycleLR"])
def test_a_cosine_ends_near_0_and_is_half_way_in_the_middle(scheduler, warmup):
    found = factors(scheduler, warmup, 1000)
    assert found[-1] < 1e-4
    assert found[round(1000 * (1 + warmup) / 2)] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_steps_are_a_tenth_each_third(warmup):
    falling = factors("StepLR", warmup, 1000)[round(warmup * 1000) :]
    assert [round(factor, 12) for factor, _ in itertools.groupby(falling)] == [1, 0.1, 0.01]
    lengths = [len(list(level)) for _, level in itertools.groupby(falling)]
    assert max(lengths) - min(lengths) <= 1


def test_none_is_constant_after_the_warm_up():
    assert set(factors("none", 0.0, 100)) == {1.0}
    assert set(factors("none", 0.1, 100)[10:]) == {1.0}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_training_of_few_steps_learns_in_every_one(scheduler, warmup, steps):
    assert all(0 < factor <= 1 for factor in factors(scheduler, warmup, steps))
