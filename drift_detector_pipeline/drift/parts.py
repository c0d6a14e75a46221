"""Did all images of a window change, or only some? A window of two kinds of images is judged as two windows.

In: scores of a window's images, and a `Reference`. Out: places of images that belong together; one `Estimate` of many.
Read by the verdict and by asking.py. m: window images, S: scores, Q: looks.

A copy adapts to all images of a window at once. Where one camera of four fails, the mean of good and bad images is like
neither: such a copy agrees with the network on both, and half of what is lost was not seen. So a window is cut where
its images lie in two heaps that have nothing between them, as no change does to all images alike.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.reference import Reference, looks_of, view_of

LEAST = 8  # images of a part, and different ones of which anything can be said
_CUTS = 2  # one after the other, so four parts at most
_EXPLAINED = 0.8  # of the variance along one axis, by which heap an image is in; of a normal distribution it is 0.64
_APART = 4.0  # standard deviations of the training world between both means; two equal heaps in it are 2 apart
_SHRUNK = 0.1  # of the mean variance, added to each


def parts_of(reference: Reference, scores: Float32s) -> list[Indices]:
    """Places of the images that look alike, of m with phi (m, S): all in one part, unless there is a clear gap."""
    view = view_of(reference.learned.parameters)
    usual, own = (looks_of(each, view).astype(np.float64) for each in (reference.scores, scores))
    covariance = np.atleast_2d(np.cov(usual.T))
    covariance += np.eye(len(covariance)) * _SHRUNK * covariance.diagonal().mean()
    units = np.linalg.solve(np.linalg.cholesky(covariance), (own - usual.mean(axis=0)).T).T
    return _cut(units, np.arange(len(units)), _CUTS)


def changed_part(
    reference: Reference, scores: Float32s, has_changed: Callable[[Indices], bool]
) -> Indices | None:  # fmt: skip
    """Places of the images in parts that have changed; None if these are all parts, or none of them."""
    parts = parts_of(reference, scores)
    changed = [part for part in parts if len(parts) > 1 and has_changed(part)]
    return np.sort(np.concatenate(changed)) if 0 < len(changed) < len(parts) else None


def joined(sizes: Sequence[int], found: Sequence[Estimate]) -> Estimate:
    """One estimate from those of parts; unknown if most images are in parts of which nothing is known.

    Bounds add up as if all erred the same way: all rest on the same few images of `fit`.
    """
    if len(found) == 1:
        return found[0]
    shares = np.array(sizes) / sum(sizes)
    values = [[one.accuracy, one.low, one.high, one.likely_loss] for one in found]
    accuracy, low, high, loss = (shares @ np.array(values)).tolist()
    known = float(shares @ [one.known for one in found]) > 0.5
    undone = next((one.undone for one in found if one.undone), "")
    return Estimate(accuracy, low, high, loss, known, by_copy=not undone, undone=undone)


def _cut(units: Float64s, places: Indices, cuts: int) -> list[Indices]:
    above = _heap(units[places]) if cuts and len(places) >= 2 * LEAST else None
    if above is None:
        return [places]
    return [*_cut(units, places[~above], cuts - 1), *_cut(units, places[above], cuts - 1)]


def _heap(units: Float64s) -> npt.NDArray[np.bool_] | None:
    """Which of the images (m, Q) are in the second of two heaps along the axis of most variance; None: one heap."""
    centred = units - units.mean(axis=0)
    along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(along, kind="stable")
    count, first = len(along), np.arange(1, len(along))
    below = np.cumsum(along[order])[:-1] / first  # the mean of so many, and of the others: all add up to zero
    apart = below * count / (count - first)
    between = below * apart * first
    allowed = slice(LEAST - 1, count - LEAST)
    best = int(between[allowed].argmax()) + LEAST - 1
    if between[best] < _EXPLAINED * (along**2).sum() or -apart[best] < _APART:
        return None
    above = np.ones(count, dtype=np.bool_)
    above[order[: best + 1]] = False
    return above
