"""What a study of streams found, in a few numbers and lines.

In: delays, alerts and beginnings by cell. Out: medians, shares, lines to read. Read by the study of streams.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from drift_detector_pipeline.corruptions.corrupt import SEVERITIES


def summarise(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Median and 90 % quantile of the delays by severity, the slowest cells, alerts, beginnings."""
    by_severity = {
        str(severity): np.concatenate([row["delays"] for name, row in rows.items() if name.endswith(f" {severity}")])
        for severity in SEVERITIES
    }
    medians = sorted(((float(np.median(row["delays"])), name) for name, row in rows.items()), reverse=True)
    found: dict[str, Any] = {
        "median": {severity: float(np.median(delays)) for severity, delays in by_severity.items()},
        "quantile_90": {severity: float(np.quantile(delays, 0.9)) for severity, delays in by_severity.items()},
        "slowest": medians[:10],
    }
    if all("alerts" in row for row in rows.values()):
        found |= {"alerted": _alerted(rows), "beginning": _beginning(rows)}
    return found


def as_text(found: dict[str, Any]) -> list[str]:
    """The main figures as lines to read."""
    lines = [f"false notices, {name}: {row}" for name, row in found["false_notices"].items()]
    lines.append(f"microseconds an image: {found['cost']}")
    for name, row in found["summary"].items():
        delays = "  ".join(
            f"{severity}: {row['median'][severity]:.0f} ({row['quantile_90'][severity]:.0f})"
            for severity in row["median"]
        )
        lines.append(f"{name}: {delays}; slowest {row['slowest'][:3]}")
        lines += [f"  {key}: {row[key]}" for key in ("alerted", "beginning") if key in row]
    return lines


def _alerted(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Share of runs that raise an alert and the median of their delays, by the accuracy that is lost."""
    found = dict[str, Any]()
    for words, (low, high) in {"up to 2 points": (-1, 0.02), "10 points and more": (0.1, 1)}.items():
        alerts = [alert for row in rows.values() if low <= row["lost"] < high for alert in row["alerts"]]
        heard = [alert for alert in alerts if alert is not None]
        found[words] = {
            "runs": len(alerts), "share": len(heard) / max(len(alerts), 1),
            "median": float(np.median(heard)) if heard else None,
        }  # fmt: skip
    return found


def _beginning(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """How far off the likeliest first image is, in images, and how often the interval holds the true one."""
    found = [one for row in rows.values() for one in row["beginnings"] if one is not None]
    off = np.abs([one[0] for one in found])
    return {
        "median_off": float(np.median(off)), "quantile_90_off": float(np.quantile(off, 0.9)),
        "held": float(np.mean([one[1] for one in found])),
    }  # fmt: skip
