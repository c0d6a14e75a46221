"""Years of several seeds put together: each figure with its spread, beside what was asked of it.

In: reports/year_<data>_seed<n>.json. Out: reports/year_<data>.json. Read by people.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drift_detector_pipeline.files import write_json


def write_spread(name: str, place: Path) -> Path:
    """Put together all seeds that are in `place`; return where it is written."""
    found = sorted(place.glob(f"year_{name}_seed*.json"))
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    path = place / f"year_{name}.json"
    write_json(path, together([one for one in reports if "marks" in one]))
    return path


def together(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All seeds' figures, and whether they are what was asked."""
    marks = [one["marks"] for one in reports]
    accuracy = {way: [one["accuracy"][way] for one in marks] for way in marks[0]["accuracy"]}
    ahead = {
        way: spread_of([own - other for own, other in zip(accuracy["loop"], values, strict=True)])
        for way, values in accuracy.items()
        if way != "loop"
    }
    return {
        "seeds": [one["seed"] for one in reports],
        "images": sum(one["images"] for one in marks),
        "minutes": [one["minutes"] for one in reports],
        "processor": reports[0]["processor"],
        "accuracy": {way: spread_of(values) for way, values in accuracy.items()},
        "loop_ahead_of": ahead,
        "figures": _figures(marks, ahead),
    }


def spread_of(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation over seeds; None of a single one."""
    return {
        "mean": float(np.mean(values)) if len(values) else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "values": [round(float(value), 4) for value in values],
    }


def _figures(marks: Sequence[dict[str, Any]], ahead: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a figure: what was asked, what it came to by seed and over all, whether that is enough."""

    def total(key: str) -> int:
        return sum(int(one[key]) for one in marks)

    def share(name: str, part: str, whole: str, asked: str, enough: Callable[[float], bool]) -> dict[str, Any]:
        value = total(part) / max(1, total(whole))
        by_seed = [f"{one[part]} of {one[whole]}" for one in marks]
        return _row(name, asked, value, by_seed, enough(value) if total(whole) else None)

    delays = [delay for one in marks for delay in one["alert_delays"]]
    healed, retrained = ([value for one in marks for value in one["won_back"][way]] for way in ("heal", "retrain"))
    rows = [
        share("false notices an image", "false_notices", "images", "at most 1e-6", lambda value: value <= 1e-6),
        share("false alerts an image", "false_alerts", "images", "0", lambda value: value == 0),
        share("harmful changes alerted", "alerted", "harmful", "all", lambda value: value == 1),
        _median("images until the alert", "median at most 50", delays, lambda value: value <= 50),
        share("causes named right", "causes_right", "causes", "at least 85 %", lambda value: value >= 0.85),
        _median("won back by healing", "at least 60 %", healed, lambda value: value >= 0.6, np.mean),
        _median("won back by retraining", "at least 85 %", retrained, lambda value: value >= 0.85, np.mean),
        share("harmful adoptions, of decisions", "harmful_adoptions", "decisions", "at most 1 %", lambda v: v <= 0.01),
        share("labels, of images", "labels", "images", "at most 1 %", lambda value: value <= 0.01),
    ]
    for way, one in ahead.items():
        if way == "oracle":
            asked, met = "at most 2 points behind", one["mean"] >= -0.02
        else:  # one year has no spread
            asked, met = "ahead by more than the spread", None if one["sd"] is None else one["mean"] > one["sd"]
        rows.append(_row(f"accuracy beside: {way}", asked, one["mean"], one["values"], met))
    return rows


def _median(
    name: str, asked: str, values: Sequence[float], enough: Callable[[float], bool], middle: Any = np.median
) -> dict[str, Any]:
    value = float(middle(values)) if values else None
    told = [round(float(one), 3) for one in values]
    return _row(name, asked, value, told, None if value is None else bool(enough(value)))


def _row(name: str, asked: str, value: Any, seeds: Sequence[Any], met: bool | None) -> dict[str, Any]:
    return {"figure": name, "asked": asked, "value": value, "by_seed": list(seeds), "met": met}
