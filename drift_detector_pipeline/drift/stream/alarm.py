"""What an alarm of a stream says, as numbers and in words.

In: what the detector knows at that image. Out: an `Alarm`. Read by the detector, the command and people.
"""

from typing import Any, Literal, NamedTuple

from drift_detector_pipeline.drift.boxes.verdict_words import MOVES
from drift_detector_pipeline.drift.stream.dependence import ALIKE

Level = Literal["quiet", "notice", "alert"]
ACCURACY = "accuracy"
_SMALL = 0.5  # standard deviations: less is no direction


class Moved(NamedTuple):
    """A channel with evidence of a change."""

    channel: str  # one of `StreamDetector.channels`
    word: str  # for people: the nine words of a verdict
    move: float  # since the change, in standard deviations of one image
    sided: bool  # the sign of `move` is that of the word; a distance grows whichever way its scores went
    evidence: float  # in 0..1, of what an alarm needs on a log scale; 1 and more raised it


class Alarm(NamedTuple):
    """A stream has changed ("notice"), or that hurts ("alert")."""

    level: Level
    source: str
    image: int  # the number of the image that raised it, from 1, in its source since it was begun
    name: str  # its file, where that is known
    channels: tuple[Moved, ...]  # the strongest of each word; first the one that raised the notice
    since: int  # likeliest first image of the change
    since_low: int  # images between which it probably began; measured, not promised
    since_high: int
    error_now: float  # mean predicted error since then
    error_before: float  # of the reference
    alike: float  # share of channels in which neighbours resemble each other, 0.5 if images are independent
    copies: int  # images equal to one shortly before them
    measure: str = ACCURACY  # of which an error is what it lacks of 1

    @property
    def holds(self) -> bool:
        """Whether nothing was seen that makes the promise void."""
        return self.alike < ALIKE and not self.copies


def alarm_words(alarm: Alarm) -> list[str]:
    """The alarm in plain sentences, the most important first."""
    where = f" of {alarm.source}" if alarm.source else ""
    hurts = ", and it probably hurts" if alarm.level == "alert" else ""
    words = [
        f"Since about image {alarm.since} ({alarm.since_low} to {alarm.since_high}) the images{where} do not look like "
        f"the training world{hurts}; noticed at image {alarm.image}{f', {alarm.name}' if alarm.name else ''}."
    ]
    words.append(f"What moved: {'; '.join(map(_in_words, alarm.channels))}.")
    words.append(_of_errors(alarm))
    if alarm.copies:
        words.append(f"{alarm.copies} images are copies of earlier ones: false alarms are likelier than promised.")
    if alarm.alike >= ALIKE:
        words.append(
            f"Neighbouring images resemble each other ({100 * alarm.alike:.0f} % of comparisons, 50 % if they were "
            "independent): false alarms are likelier than promised. Let frames of one scene count once, as a group."
        )
    return words


def alarm_state(alarm: Alarm) -> dict[str, Any]:
    """The alarm as plain values, to be read again."""
    plain = alarm._asdict() | {"channels": [moved._asdict() for moved in alarm.channels]}
    return {name: value for name, value in plain.items() if (name, value) != ("measure", ACCURACY)}


def alarm_from(state: dict[str, Any]) -> Alarm:
    """Undo `alarm_state`. Raises LookupError or TypeError if it is none."""
    return Alarm(**state | {"channels": tuple(Moved(**moved) for moved in state["channels"])})


def alarm_json(alarm: Alarm) -> dict[str, Any]:
    """The alarm as plain values for whoever acts on it, words included."""
    return alarm_state(alarm) | {"holds": alarm.holds, "summary": alarm_words(alarm)}


def as_alert(plain: dict[str, Any]) -> dict[str, Any]:
    """What `alarm_json` gives of a notice, as it would be of an alert."""
    values = {name: value for name, value in plain.items() if name in Alarm._fields}
    return alarm_json(alarm_from(values)._replace(level="alert"))


def _of_errors(alarm: Alarm) -> str:
    if alarm.measure == ACCURACY:
        now, before = 100 * alarm.error_now, 100 * alarm.error_before
        return f"Predicted errors since then {now:.0f} %, in the training world {before:.0f} %."
    now, before = 100 * (1 - alarm.error_now), 100 * (1 - alarm.error_before)
    return f"By its scores mAP50 is about {now:.0f} since then, in the training world {before:.0f}."


def _in_words(moved: Moved) -> str:
    if moved.channel in MOVES and moved.sided:
        return f"{MOVES[moved.channel][moved.move < 0]} ({moved.channel} {moved.move:+.1f} sd)"
    name = "" if moved.channel == moved.word else f"{moved.channel} "
    if moved.word == "labels":
        return "class mix"
    if moved.word == "error":
        return f"mistakes look {'likelier' if moved.move > 0 else 'less likely'} ({moved.move:+.1f} sd)"
    if not moved.sided or moved.word == "texture" or abs(moved.move) < _SMALL:
        return f"{moved.word} changed"
    return f"{moved.word} {'rose' if moved.move > 0 else 'fell'} ({name}{moved.move:+.1f} sd)"
