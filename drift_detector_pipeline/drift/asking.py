"""What is asked of a window after a notice: each of its parts is mended if an inverse fits, else a copy is asked.

In: a `Reference`, a window's crops, and the network. Out: a function for the verdict to call. Read by the detector.
m: window images.
"""

from collections.abc import Callable, Sequence

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.corruptions.faults import undo_fault
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.decision import Again, AskAgain
from drift_detector_pipeline.drift.inverse import undone
from drift_detector_pipeline.drift.parts import LEAST, joined, parts_of
from drift_detector_pipeline.drift.reading import Reading, judging, some_of
from drift_detector_pipeline.drift.reference import Reference, estimate_by_look
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.scores.signals import Forward, Signals, read_signals
from drift_detector_pipeline.drift.second_look import look_again


def asker(
    reference: Reference, reading: Reading, crops_of: Callable[[Sequence[int]], Pixels], forward: Forward
) -> AskAgain:
    """A function that looks again at a window: by an inverse if one fits, else by a copy if its looks changed.

    Each part of a window of which only a part changed is looked at by itself. `crops_of` gives images by their places.
    It raises DataError if the network or its copy gives what does not fit.
    """

    def ask_again(looks_changed: bool) -> Again | None:
        crops, signals = some_of(reading, crops_of, forward)
        with judging():
            if not looks_changed:
                return _mended(reference, crops, signals, forward)
            parts = parts_of(reference, phi(signals, reference.learned.parameters))
            found = [_asked(reference, crops[part], signals.take(part), forward) for part in parts]
        told = [one for one in found if one]
        if len(told) < len(parts):
            return None
        causes = [one.cause for one in told if one.cause]
        accuracy = joined([len(part) for part in parts], [one.accuracy for one in told])
        return Again(accuracy, causes[0] if causes else None)

    return ask_again


def _mended(reference: Reference, crops: Pixels, signals: Signals, forward: Forward) -> Again | None:
    return undone(reference, signals, lambda kind, rows: read_signals(undo_fault(crops[rows], kind, 1), forward))


def _asked(reference: Reference, crops: Pixels, signals: Signals, forward: Forward) -> Again | None:
    """What is known of images that changed alike, or of which none changed."""
    if len({crop.tobytes() for crop in crops}) < LEAST:
        usual = reference.known.accuracy
        return Again(Estimate(usual / 2, 0.0, usual, 1.0, known=False, by_copy=True))
    if found := _mended(reference, crops, signals, forward):
        return found
    by_copy = estimate_by_look(reference, look_again(crops, signals, forward, np.arange(len(crops))), signals)
    return by_copy and Again(by_copy)
