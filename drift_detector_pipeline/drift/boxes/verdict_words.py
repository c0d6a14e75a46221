"""A verdict about boxes in plain sentences, and as plain values.

In: a `BoxVerdict`. Out: sentences, the most important first; what verdict.json holds. Read by the report and the
command.
"""

from collections.abc import Mapping
from typing import Any

from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.boxes.reference import NOTHING
from drift_detector_pipeline.drift.boxes.verdict import LEAST, BoxVerdict
from drift_detector_pipeline.drift.cause import UNKNOWN
from drift_detector_pipeline.drift.cause_words import in_words, remedy
from drift_detector_pipeline.drift.detecting import Words
from drift_detector_pipeline.drift.verdict import Channel
from drift_detector_pipeline.drift.verdict_words import values_of

# score -> what is said if it rises, and if it falls
MOVES: dict[str, tuple[str, str]] = {
    "boxes": ("more boxes", "fewer boxes"),
    "nothing": ("more images without any box", "fewer images without any box"),
    "score_sum": ("more or surer boxes", "fewer or less sure boxes"),
    "surest": ("surer of the surest box", "less sure of the surest box"),
    "sureness": ("surer", "less sure"),
    "entropy": ("less sure", "surer"),
    "agreement": ("boxes placed more alike", "boxes placed less alike"),
    "area": ("larger boxes", "smaller boxes"),
    "area_spread": ("more sizes side by side", "fewer sizes side by side"),
    "aspect": ("wider boxes", "narrower boxes"),
    "border": ("more boxes at the border", "fewer boxes at the border"),
}
_LOOKS = ("texture", "sharpness", "brightness", "contrast", "colour")
_NO_SIDE = ("black_level", "blockiness", "anisotropy", "red_green", "yellow_blue")  # whose sign is not the channel's


def box_summary(verdict: BoxVerdict) -> list[str]:
    """The verdict in plain sentences, the most important first."""
    if verdict.p is None or verdict.map50 is None or verdict.reference_map50 is None:
        return [f"{verdict.images} images are too few to say anything; collect more."]
    words = [_first(verdict)]
    if verdict.cause is not None:
        words.append(in_words(verdict.cause))
    if verdict.copies:
        words.append(f"{verdict.copies} of them are copies of others, so p is too small: leave them out.")
    if verdict.level != "quiet" and (moved := moved_in_words(verdict)):
        words.append(f"What moved: {'; '.join(moved)}.")
    words.append(_of_worth(verdict.map50, verdict))
    if verdict.reference_images < LEAST:
        words.append(
            f"The reference has only {verdict.reference_images} images: the share of false notices holds averaged "
            "over references, this one's own may be several times as high, and only clear changes are seen."
        )
    if verdict.cause is not None and verdict.cause.kind != UNKNOWN:
        words.append(f"What to do: {remedy(verdict.cause)}")
    return words


def moved_in_words(verdict: BoxVerdict) -> list[str]:
    """What moved more than chance moves anything: first boxes, then looks, the furthest first."""
    named = verdict.cause is not None and verdict.cause.kind != UNKNOWN
    moved = [one for one in verdict.channels if one.moved and not (named and one.name == "texture")]
    return [channel_in_words(one) for one in sorted(moved, key=lambda one: (one.name in _LOOKS, -abs(one.shift)))]


def channel_in_words(channel: Channel) -> str:
    """How a channel moved, such as "fewer boxes (boxes -1.2 sd)"."""
    if channel.name == "labels":
        whose = "images without a box" if channel.score == NOTHING else f"images with mostly {channel.score}"
        return f"{'more' if channel.shift > 0 else 'fewer'} {whose} ({100 * channel.shift:+.0f} points)"
    if channel.name == "classes":
        what = f"{'more' if channel.shift > 0 else 'less'} {channel.score.removeprefix('share of ')} among the boxes"
    elif channel.score in MOVES:
        what = MOVES[channel.score][channel.shift < 0]
    else:
        changed = channel.score in _NO_SIDE or channel.name == "texture"
        what = f"{channel.name} {'changed' if changed else 'rose' if channel.shift > 0 else 'fell'}"
    return f"{what} ({channel.score} {channel.shift:+.1f} sd)"


def box_verdict_as_json(verdict: BoxVerdict) -> dict[str, Any]:
    """The verdict as plain values, words included; the likely loss is in its level."""
    found = verdict.map50
    plain = verdict._asdict() | {
        "summary": box_summary(verdict),
        "channels": [one._asdict() | {"words": channel_in_words(one)} for one in verdict.channels],
        "map50": found
        and {"value": found.accuracy} | {name: getattr(found, name) for name in ("low", "high", "known")},
        "cause": verdict.cause
        and verdict.cause._asdict() | {"words": in_words(verdict.cause), "remedy": remedy(verdict.cause)},
        "mix": None if verdict.mix is None else {"reference": verdict.mix[0], "window": verdict.mix[1]},
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def from_json(plain: Mapping[str, Any], likely_loss: float | None) -> BoxVerdict:
    """Undo `box_verdict_as_json`."""
    found = plain["map50"]
    map50 = found and Estimate(found["value"], found["low"], found["high"], likely_loss or 0.0, found["known"])
    return BoxVerdict(**values_of(plain, BoxVerdict._fields) | {"map50": map50})


def _first(verdict: BoxVerdict) -> str:
    p = f"(p = {verdict.p:.3g})"
    if verdict.level == "quiet":
        return f"These {verdict.images} images look like the training world {p}."
    hurts = ", and it probably hurts" if verdict.level == "alert" else ""
    return f"These {verdict.images} images do not look like the training world{hurts} {p}."


def _of_worth(now: Estimate, verdict: BoxVerdict) -> str:
    world = f"{100 * (verdict.reference_map50 or 0):.0f} in the training world"
    if not now.known:
        return f"mAP50 unknown: the reference knows nothing like these images ({world}). Draw boxes in some of them."
    return (
        f"mAP50 about {100 * now.accuracy:.0f} ({100 * now.low:.0f} to {100 * now.high:.0f}), {world}: "
        f"what drawing the true boxes in these {verdict.images} images would show, in 9 of 10 cases."
    )


BOX_WORDS = Words("map50", box_summary, box_verdict_as_json, from_json)
