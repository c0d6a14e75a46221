"""The same days without the loop: retraining by the calendar, by an online MMD test, and by somebody who knows it all.

In: the days as they came, the first champion's run. Out: for each the share that was right by day, and what it took.
Read by the command. All begin with the same network, and nobody's labels are late or wrong: who retrains has every
image of a known class labelled at once, where the loop asks for a few, waits a week and has to pass gates.
"""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels, Pixels
from drift_detector_pipeline.corruptions.faults import REVERSIBLE
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.lifecycle.mending.frozen import freeze, predictions
from drift_detector_pipeline.lifecycle.mending.undoing import undoing
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof.year.learned import trained_for, trained_on
from drift_detector_pipeline.proof.year.online_mmd import OnlineMmd
from drift_detector_pipeline.proof.year.world import MIX, NOBODY, ORDER, STRANGERS, Day, Spell
from drift_detector_pipeline.release.source import Source

RUN_LENGTH = 5_000  # images to a false alarm that the online test is asked for: about one a year
WAIT, WATCHED_AGAIN = 128, 128  # images labelled after its alarm, and more of them before it watches again
RETAINED = 500  # train images that are learned from along with new ones, so that nothing is forgotten
_HEALED_WITH, _PRIOR = 128, 16
_MOST = 5_000  # train images
_BATCH = 64


class Known(NamedTuple):
    """What everybody begins with."""

    network: Network
    crops: Pixels  # train images
    labels: Labels
    reference: Pixels  # images of the training world that nothing was learned from
    flip: bool


class Stream(NamedTuple):
    """All images in the order in which they came."""

    crops: Pixels
    labels: Labels
    days: Labels  # of each image


def known_of(source: Source, flip: bool) -> Known:
    """The first champion's network and images."""
    processed, side = source.processed, source.trained.img_size
    train = np.random.default_rng(0).permutation(processed.images.indices("train"))[:_MOST]
    return Known(
        source.trained.network, crops_of(processed, train, side), processed.images.labels[train],
        crops_of(processed, roles_of(processed).ref, side), flip,
    )  # fmt: skip


def stream_of(days: Sequence[Day], side_px: int) -> Stream:
    """Days one after another."""
    crops = np.stack([inference_crop(image, side_px) for day in days for image in day.images])
    numbers = np.repeat([day.number for day in days], [len(day.labels) for day in days])
    return Stream(crops, np.concatenate([day.labels for day in days]), numbers)


def by_calendar(known: Known, stream: Stream, period: int) -> dict[str, Any]:
    """Retrain every `period` days on the images of these days."""
    network, right, labels, trained = known.network, list[Labels](), 0, 0
    last = int(stream.days[-1])
    for start in range(0, last + 1, period):
        own = np.flatnonzero((stream.days >= start) & (stream.days < start + period))
        right.append((predictions(network, stream.crops[own]) == stream.labels[own]).astype(np.int64))
        if start + period <= last:
            network, new = _learned(network, known, stream, own, 1)
            labels, trained = labels + new, trained + 1
    return {"by_day": _by_day(np.concatenate(right), stream), "labels": labels, "trained": trained}


def by_online_mmd(known: Known, stream: Stream) -> dict[str, Any]:
    """Retrain on WAIT images after each alarm of the online MMD test on features; these are its reference then."""
    network, at, n = known.network, 0, len(stream.labels)
    test = OnlineMmd(_features(network, known.reference), RUN_LENGTH)
    right, alarms, labels = np.zeros(n, np.int64), list[int](), 0
    while at < n:
        found = test.first(_features(network, stream.crops[at:]))
        ends = n if found is None else min(n, at + found + WAIT)
        right[at:ends] = predictions(network, stream.crops[at:ends]) == stream.labels[at:ends]
        if found is None or ends == n:
            alarms += [] if found is None else [at + found]
            break
        alarms.append(at + found)
        network, new = _learned(network, known, stream, np.arange(ends - WAIT, ends), 4)
        labels, again = labels + new, min(n, ends + WATCHED_AGAIN)
        right[ends:again] = predictions(network, stream.crops[ends:again]) == stream.labels[ends:again]
        test, at = OnlineMmd(_features(network, stream.crops[ends - WAIT : again]), RUN_LENGTH), again
    days = [int(stream.days[place - 1]) for place in alarms]
    return {"by_day": _by_day(right, stream), "labels": labels, "trained": len(alarms), "alarm_days": days}


def by_knowledge(
    known: Known, stream: Stream, spells: Sequence[Spell], versions: Sequence[Sequence[float]], cache: Path
) -> dict[str, Any]:
    """The best of all that is known here, at once: the loop's versions, healed and retrained for each change."""
    best, told = np.max([_parts(one, stream, spells) for one in versions], axis=0), list[dict[str, Any]]()
    for spell in spells:
        if spell.cause in (MIX, ORDER, STRANGERS):
            continue
        own = np.flatnonzero((stream.days >= spell.first) & (stream.days <= spell.last))
        crops, labels = stream.crops[own], stream.labels[own]
        row: dict[str, Any] = {"cause": spell.cause, "n": len(own)}
        for name, network in _made(known, crops, spell, cache):
            right = (predictions(network, crops) == labels).astype(np.float64)
            row[name] = float(right.mean())
            days = np.full(int(stream.days[-1]) + 1, -1.0)
            for day in range(spell.first, spell.last + 1):
                days[day] = right[stream.days[own] == day].mean()
            best = np.maximum(best, _parts(days, stream, spells))
        told.append(row)
    return {"by_day": best.tolist(), "spells": told}


def _made(known: Known, crops: Pixels, spell: Spell, cache: Path) -> Iterator[tuple[str, Network]]:
    """The first network, healed of a spell by an inverse or by its images, and trained for it."""
    yield "nothing", known.network
    if spell.cause in REVERSIBLE:
        yield "healed", undoing(known.network, spell.cause)
    else:
        yield "healed", freeze(known.network, crops[: 2 * _HEALED_WITH], most=_HEALED_WITH, prior=_PRIOR)[0]
    cells = [(spell.cause, level) for level in spell.levels]
    facts = repr((known.crops.shape, cells, known.flip)).encode()
    weights = b"".join(value.numpy().tobytes() for value in known.network.module.state_dict().values())
    path = (
        cache / f"{spell.cause}-{hashlib.sha256(known.crops.tobytes() + facts + weights).hexdigest()[:12]}.safetensors"
    )
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = trained_for(known.network, known.crops, known.labels, cells, flip=known.flip)
        save_file({name: value.contiguous() for name, value in made.module.state_dict().items()}, path)
    yield "retrained", _with(known.network, load_file(path))


def _with(network: Network, state: dict[str, torch.Tensor]) -> Network:
    module = copy.deepcopy(network.module)
    module.load_state_dict(state)
    return network._replace(module=module.eval())


def _learned(network: Network, known: Known, stream: Stream, own: Indices, times: int) -> tuple[Network, int]:
    """Trained on what is labelled of `own`, `times` times each, and on RETAINED train images; how many labels."""
    own = own[stream.labels[own] != NOBODY]
    some = np.random.default_rng(len(own)).permutation(len(known.crops))[:RETAINED]
    crops = np.concatenate([known.crops[some], *[stream.crops[own]] * times])
    labels = np.concatenate([known.labels[some], *[stream.labels[own]] * times])
    return trained_on(network, crops, labels, flip=known.flip), len(own)


def _features(network: Network, crops: Pixels) -> Float32s:
    forward = through(network.module, network.mean, network.std)
    parts = [np.asarray(forward(crops[start : start + _BATCH]).features) for start in range(0, len(crops), _BATCH)]
    return np.concatenate(parts)


def _by_day(right: Labels, stream: Stream) -> list[float]:
    return [float(right[stream.days == day].mean()) for day in range(int(stream.days[-1]) + 1)]


def _parts(by_day: Sequence[float] | Float64s, stream: Stream, spells: Sequence[Spell]) -> Float64s:
    """Each day's accuracy as the mean over its part of the year: of a spell one level, or of the days between two."""
    values, last = np.asarray(by_day, dtype=np.float64), int(stream.days[-1])
    states = [
        next(((number, one.level(day)) for number, one in enumerate(spells) if one.first <= day <= one.last), None)
        for day in range(last + 1)
    ]
    marks = np.cumsum([0, *(states[day] != states[day - 1] for day in range(1, last + 1))])
    return np.array([values[marks == marks[day]].mean() for day in range(last + 1)])
