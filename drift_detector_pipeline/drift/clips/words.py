"""A verdict on clips in sentences: what is counted in it are sources.

In: a `Verdict` whose rows are sources. Out: sentences. Read by the report and the command.
"""

from typing import Any

from drift_detector_pipeline.drift.clips.groups import LEAST
from drift_detector_pipeline.drift.detecting import Words
from drift_detector_pipeline.drift.verdict import Verdict
from drift_detector_pipeline.drift.verdict_words import as_json, from_json, summary

_THINGS = "sources of clips"
_ONCE = "Each source counts once, by the mean of its clips and their frames, for these are alike."


def clip_summary(verdict: Verdict) -> list[str]:
    """The verdict in plain sentences, the most important first."""
    if verdict.p is None:
        return [_too_few(verdict.images)]
    first, *others = summary(verdict, _THINGS)
    return [first, _ONCE, *others]


def clip_verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain values, words included; `images` are sources."""
    return as_json(verdict) | {"summary": clip_summary(verdict)}


def _too_few(sources: int) -> str:
    return (
        f"Drift of clips is told from {LEAST} sources or more, and these come from {sources}: clips of one source are "
        "alike. Collect clips of other cameras, places or days, and name what each was taken from (to a service by the "
        "header X-Source)."
    )


CLIP_WORDS = Words("accuracy", clip_summary, clip_verdict_as_json, from_json, things=_THINGS)
