"""Does a window of images look like the reference? One exact p-value from several statistics, by permutation.

In: scores (n, S) and predicted classes (n,) of the reference, the same (m, ...) of a window. Out: `WindowTest`.
n: reference images, m: window images, S: scores, K: classes, R: random labellings. Read by the verdict and the study.

Exact means: if the n + m images are exchangeable, P(p <= alpha) <= alpha, averaged over references and labellings,
whatever the scores are (Phipson & Smyth 2010; the smallest of several ranks is a statistic like any other, Westfall &
Young 1993). Every statistic is computed anew for every labelling, and its scale comes from all n + m rows or from
images that are neither. With a margin (promise.py) the window's own difference counts for less than the labellings': p
is larger than the exact one, so that one reference, too, keeps alpha.
"""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.promise import Blocks, margin_of

STATISTICS = ("distance", "largest", "classes", "features", "strangers")
# Shares of p: strangers are the hardest to see and get two; features explain and do not alarm, for with strangers
# beside them they found nothing more and took their share from the others.
WEIGHTS = (1, 1, 1, 0, 2)
Shifts = tuple[Float64s, npt.NDArray[np.bool_]]  # of each score: how far, and whether more than chance moves it
_FEATURES = STATISTICS.index("features")
_POWERS = (1, 0.5, 1, 1, 0.5)  # of a squared difference
_CELLS = 2**22  # so many random numbers at a time: 32 MB
_ROWS = 2**12  # of a window at a time, whole bytes of labellings


class Scale(NamedTuple):
    """The units of the scores, learned on images that are neither reference nor window."""

    centre: Float32s  # (S,)
    spread: Float32s  # (S,) standard deviations
    whitener: Float32s  # (S, S) centred scores @ whitener have the identity as covariance, in each of two blocks
    features: int  # so many of the S columns, before `strangers`, have a distance of their own
    strangers: int = 0  # of the last so many columns only the mean counts, and only if it rises
    weights: tuple[int, ...] = WEIGHTS  # of STATISTICS; that of strangers counts only where there are any


class WindowTest(NamedTuple):
    """What a test says."""

    p: float  # in (0, 1], with the margin
    p_values: dict[str, float]  # that each of STATISTICS would have alone, without it
    p_average: float  # without it: exact, averaged over references


class Labellings(NamedTuple):
    """A reference and R + 1 ways to call m of n + m rows the window; the first way is the observed one."""

    size: int  # m
    scale: Scale
    classes: int  # K
    chosen: npt.NDArray[np.uint8]  # (R + 1, m / 8) bits of window rows, set where a row is called window
    sums: Float64s  # (R + 1, 2 S + K) columns of reference rows that are called window, added up
    total: Float64s  # (2 S + K,) of all reference rows
    reference: int  # n
    margin: float = 1.0  # on the window's squared difference; 1: the exact test


def scale_of(
    centre: Float32s, covariance: Float32s, features: int = 0, strangers: int = 0, weights: tuple[int, ...] = WEIGHTS
) -> Scale:
    """Turn a mean (S,) and an invertible covariance (S, S) into units; `features` columns are a block of their own.

    One distance of all columns would find less: each column that a change leaves alone hides what moved in the others.
    """
    spread = np.sqrt(covariance.diagonal()).astype(np.float64)
    first, last = len(centre) - features - strangers, len(centre) - strangers
    whitener = np.zeros(covariance.shape)  # strangers are in no distance
    for block in (slice(0, first), slice(first, last)):
        values, vectors = np.linalg.eigh(covariance[block, block] / np.outer(spread[block], spread[block]))
        whitener[block, block] = vectors / np.sqrt(np.maximum(values, 1e-6)) / spread[block, None]
    return Scale(centre, spread.astype(np.float32), whitener.astype(np.float32), features, strangers, weights)


def labellings_of(
    scores: Float32s, predicted: Labels, classes: int, size: int, scale: Scale, permutations: int = 999, seed: int = 0,
    *, kept_alpha: float | None = None,
) -> Labellings:  # fmt: skip
    """Prepare tests of windows of `size` images; all windows of that size share the labellings.

    With `kept_alpha` a margin is added, such that this very reference keeps its rate of p <= kept_alpha: promise.KEPT
    of all references do. Raises ValueError if a number is not positive.
    """
    if min(len(scores), size, permutations) < 1:
        raise ValueError(f"expected images and permutations, got {len(scores)}, {size}, {permutations}")
    columns = _columns(scores, predicted, classes, scale)
    rows = len(scores) + size
    observed = np.concatenate([np.zeros(len(scores)), np.ones(size)])[None]
    sums, chosen = list[Float64s](), list[npt.NDArray[np.uint8]]()
    for part in chain([observed], _random_labellings(rows, size, permutations, np.random.default_rng(seed))):
        sums.append(part[:, : len(scores)] @ columns)
        chosen.append(np.packbits(part[:, len(scores) :] > 0, axis=1))
    margin = 1.0 if kept_alpha is None else margin_of(_blocks(columns, scale), size, kept_alpha, permutations)
    return Labellings(
        size, scale, classes, np.concatenate(chosen), np.concatenate(sums), columns.sum(axis=0), len(scores), margin
    )


def test_window(labellings: Labellings, scores: Float32s, predicted: Labels) -> WindowTest:
    """Test a window (m, S) with predicted classes (m,). Raises ValueError for another number of images."""
    if len(scores) != labellings.size:
        raise ValueError(f"expected a window of {labellings.size} images, got {len(scores)}")
    inside, total = labellings.sums, labellings.total
    for start in range(0, len(scores), _ROWS):
        rows = slice(start, start + _ROWS)
        columns = _columns(scores[rows], predicted[rows], labellings.classes, labellings.scale)
        bits = labellings.chosen[:, start // 8 : (start + _ROWS) // 8]
        called = np.unpackbits(bits, axis=1, count=len(columns)).astype(np.float64)
        inside, total = inside + called @ columns, total + columns.sum(axis=0)
    return combine(_statistics(inside, total, labellings), labellings.margin, labellings.scale.weights)


def combine(statistics: Float64s, margin: float = 1.0, weights: tuple[int, ...] = WEIGHTS) -> WindowTest:
    """Turn statistics (R + 1, J) of all labellings, the observed first, into p-values; ties count against it."""
    observed, others = statistics[0], statistics[1:]
    among = np.stack([_at_least(column) for column in others.T], axis=1)
    p, ranks = _smallest_rank(observed, others, among, weights)
    alone = dict(zip(STATISTICS, (ranks / len(statistics)).tolist(), strict=True))
    if margin == 1:
        return WindowTest(p, alone, p)
    less = np.round(observed / margin ** np.array(_POWERS), 9)
    return WindowTest(_smallest_rank(less, others, among, weights)[0], alone, p)


def appearance(
    reference: tuple[Float32s, Labels],
    window: tuple[Float32s, Labels],
    scale: Scale,
    permutations: int = 999,
    seed: int = 0,
) -> tuple[float | None, list[int]]:
    """Test looks apart from the class mix: labels are permuted within each predicted class only.

    The statistic is the squared length of the whitened difference of means, averaged over classes: what moves all
    classes one way adds up, opposite ways cancel. Exact if the images of each predicted class keep their distribution;
    under a change of class mix only about so. Returns p, None if no class can be compared, and the classes with fewer
    than 2 images on a side, which are left out.
    """
    rng = np.random.default_rng(seed)
    whitened = [_whitened(scores, scale) for scores, _ in (reference, window)]
    difference = np.zeros((permutations + 1, len(scale.centre)))
    left_out, weight = list[int](), 0.0
    for label in np.union1d(reference[1], window[1]).tolist():
        old, new = whitened[0][reference[1] == label], whitened[1][window[1] == label]
        if min(len(old), len(new)) < 2:
            left_out.append(label)
            continue
        share = len(old) * len(new) / (len(old) + len(new))
        difference += share * _differences(old, new, permutations, rng)
        weight += share
    if weight == 0:
        return None, left_out
    distance = np.round((difference**2).sum(axis=1), 9)
    return float(_at_least(distance)[0] / len(distance)), left_out


def shifts(reference: Float32s, window: Float32s, scale: Scale) -> Shifts:
    """How far each score's mean moved from reference (n, S) to window (m, S), in standard deviations: (S,).

    And whether that is more than chance does to any of the S in one of twenty windows (normal, Bonferroni): to say what
    moved, not whether something did.
    """
    moved = window.mean(axis=0, dtype=np.float64) - reference.mean(axis=0, dtype=np.float64)
    error = np.concatenate([reference, window]).std(axis=0) * np.sqrt(1 / len(reference) + 1 / len(window))
    return moved / scale.spread, np.abs(moved) > -ndtri(0.025 / reference.shape[1]) * error


def _smallest_rank(
    observed: Float64s, others: Float64s, among: npt.NDArray[np.int64], weights: tuple[int, ...]
) -> tuple[float, npt.NDArray[np.int64]]:
    """The p of the smallest of a labelling's ranks, each divided by its weight, and the ranks (J,) of the observed one.

    `others`: the statistics (R, J) of the other labellings, `among`: their ranks without the observed one.
    """
    ranks, counted = 1 + (others >= observed).sum(axis=0), np.flatnonzero(weights)
    shares = np.array(weights)[counted]
    theirs = among[:, counted] + (observed >= others)[:, counted]
    smallest = (theirs / shares).min(axis=1)
    return float((1 + (smallest <= (ranks[counted] / shares).min()).sum()) / (1 + len(others))), ranks


def _blocks(columns: Float64s, scale: Scale) -> Blocks:
    """Which columns of a reference go into which statistic."""
    count = len(scale.centre)
    last = count - scale.strangers
    first = last - scale.features
    classes = columns[:, 2 * count :] / np.sqrt(np.maximum(columns[:, 2 * count :].mean(axis=0), 1e-12))
    blocks = columns[:, :first], classes, columns[:, first:last] * bool(scale.weights[_FEATURES])
    squared = [part for part in blocks if part.size and np.ptp(part, axis=0).any()]
    standard = columns[:, count : 2 * count]
    return Blocks(squared, standard[:, :last], standard[:, last:], WEIGHTS[-1])


def _columns(scores: Float32s, predicted: Labels, classes: int, scale: Scale) -> Float64s:
    """Whitened scores, standardised scores, classes as 0 and 1: (N, 2 S + K); their means are all that is needed."""
    standard = (scores - scale.centre).astype(np.float64) / scale.spread
    return np.concatenate([_whitened(scores, scale), standard, np.eye(classes)[predicted]], axis=1)


def _whitened(scores: Float32s, scale: Scale) -> Float64s:
    return np.asarray((scores - scale.centre).astype(np.float64) @ scale.whitener)


def _statistics(inside: Float64s, total: Float64s, labellings: Labellings) -> Float64s:
    """STATISTICS of each labelling (R + 1, 5) from the sums of what it calls window."""
    old, new = labellings.reference, labellings.size
    count = len(labellings.scale.centre)
    difference = inside / new - (total - inside) / old
    expected = np.maximum(total[2 * count :] / (old + new), 1e-12)
    last = count - labellings.scale.strangers
    whitened, first = difference[:, :last] ** 2, last - labellings.scale.features
    distance, features = whitened[:, :first].sum(axis=1), whitened[:, first:].sum(axis=1)
    largest = np.abs(difference[:, count : count + last]).max(axis=1)
    classes = (difference[:, 2 * count :] ** 2 / expected).sum(axis=1)
    strangers = difference[:, count + last : 2 * count].sum(axis=1)
    statistics = np.stack([distance, largest, classes, features, strangers], axis=1)
    return np.round(statistics, 9)  # equal but for the order of adding is equal


def _random_labellings(rows: int, size: int, count: int, rng: np.random.Generator) -> Iterator[Float64s]:
    """Random subsets of `size` of `rows` as 0 and 1, in parts of (a few, rows), `count` in all."""
    step = max(1, _CELLS // rows)
    for start in range(0, count, step):
        keys = rng.random((min(step, count - start), rows))  # in 53 bits: no two are equal
        part = np.zeros(keys.shape)
        np.put_along_axis(part, np.argpartition(keys, size - 1, axis=1)[:, :size], 1, axis=1)
        yield part


def _differences(old: Float64s, new: Float64s, count: int, rng: np.random.Generator) -> Float64s:
    """Differences of the means, (count + 1, S): as observed, then with labels permuted."""
    both = np.concatenate([old, new])
    total = both.sum(axis=0)
    drawn = [part @ both for part in _random_labellings(len(both), len(new), count, rng)]
    inside = np.concatenate([new.sum(axis=0)[None], *drawn])
    return np.asarray(inside / len(new) - (total - inside) / len(old))


def _at_least(values: Float64s) -> npt.NDArray[np.int64]:
    """How many of all values are at least as large as each."""
    order = np.argsort(values)
    ordered = values[order]
    found = np.empty(len(values), dtype=np.int64)
    found[order] = len(values) - np.searchsorted(ordered, ordered, side="left")  # sorted questions are quick ones
    return found
