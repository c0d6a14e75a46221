"""`make autopilot`: what the policy says about every open alarm, done by the same steps that people take.

In: the request log with the monitor's alarms, versions in models/, labels. Out: baskets, versions, a new champion if
lifecycle.promote; a row of the table decision for each, with its reasons, written before anything is done.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log as say
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, PipelineError, exit_status
from drift_detector_pipeline.files import held_alone
from drift_detector_pipeline.lifecycle.decisions import (
    begin,
    decisions,
    end,
    end_the_interrupted,
    last_of,
)
from drift_detector_pipeline.lifecycle.labelling.labels import read_labels
from drift_detector_pipeline.lifecycle.labelling.stretch import Stretch, count_of, rows_of, since_alarm
from drift_detector_pipeline.lifecycle.mending.healable import TooFewImagesError
from drift_detector_pipeline.lifecycle.policy import TOO_FEW, WEEK_S, Plan, overspent, plan_for, plan_for_the_rest
from drift_detector_pipeline.lifecycle.steps import (
    WHO,
    Steps,
    former_champions,
    take,
    train_for_the_rest,
    train_on_labels,
)
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, acknowledge, alarm_of, open_alarms
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.registry import Champion, champion, champion_folder, history
from drift_detector_pipeline.serving.database import is_missing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings import valid_keys
from drift_detector_pipeline.settings_in_use import Basket, Gate, Heal, Lifecycle, Retrain, Serving

_DAY_S = 86_400.0
_LOCK = ".autopilot.lock"


@exit_status
def main() -> int:
    """Look once, or again and again until stopped."""
    set_up_logging()
    command = read_command(sys.argv[1:])
    words = command.overrides
    sections = (Lifecycle, Basket, Heal, Retrain, Gate)
    known = [key for section in sections for key in valid_keys(section, f"{section.__name__.lower()}.")]
    refuse_others(words, ["lifecycle", *known, "serving.database", "serving.keep_images"], "make autopilot")
    settings, serving = load_section(Lifecycle, words), load_section(Serving, words)
    steps = Steps(
        load_section(Basket, words), load_section(Heal, words), load_section(Retrain, words), load_section(Gate, words),
        settings.images or serving.keep_images,
    )  # fmt: skip
    _standing(steps)  # asked before anything is made
    address = os.environ.get("DATABASE_URL") or serving.database
    if is_missing(address):
        say.warning("%s: no log there yet; make serve writes one, serving.database names another", address)
    with closing(RequestLog(address)) as log:
        return fly(log, settings, steps, threading.Event())


def fly(log: RequestLog, settings: Lifecycle, steps: Steps, stop: threading.Event) -> int:
    """Look at all open alarms, once or until `stop` is set; return the exit status.

    Raises ConfigError if there is no champion, or another autopilot acts on these models.
    """
    with held_alone(steps.place / _LOCK) as alone:
        if not alone:
            raise ConfigError(f"{steps.place}: another autopilot acts on these models; let it end first")
        if not settings.dry_run:
            _take_up(log, steps)
        while not stop.is_set():
            look(log, settings, steps)
            if settings.once or stop.wait(settings.poll_s):
                break
    return 0


def _take_up(log: RequestLog, steps: Steps) -> None:
    """End what a killed autopilot had begun: as adopted, if its version answers by then, else as interrupted."""
    for one in decisions(log):
        if one.ended_at is None and "champion" in one.detail:
            later = [found for found in history(steps.place) if found.number > (one.detail["champion"] or 0)]
            if adopted := next((found.version for found in later if found.who == WHO), None):
                end(log, one.id, f"{adopted} answers now", one.detail | {"version": adopted, "adopted": True})
    end_the_interrupted(log)


def look(log: RequestLog, settings: Lifecycle, steps: Steps) -> None:
    """Do what is to be done now about each stream whose alarm stands. Raises ConfigError without a champion."""
    standing = _standing(steps)
    _settle_replaced(log, settings, steps, standing)
    own = _models_of(log, steps.place, standing)
    order = sorted((one for one in open_alarms(log) if one.model_id in own), key=lambda one: (one.source, one.id))
    for _, alarms in groupby(order, lambda one: one.source):
        _handle(log, settings, steps, list(alarms))
        if champion(steps.place) != standing:
            return  # the others are about a model that does not answer any more
    if not order:
        say.info("no alarm stands about %s", standing.version)
        if _train_for_the_rest(log, settings, steps, standing, own):
            return
    _keep_the_schedule(log, settings, steps, standing)


def _standing(steps: Steps) -> Champion:
    if (standing := champion(steps.place)) is None:
        raise ConfigError(f'{steps.place}: no champion to replace; make promote VERSION=models/artefact WHY="first"')
    return standing


def _handle(log: RequestLog, settings: Lifecycle, steps: Steps, alarms: Sequence[AlarmRow]) -> None:
    """Go through what the policy says about one change, until it says to wait."""
    alarm = next((one for one in reversed(alarms) if one.cause is not None), alarms[-1])
    level = "alert" if any(one.level == "alert" for one in alarms) else alarm.level
    alarm, ids = alarm._replace(level=level), {one.id for one in alarms}
    try:
        rows = rows_of(log, since_alarm(alarm))
    except DataError as error:
        say.warning("alarm %d: %s", alarm.id, error)
        return
    while True:
        week = decisions(log, since=time.time() - WEEK_S)
        tried = [one for one in decisions(log) if one.alarm_id in ids]
        plan = plan_for(alarm, len(rows), tried, week, settings, former=len(former_champions(steps.place)))
        say.info("alarm %d: %s. %s", alarm.id, plan.action or "wait", "; ".join(plan.reasons))
        if plan.action is None or settings.dry_run:
            return
        act = partial(take, log, plan.action, alarm, settings, steps)
        made = _done(log, plan, alarm, act, steps, images=len(rows))
        if made.get("adopted") or made.get("over"):
            acknowledge(log, alarm.id, WHO, "the change is over" if made.get("over") else plan.action)
            return


def _done(
    log: RequestLog, plan: Plan, alarm: AlarmRow | None, act: Any, steps: Steps, *, images: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Do something between the two halves of its row; return what came of it.

    `images`: how many there were since the change; whoever was asked is asked again only with more of them. Who answers
    before is written down, so that whoever finds the row cut off knows whether a new champion is its doing.
    """
    standing = champion(steps.place)
    detail: dict[str, Any] = {"reasons": plan.reasons, "images": images, "champion": standing and standing.number}
    detail |= {} if alarm is None else {"cause": alarm.cause}
    number = begin(log, plan.action or "nothing", alarm and alarm.id, detail)
    try:
        outcome, more = act()
    except PipelineError as error:
        outcome, more = f"refused: {error}", {TOO_FEW: True} if isinstance(error, TooFewImagesError) else {}
    end(log, number, outcome, detail | more)
    say.info("decision %d: %s: %s", number, plan.action, outcome)
    return dict(more)


def _train_for_the_rest(
    log: RequestLog, settings: Lifecycle, steps: Steps, standing: Champion, own: set[int]
) -> bool:  # fmt: skip
    """Train for what the champion was healed of, where that is worth it; return whether another one answers now."""
    known = decisions(log)
    adopted = (one for one in reversed(known) if one.detail.get("adopted"))
    healed = next((one for one in adopted if one.detail.get("version") == standing.version), None)
    if healed is None or healed.action != "heal" or healed.alarm_id is None or not own:
        return False
    alarm = alarm_of(log, healed.alarm_id)
    stretch = Stretch(max(own), alarm.source)
    tried = [one for one in known if one.alarm_id == alarm.id]
    week = [one for one in known if one.at >= time.time() - WEEK_S]
    images = count_of(log, stretch)
    plan = plan_for_the_rest(healed, tried, images, week, settings)
    if plan.reasons:
        say.info("%s: %s. %s", standing.version, plan.action or "wait", "; ".join(plan.reasons))
    if plan.action is None or settings.dry_run:
        return False
    act = partial(train_for_the_rest, log, healed, alarm, stretch, settings, steps)
    return bool(_done(log, plan, alarm, act, steps, images=images).get("adopted"))


def _keep_the_schedule(log: RequestLog, settings: Lifecycle, steps: Steps, standing: Champion) -> None:
    """Train on labels that came back, if it is time and the week's budget allows it."""
    if settings.retrain_every_days is None or not read_labels(steps.labels):
        return
    last = last_of(log, "retrain") or 0.0
    if time.time() - last < settings.retrain_every_days * _DAY_S:
        return
    if obstacle := overspent(decisions(log, since=time.time() - WEEK_S), settings):
        say.info("no retraining by schedule: %s", obstacle)
        return
    plan = Plan("retrain", [f"lifecycle.retrain_every_days={settings.retrain_every_days:g}"])
    say.info("retrain: %s", plan.reasons[0])
    if not settings.dry_run:
        act = partial(train_on_labels, champion_folder(standing, steps.place), settings, steps)
        _done(log, plan, None, act, steps)


def _settle_replaced(log: RequestLog, settings: Lifecycle, steps: Steps, standing: Champion) -> None:
    """Alarms about a former champion are settled: it does not answer any more."""
    if settings.dry_run:
        return
    own = _models_of(log, steps.place, standing)
    former = {one.version: one for one in history(steps.place) if one.version != standing.version}
    gone = {model for one in former.values() for model in _models_of(log, steps.place, one)} - own
    for alarm in open_alarms(log):
        if alarm.model_id in gone:
            acknowledge(log, alarm.id, WHO, f"{standing.version} answers now")


def _models_of(log: RequestLog, place: Path, one: Champion) -> set[int]:
    """The numbers that a version has in the log; none if its files are not here."""
    try:
        artefact = read_artefact(champion_folder(one, place))
    except PipelineError as error:
        say.warning("%s", error)
        return set()
    wanted = artefact.sha256[artefact.file], artefact.sha256.get("reference.npz", "")
    facts = {model: log.facts_of(model) for model in log.models()}
    return {model for model, known in facts.items() if (known.sha256, known.reference_sha256) == wanted}


if __name__ == "__main__":
    sys.exit(main())
