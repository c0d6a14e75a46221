"""Rows of disjoint windows -> verdicts, each counted once, each to be repeated to the bit from its rows.

In: a `RequestLog` and the detector of the model that answered. Out: a `StoredVerdict` for every window of so many
requests of a source, or of clips for so many of all sources, each of which counts once; spot checks, which are not
counted. Read by the service and by people.

A window begins after the last row that was judged and takes the next rows in the order of their ids, whichever service
wrote them: two services behind one database come to the same windows, and who stores a verdict first has judged it.
Windows that overlap, or a look at every minute, would raise more false notices than promised.
"""

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from drift_detector_pipeline.drift.decision import Again, AskAgain, Limits
from drift_detector_pipeline.drift.detecting import AnyVerdict, Detector
from drift_detector_pipeline.drift.kinds import page_of
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import AnyRow, StoredRow, StoredVerdict, once, rows_of
from drift_detector_pipeline.serving.stored_verdicts import (
    again_of,
    as_json_gives,
    as_stored,
    full_window,
    full_windows,
    store,
    stored_verdict,
    verdict_of,
)

# Looks again at the images of these rows, told whether looks changed; None if they are not there any more.
LookAgain = Callable[[Sequence[StoredRow], bool], Again | None]


class Look(NamedTuple):
    """A verdict on some rows that nobody counts."""

    verdict: AnyVerdict
    images: int  # different ones; of clips the verdict counts their sources
    repeated: int  # rows that were left out, as their image had been judged


def nothing_more(rows: Sequence[StoredRow], looks_changed: bool) -> None:
    """A second look where no image was kept."""


def judge_windows(
    log: RequestLog, model_id: int, detector: Detector, *, window: int, look_again: LookAgain = nothing_more,
    ended: Callable[[], bool] = lambda: False,
) -> list[StoredVerdict]:  # fmt: skip
    """Judge every window of `window` rows that is full and was not judged yet; return what was said of each.

    Of several services that judge at once one stores its verdict, and the others return that. Once `ended` says so no
    further window is judged. Raises DataError if the database cannot be used, or scores are not those of this detector.
    """
    found = list[StoredVerdict]()
    full = full_window if detector.pools_sources else full_windows
    while not ended() and (spans := full(log, model_id, window)):
        for source, after, last in spans:
            if ended():
                break
            rows = log.rows(model_id, after + 1, last, source)
            if len(rows) == window:  # else some were deleted just now, and the window lies elsewhere
                found.append(store(log, _judged(rows, detector, look_again)))
    return found


def look_at(rows: Sequence[AnyRow], detector: Detector, ask_again: AskAgain = lambda looks_changed: None) -> Look:
    """Judge any rows, of the log or of images at hand: a spot check, stored nowhere and not counted."""
    chosen = once(rows)
    names: Sequence[str] = [row.request_id for row in chosen]
    names, own = detector.counted(rows_of(chosen, detector), names, [row.source for row in chosen])
    said = detector.check_scores(*own, ask_again=ask_again, names=names)
    return Look(said, len(chosen), len(rows) - len(chosen))


def judge_again(log: RequestLog, verdict_id: int, detector: Detector) -> AnyVerdict:
    """Judge a stored window once more from its rows: the same verdict to the bit.

    What a second look at the images told is taken as it was stored. Raises DataError if rows of the window were
    deleted, ModelError if the detector is another one.
    """
    stored = stored_verdict(log, verdict_id)
    if (own := as_json_gives(detector.about()["reference"])) != stored.detail["reference"]:
        raise ModelError(f"verdict {verdict_id}: judged with the reference {stored.detail['reference']}, not {own}")
    source = None if detector.pools_sources else stored.source
    rows = log.rows(stored.model_id, stored.first_request, stored.last_request, source)
    if len(rows) != stored.images + stored.repeated:
        raise DataError(
            f"verdict {verdict_id}: {len(rows)} of its {stored.images + stored.repeated} rows are left; what is older "
            "than serving.retention_days cannot be judged again, its report stays"
        )
    known = again_of(stored)
    return look_at(rows, _asked_as(stored, detector), lambda looks_changed: known).verdict


def report_of(log: RequestLog, verdict_id: int, detector: Detector) -> str:
    """The report of a stored verdict as HTML: words, numbers, the reference's pictures; none of the window's.

    It needs the stored verdict alone, not its rows.
    """
    stored = stored_verdict(log, verdict_id)
    facts = log.facts_of(stored.model_id)
    window = f"requests {stored.first_request} to {stored.last_request}"
    named = [f"{window} of {stored.source or 'any source'}", f"{stored.repeated} repeated images left out"]
    about_it = {"run": f"{facts.name} {facts.sha256[:12]}", "named": named[: 1 + bool(stored.repeated)]}
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(stored.at))
    return page_of(verdict_of(stored), None, _asked_as(stored, detector), {**about_it, "when": when, "command": []})


def _judged(rows: Sequence[StoredRow], detector: Detector, look_again: LookAgain) -> StoredVerdict:
    chosen = once(rows)
    said, images, repeated = look_at(rows, detector, partial(look_again, chosen))
    found, source = said.worth, "" if detector.pools_sources else rows[0].source
    return StoredVerdict(
        0, time.time(), rows[0].model_id, source, rows[0].id, rows[-1].id, images, repeated, True,
        said.level, said.p, found and found.accuracy, found and found.low, found and found.high,
        found is not None and found.by_copy, as_stored(said, detector),
    )  # fmt: skip


def _asked_as(stored: StoredVerdict, detector: Detector) -> Detector:
    """The same detector under the limits of back then."""
    asked = copy.copy(detector)
    asked.limits = Limits(**stored.detail["limits"])
    return asked
