"""A check that cannot be made does not hold, and spoils no other; what it finds stands in its row."""

import time
from pathlib import Path

import torch

from drift_detector_pipeline.proof.gpu_check import SECONDS, Check, Place, _row
from drift_detector_pipeline.runs.machine import Machine

PLACE = Place(Path(), Machine(torch.device("cpu"), "fp32", 1, 0, 1))


def broken(place: Place) -> tuple[bool, dict[str, str]]:
    raise RuntimeError("CUDA error: out of memory")


def test_a_check_that_fails_says_why_and_does_not_hold() -> None:
    row = _row(Check("memory", broken), PLACE, time.monotonic())
    assert (row["check"], row["holds"], row["error"]) == ("memory", False, "RuntimeError: CUDA error: out of memory")


def test_what_was_found_stands_in_the_row() -> None:
    row = _row(Check("bits", lambda place: (True, {"device": place.machine.device.type})), PLACE, time.monotonic())
    assert (row["holds"], row["device"]) == (True, "cpu")


def test_after_eight_minutes_nothing_more_is_begun() -> None:
    row = _row(Check("late", broken), PLACE, time.monotonic() - SECONDS - 1)
    assert row["holds"] is None and "480 s" in row["not tried"]
