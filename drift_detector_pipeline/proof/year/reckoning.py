"""What a year came to: accuracy of those who answered, beside the first model alone and the best of all in hindsight.

In: the days as they came, what was answered, the log. Out: plain numbers for the report. Read by the command.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float64s, Labels
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.lifecycle.decisions import decisions
from drift_detector_pipeline.lifecycle.gating.gate import answers_of
from drift_detector_pipeline.lifecycle.labelling.labels import read_labels
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, alarms
from drift_detector_pipeline.proof.year.life import Asked
from drift_detector_pipeline.proof.year.world import Day, Spell
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.executable import open_executable
from drift_detector_pipeline.release.registry import champion_folder, history
from drift_detector_pipeline.serving.request_log import RequestLog


class Year(NamedTuple):
    """All that happened."""

    days: list[Day]
    asked: list[Asked]
    spells: Sequence[Spell]
    log: RequestLog


def reckon(year: Year) -> dict[str, Any]:
    """Accuracy by day of the loop, of the first model alone and of the best version in hindsight; alarms; decisions."""
    by_version = {folder.name: rights_of(folder, year.days) for folder in _folders()}
    first = year.asked[0].version
    loop = [float(one.right.mean()) for one in year.asked]
    return {
        "days": len(year.days),
        "images": int(sum(len(day.labels) for day in year.days)),
        "by_day": {"loop": loop, "first": by_version[first].tolist(), "versions": [one.version for one in year.asked]},
        "accuracy": {
            "loop": float(np.mean(loop)),
            "nothing done": float(by_version[first].mean()),
            "best version in hindsight": float(_hindsight(by_version, year).mean()),
        },
        "versions": {name: values.tolist() for name, values in by_version.items()},
        "labels": len(read_labels()),
        "adoptions": _adoptions(year, by_version),
        "spells": [_spell(spell, year, by_version, first) for spell in year.spells],
        "alarms": [_alarm(one, year) for one in reversed(alarms(year.log))],
        "decisions": [one._asdict() for one in decisions(year.log)],
        "champions": [one._asdict() for one in history()],
    }


def rights_of(folder: Path, days: Sequence[Day]) -> Float64s:
    """The accuracy of one version on each day."""
    artefact = read_artefact(folder)
    executable = open_executable(artefact)
    found = list[float]()
    for day in days:
        crops = np.stack([inference_crop(image, artefact.side_px) for image in day.images])
        found.append(float((answers_of(executable, crops).predicted == day.labels).mean()))
    return np.array(found)


def _folders() -> list[Path]:
    """Of every version that ever answered, in the order in which they did."""
    return list(dict.fromkeys(champion_folder(one) for one in history()))


def _hindsight(by_version: dict[str, Float64s], year: Year) -> Float64s:
    """Each day by the version that does best in its part of the year."""
    best = np.zeros(len(year.days))
    for part in _parts(year):
        best[part] = max((own[part] for own in by_version.values()), key=lambda values: float(values.mean()))
    return best


def _parts(year: Year) -> list[Labels]:
    """Days with the same cause and level, one after another."""
    states = [(day.cause, day.level) for day in year.days]
    starts = [place for place in range(len(states)) if place == 0 or states[place] != states[place - 1]]
    return [np.arange(start, end) for start, end in zip(starts, [*starts[1:], len(states)], strict=True)]


def _spell(spell: Spell, year: Year, by_version: dict[str, Float64s], first: str) -> dict[str, Any]:
    """Accuracy in a spell, when it was noticed and what it was taken for, and how much of what it cost came back."""
    own = np.array([day.number for day in year.days if spell.first <= day.number <= spell.last], dtype=np.int64)
    clean = np.array([day.number for day in year.days if not day.cause], dtype=np.int64)
    usual, nothing = float(by_version[first][clean].mean()), float(by_version[first][own].mean())
    loop = np.array([float(year.asked[day].right.mean()) for day in own.tolist()])
    within = [one for one in reversed(alarms(year.log)) if day_of(one.request, year) in own.tolist()]
    begins = int(sum(len(day.labels) for day in year.days[: spell.first]))
    answered = [year.asked[day].version != first for day in own.tolist()]
    lost = usual - nothing
    after = loop[np.array(answered, dtype=bool)]
    return {
        "cause": spell.cause, "levels": list(spell.levels), "first": spell.first, "last": spell.last,
        "nothing": nothing, "loop": float(loop.mean()), "usual": usual,
        "delay": within[0].request - begins if within else None,
        "alert_delay": next((one.request - begins for one in within if one.level == "alert"), None),
        "named": next((one.cause for one in within if one.cause), None),
        "won_back": float((after.mean() - nothing) / lost) if len(after) and lost >= 0.05 else None,
    }  # fmt: skip


def _adoptions(year: Year, by_version: dict[str, Float64s]) -> list[dict[str, Any]]:
    """Whoever began to answer, and what that gained over whom it replaced, as long as the world stayed as it was then.

    One that began on the last day of a part of the year is not among them: nobody has seen it there.
    """
    found = list[dict[str, Any]]()
    for day in range(1, len(year.days)):
        before, after = year.asked[day - 1].version, year.asked[day].version
        part = next(part for part in _parts(year) if day in part)
        if before == after or day == part[0]:
            continue
        own = [one for one in part.tolist() if one >= day and year.asked[one].version == after]
        gain = float((by_version[after][own] - by_version[before][own]).mean())
        n = int(sum(len(year.days[one].labels) for one in own))
        row = {"day": day, "cause": year.days[day].cause, "version": after, "replaced": before, "n": n, "gain": gain}
        found.append(row)
    return found


def day_of(request: int, year: Year) -> int:
    """The day on which a row was answered: rows are numbered from 1 without a gap."""
    ends = np.cumsum([len(day.labels) for day in year.days])
    return int(np.searchsorted(ends, request))


def _alarm(one: AlarmRow, year: Year) -> dict[str, Any]:
    day = min(day_of(one.request, year), len(year.days) - 1)
    verdict = one.detail.get("verdict") or {}
    false = _nothing_happened(day, year)
    return {
        "day": day, "request": one.request, "since": one.since, "level": one.level, "cause": one.cause,
        "truth": year.days[day].cause, "false": false, "summary": verdict.get("summary", []),
    }  # fmt: skip


def _nothing_happened(day: int, year: Year) -> bool:
    """Whether the world had stayed as it was for the version that answered, since it began to answer."""
    version = year.asked[day].version
    began = day
    while began > 0 and year.asked[began - 1].version == version:
        began -= 1
    if began == 0:
        return not any(year.days[one].cause for one in range(day + 1))
    return len({(year.days[one].cause, year.days[one].level) for one in range(began - 1, day + 1)}) == 1
