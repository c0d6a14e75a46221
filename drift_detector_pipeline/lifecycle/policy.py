"""What should be done about an alarm? Reasons in, a plan out; nothing is done here.

In: an alarm with what the monitor found out, what was tried before, settings. Out: a `Plan`. Read by the autopilot.

A world that a former champion knows may be back: that one answers again. Or the change is over, and the alarm settled:
a stream rests until then, and nobody would notice the next change. Looks that have changed can be healed or trained
for, since they can be made again on labelled images. Whatever else has happened, only labels tell: a basket for people.
What does no harm is left alone. Healing also tries whether a fault with an inverse is what nobody knows.
"""

from collections.abc import Sequence
from typing import NamedTuple

from drift_detector_pipeline.corruptions.corrupt import KINDS
from drift_detector_pipeline.corruptions.faults import FAULTS
from drift_detector_pipeline.drift.cause import CONTENT, MIX, UNKNOWN, UNTOLD
from drift_detector_pipeline.drift.kinds import told_by
from drift_detector_pipeline.lifecycle.decisions import INTERRUPTED, Action, Decision
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, severity_of
from drift_detector_pipeline.settings_in_use import Lifecycle

WEEK_S, _MINUTE_S = 7 * 86_400.0, 60.0
COSTLY = ("heal", "retrain")
TOO_FEW = "too_few"  # in a decision's detail: images were missing, of which more may come
WORTH = 0.05  # of accuracy that a healed champion still lacks, from which on it is trained for
SOON = 64  # images that a former champion's own test needs to tell its world from others


class Plan(NamedTuple):
    """What to do next about one alarm."""

    action: Action | None  # None: wait
    reasons: list[str]


def plan_for(
    alarm: AlarmRow, images: int, tried: Sequence[Decision], this_week: Sequence[Decision], settings: Lifecycle,
    *, former: int,
) -> Plan:  # fmt: skip
    """What to do about an open alarm of the model that answers.

    `images`: how many different ones came since its change; `tried`: decisions about this alarm; `this_week`: all of
    the last seven days; `former`: champions there were before.
    """
    known = _known(alarm)
    over = [one for one in tried if one.outcome != INTERRUPTED and _is_about(one, alarm.cause)]
    done = {one.action for one in over if not _is_to_repeat(one, images, settings.wait_images)}
    if passed := next((one.detail["version"] for one in tried if one.detail.get("passed")), None):
        return Plan(None, [*known, f"{passed} passed its gate and waits for a person: make promote VERSION={passed}"])
    enough = images >= settings.wait_images
    if settings.promote and _is_worth_asking(images, tried, settings.wait_images, former):
        return Plan("return", [*known, f"the change may be over, or one of {former} former champions know this world"])
    if not is_harmful(alarm):
        if alarm.cause is None:
            return Plan(None, [*known, "its cause is not known yet"])
        return Plan(None if "nothing" in done else "nothing", [*known, "it does no harm that is worth a change"])
    if alarm.cause is None or not enough:
        return Plan(None, [*known, f"{images} of {settings.wait_images} images of the new world are there"])
    why_not = list[str]()
    for action in settings.on_alert:
        obstacle = _obstacle(action, alarm.cause, this_week, settings)
        if action in done:
            why_not.append(f"{action}: was tried")
        elif obstacle:
            why_not.append(f"{action}: {obstacle}")
        else:
            return Plan(action, [*known, *why_not, f"{action}: next in lifecycle.on_alert"])
    return Plan(None, [*known, *why_not, "nothing is left to do without a person"])


def plan_for_the_rest(
    healed: Decision, tried: Sequence[Decision], images: int, this_week: Sequence[Decision], settings: Lifecycle
) -> Plan:  # fmt: skip
    """What to do about the accuracy that a healing has not won back, while its world lasts.

    `healed`: the adoption of the version that answers; `tried`: decisions about the same alarm; `images`: how many it
    has answered.
    """
    left = float(healed.detail.get("left", 0.0))
    if "retrain" not in settings.on_alert or left < WORTH:
        return Plan(None, [])
    known = [f"{healed.detail['version']}, healed of {healed.detail['of']}, lacks {100 * left:.0f} points of accuracy"]
    if any(one.action == "retrain" and one.outcome != INTERRUPTED and one.id > healed.id for one in tried):
        return Plan(None, [*known, "retrain: was tried"])
    if images < settings.wait_images:
        return Plan(None, [*known, f"{images} of {settings.wait_images} images that it answered are there"])
    if obstacle := overspent(this_week, settings):
        return Plan(None, [*known, f"retrain: {obstacle}"])
    return Plan("retrain", [*known, "retrain: learns from labelled images with this change"])


def _is_about(one: Decision, cause: str | None) -> bool:
    """Whether a step need not be taken again: what was made for another cause tells nothing of this one."""
    return one.action not in COSTLY or one.detail.get("cause", cause) == cause


def _is_to_repeat(one: Decision, images: int, wait: int) -> bool:
    """Whether a step lacked images, and so many more came that it is taken once more."""
    return bool(one.detail.get(TOO_FEW)) and images >= wait + int(one.detail.get("images", images))


def _is_worth_asking(images: int, tried: Sequence[Decision], wait: int, former: int) -> bool:
    """Whether so many new images came that the world may be another by now: since they were last shown to champions.

    Former ones are asked SOON for the first time. Where there was none before, the one that answers knows a changed
    world no better than when it alarmed; so all else is tried first.
    """
    done = [one for one in tried if one.outcome != INTERRUPTED]
    if former:
        done = [one for one in done if one.action == "return"]
    if not done:
        return former > 0 and images >= min(wait, SOON)
    asked = max(int(one.detail.get("images", images)) for one in done)
    return images >= wait + asked


def is_harmful(alarm: AlarmRow) -> bool:
    """Whether the stream or the verdict on it says that the model suffers."""
    verdict = alarm.detail.get("verdict") or {}
    return "alert" in (alarm.level, verdict.get("level"))


def remake(cause: str) -> bool:
    """Whether a cause can be made on labelled images."""
    return cause in KINDS or cause in FAULTS


def _known(alarm: AlarmRow) -> list[str]:
    verdict = alarm.detail.get("verdict") or {}
    said = [f"{alarm.level} of source {alarm.source!r} since request {alarm.since}"]
    if alarm.cause is not None:
        severity = severity_of(alarm)
        said.append(f"cause {alarm.cause}" + ("" if severity is None else f", severity {severity:.1f}"))
    if told := told_by(verdict):
        said.append(told.in_words())
    return said


def _obstacle(action: str, cause: str, this_week: Sequence[Decision], settings: Lifecycle) -> str:
    """Why an action is out of the question, or ""."""
    if action not in COSTLY:
        return ""
    if not remake(cause) and not (action == "heal" and cause in UNTOLD):  # which tries inverses
        return {
            UNKNOWN: "what has happened is not known", MIX: "another mix of classes is no fault of the model",
            CONTENT: "something else is shown, so labels are needed",
        }.get(cause, "no such images can be made for a test")  # fmt: skip
    return overspent(this_week, settings)


def overspent(this_week: Sequence[Decision], settings: Lifecycle) -> str:
    """Which part of the week's budget of healing and retraining is spent, or "".

    Inverses that were tried in vain, as nobody knew the cause, are cheap and no part of it.
    """
    in_vain = [one for one in this_week if one.detail.get("cause") in UNTOLD and "version" not in one.detail]
    spent = [one for one in this_week if one.action in COSTLY and one not in in_vain]
    minutes = sum(((one.ended_at or one.at) - one.at) / _MINUTE_S for one in spent)
    if len(spent) >= settings.tries_a_week:
        return f"lifecycle.tries_a_week={settings.tries_a_week} are spent"
    if minutes >= settings.minutes_a_week:
        return f"lifecycle.minutes_a_week={settings.minutes_a_week:g} are spent"
    return ""
