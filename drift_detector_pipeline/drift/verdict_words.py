"""A verdict in plain sentences, and as plain values.

In: a `Verdict`. Out: sentences, the most important first; what verdict.json holds. Read by the report and the command.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.cause import CONTENT, MIX, UNKNOWN, Cause
from drift_detector_pipeline.drift.cause_words import in_words, remedy, words_for
from drift_detector_pipeline.drift.decision import CERTAIN
from drift_detector_pipeline.drift.detecting import Words
from drift_detector_pipeline.drift.permutation import STATISTICS
from drift_detector_pipeline.drift.verdict import Channel, Verdict

_INVERSE = ("confidence", "margin", "feature_norm")  # scores that fall as mistakes and novelty become likelier
_LATER = ("apart",)  # parts of a verdict that older ones in a log do not have
_NO_SIDE = ("black_level", "blockiness", "anisotropy", "red_green", "yellow_blue")  # whose sign is not the channel's


def summary(verdict: Verdict, things: str = "images") -> list[str]:
    """The verdict in plain sentences about `things`, the most important first."""
    if verdict.p is None or verdict.accuracy is None or verdict.reference_accuracy is None:
        return [f"{verdict.images} {things} are too few to say anything; collect more."]
    words = [f"{_first(verdict, things)} (p = {verdict.p:.3g})."]
    if verdict.apart:
        words.append(f"{verdict.apart} of them differ clearly from the others.")
    if verdict.cause is not None:
        words.append(in_words(verdict.cause))
    if verdict.copies:
        words.append(f"{verdict.copies} of them are copies of others, so p is too small: leave them out.")
    named = verdict.cause is not None and verdict.cause.kind != UNKNOWN
    moved = [channel for channel in _loudest(verdict) if not (named and channel.name == "texture")]
    if moved and verdict.level != "quiet":
        words.append(f"What moved: {'; '.join(_in_words(channel) for channel in moved)}.")
    alone = verdict.p_values or dict.fromkeys(STATISTICS, 1.0)
    content = not named or (verdict.cause is not None and verdict.cause.kind == CONTENT)
    if content and verdict.level != "quiet" and alone["features"] < min(alone["distance"], CERTAIN):
        words.append("What they show moved more than how they look: other things, or others more often.")
    if alone["strangers"] <= CERTAIN:
        words.append(_of_strangers(verdict, alone["strangers"], things))
    words.append(_of_accuracy(verdict.accuracy, verdict.reference_accuracy, verdict.reference_labelled, things))
    if verdict.cause is not None:
        words.append(f"What to do: {remedy(verdict.cause)}")
    return words


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain values, words included; the likely loss is in its level."""
    found = verdict.accuracy
    plain = verdict._asdict() | {
        "summary": summary(verdict),
        "channels": [channel._asdict() for channel in verdict.channels],
        "accuracy": found and _accuracy_as_json(found),
        "cause": verdict.cause
        and verdict.cause._asdict() | {"words": in_words(verdict.cause), "remedy": remedy(verdict.cause)},
        "mix": None if verdict.mix is None else {"reference": verdict.mix[0], "window": verdict.mix[1]},
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def from_json(plain: Mapping[str, Any], likely_loss: float | None) -> Verdict:
    """Undo `as_json`."""
    accuracy = plain["accuracy"]
    found = accuracy and Estimate(**accuracy, likely_loss=likely_loss or 0.0)
    return Verdict(**values_of(plain, Verdict._fields) | {"accuracy": found})


def values_of(plain: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The parts that verdicts of all kinds have, as they were before they went through JSON."""
    own = {name: plain[name] for name in fields if name in plain or name not in _LATER}
    tuples = {name: tuple(value) for name, value in own.items() if isinstance(value, list)}
    mix, cause = own["mix"], own["cause"]
    return own | tuples | {
        "channels": tuple(Channel(*(one[name] for name in Channel._fields)) for one in own["channels"]),
        "cause": cause and cause_from(cause),
        "mix": mix and (mix["reference"], mix["window"]),
    }  # fmt: skip


def cause_from(plain: Mapping[str, Any]) -> Cause:
    """A cause from plain values."""
    own = {name: plain[name] for name in Cause._fields}
    return Cause(**own | {name: tuple(map(tuple, own[name])) for name in ("alternatives", "mix")})


def _first(verdict: Verdict, things: str) -> str:
    mixed = verdict.cause is not None and verdict.cause.kind == MIX
    if verdict.level == "quiet":
        return f"These {verdict.images} {things} look like the training world"
    hurts = ", and it probably hurts" if verdict.level == "alert" else ""
    if mixed:
        return f"These {verdict.images} {things} show classes in a different mix than the training world{hurts}"
    return f"These {verdict.images} {things} do not look like the training world{hurts}"


def _loudest(verdict: Verdict) -> list[Channel]:
    """Channels that moved, that of the cause first, then by how far."""
    first = None if verdict.cause is None else words_for(verdict.cause.kind).channel
    moved = [channel for channel in verdict.channels if channel.moved]
    return sorted(moved, key=lambda one: (one.name != first, -abs(one.shift)))


def _in_words(channel: Channel) -> str:
    if channel.name == "labels":
        return f"class mix (predicted {channel.score}: {100 * channel.shift:+.0f} points)"
    rises = (channel.shift > 0) != (channel.score in _INVERSE)
    what = "mistakes look" if channel.name == "error" else channel.name
    how = ("likelier" if rises else "less likely") if channel.name == "error" else "rose" if rises else "fell"
    if channel.score in _NO_SIDE or channel.name == "texture":
        how = "changed"
    return f"{what} {how} ({channel.score} {channel.shift:+.1f} sd)"


def _of_strangers(verdict: Verdict, p: float, things: str) -> str:
    start = f"More of them than usual look like no class the model knows (p = {p:.2g} alone)"
    more = verdict.images_for_strangers
    if verdict.level != "quiet" and p <= (verdict.p_average or 0):
        return f"{start}: look at the likeliest ones."
    if more is None:
        return f"{start}; a larger reference would be needed to be sure."
    return f"{start}; if it is so, about {more:,} such {things} would show it."


def _of_accuracy(now: Estimate, before: float, labelled: bool, things: str) -> str:
    world = f"in the training world {100 * before:.0f} %{'' if labelled else ', an estimate, too'}"
    if not now.known:
        return f"Accuracy unknown: the reference knows nothing like these {things} ({world}). Label some of them."
    interval = f"90 % interval {100 * now.low:.0f} to {100 * now.high:.0f}"
    how = f", by what the model says when they no longer are {words_for(now.undone).seen}" if now.undone else ""
    return f"Estimated accuracy {100 * now.accuracy:.0f} % ({interval}){how}, {world}."


def _accuracy_as_json(found: Estimate) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("accuracy", "low", "high", "known", "by_copy", "undone")}


LABEL_WORDS = Words("accuracy", summary, as_json, from_json)
