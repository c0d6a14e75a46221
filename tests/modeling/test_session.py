"""What a checkpoint says of a run's progress is believed only as far as it can be."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.modeling.session import Progress, restored
from drift_detector_pipeline.runs.tracking.tracker import columns
from drift_detector_pipeline.tasks.headline import ACCURACY

ROW = dict.fromkeys(columns(ACCURACY), 1)
WHOLE = asdict(Progress("2026-01-01T00:00:00+00:00", step=7, loss_sum=3, seconds=1.5, history=[ROW]))
LATER = {"timed_steps", "timed_seconds"}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in WHOLE.items() if key != name}


def test_what_was_saved_comes_back_also_without_what_came_later() -> None:
    assert asdict(restored(WHOLE, Path("run"), ACCURACY)) == WHOLE
    early = {key: value for key, value in WHOLE.items() if key not in LATER}
    assert restored(early, Path("run"), ACCURACY).step == 7


@pytest.mark.parametrize(
    ("saved", "wrong"),
    [
        *((without(name), name) for name in WHOLE if name not in LATER),
        ({**WHOLE, "step": "7"}, "step"),
        ({**WHOLE, "history": None}, "history"),
        ({**WHOLE, "history": [{**ROW, "epoch": 2}, {"epoch": 1}]}, "a row of history"),
        ({**WHOLE, "more": 1}, "more"),
        ({}, "started"),
    ],
)
def test_a_progress_that_lacks_a_part_is_one_sentence(saved: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ResumeError, match=f"^run/checkpoints: cannot be gone on from, .* has no {wrong} that is known"):
        restored(saved, Path("run"), ACCURACY)
