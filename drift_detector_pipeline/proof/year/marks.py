"""What a year was asked to show, as numbers: of one year, before several are put together.

In: the report of a year. Out: plain numbers. Read by the command and by spread.py.
"""

from typing import Any

import numpy as np

from drift_detector_pipeline.proof.year.world import MIX, ORDER

HARMFUL = 0.05  # of accuracy that a change costs the first model
_MADE = ("heal", "retrain")


def marks(report: dict[str, Any]) -> dict[str, Any]:
    """Alarms, causes, what was won back, adoptions, accuracy and labels of a year."""
    spells = report["spells"]
    costly = [one for one in spells if one["usual"] - one["nothing"] >= HARMFUL]
    mixes = [one for one in costly if one["cause"] in (MIX, ORDER)]  # told, never alerted: no fault of the model
    harmful = [one for one in costly if one not in mixes]
    false = [one["level"] for one in report["alarms"] if one["false"]]
    named = [one for one in spells if one["named"] is not None]
    accuracy = {"loop": report["accuracy"]["loop"], "nothing": report["accuracy"]["nothing done"]}
    accuracy |= {name: float(np.mean(one["by_day"])) for name, one in report["others"].items()}
    return {
        "images": report["images"],
        "false_notices": false.count("notice"),
        "false_alerts": false.count("alert"),
        "harmful": len(harmful),
        "alerted": sum(one["alert_delay"] is not None for one in harmful),
        "alert_delays": [one["alert_delay"] for one in harmful if one["alert_delay"] is not None],
        "costly_mixes": len(mixes),
        "causes": len(named),
        "causes_right": sum(one["named"] == (MIX if one["cause"] == ORDER else one["cause"]) for one in named),
        "won_back": {action: _won_back(report, action) for action in _MADE},
        "could_win_back": {name: _could(report, name) for name in ("healed", "retrained")},
        "decisions": len(report["decisions"]),
        "adoptions": len(report["adoptions"]),
        "harmful_adoptions": sum(one["gain"] <= -HARMFUL for one in report["adoptions"]),
        "accuracy": accuracy,
        "labels": report["labels"],
        "labels_of_others": {
            name: one["labels"] for name, one in report["others"].items() if "labels" in one
        },
    }  # fmt: skip


def _won_back(report: dict[str, Any], action: str) -> list[float]:
    """Of what a harmful change cost, the share that came back on days on which a version made so answered, by spell."""
    made = {one["version"] for one in report["champions"] if one["action"] == action}
    found, by_day = list[float](), report["by_day"]
    for spell in report["spells"]:
        own = [day for day in range(spell["first"], spell["last"] + 1) if by_day["versions"][day] in made]
        if own and spell["usual"] - spell["nothing"] >= HARMFUL:
            nothing, loop = (float(np.mean([by_day[name][day] for day in own])) for name in ("first", "loop"))
            if spell["usual"] - nothing >= HARMFUL:
                found.append((loop - nothing) / (spell["usual"] - nothing))
    return found


def _could(report: dict[str, Any], name: str) -> list[float]:
    """The same of a network made so for the whole spell, without watch and gate."""
    usual = {spell["cause"]: spell["usual"] for spell in report["spells"]}
    return [
        (one[name] - one["nothing"]) / (usual[one["cause"]] - one["nothing"])
        for one in report["others"]["oracle"]["spells"]
        if name in one and usual[one["cause"]] - one["nothing"] >= HARMFUL
    ]
