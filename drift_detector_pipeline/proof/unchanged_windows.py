"""Windows in which nothing changed, all the way through the service: false notices, an image's bits, verdicts repeated.

In: an exported model and images that nothing was learned from. Two replicas with one log answer them, in requests of 1
to WINDOW images and in batches with whoever asks at the same time. Out: counts, from the rows and verdicts in the log.
False notices are counted over windows and references that are drawn anew each time from the log's rows: all windows
that one reference judges share its luck. Read by endurance.py.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.detecting import Detector
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.proof.askers import until
from drift_detector_pipeline.proof.servers import service
from drift_detector_pipeline.serving.engine import Engine, open_engine
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import StoredRow
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts, verdict_of
from drift_detector_pipeline.serving.verdicts import judge_again

WINDOW, AT_ONCE, REPLICAS = 32, 4, 2
OF_A_REFERENCE = 5  # windows that are compared with the same reference, whose labellings take longer than they do
TOGETHER = (1, 2, 3, 5, 8, 16, 32)  # images of a request
_JUDGED_S = 600.0
Figures = dict[str, Any]


class Window(NamedTuple):
    """Different images, and which requests they come in."""

    requests: list[list[int]]  # places of images
    replica: int


def windows(folder: Path, contents: Sequence[bytes], place: Path, asked: int, count: int) -> Figures:
    """Have `asked` windows answered and judged; count false notices in `count` windows of logged rows."""
    engine, images = open_engine(folder), len(contents)
    if engine.detector is None or images < WINDOW:
        raise DataError(f"{folder}: no drift reference, or fewer than {WINDOW} images")
    database = place / f"windows_{folder.name}.sqlite"
    words = f"export.path={folder}", f"serving.window={WINDOW}"
    with (
        closing(RequestLog(f"sqlite:///{database}")) as log,
        service(database, *words) as one,
        service(database, *words) as other,
    ):
        different = asyncio.run(_asked([one.address, other.address], contents, asked))
        asyncio.run(until(lambda: len(newest_verdicts(log, count=asked + 1)) == asked, _JUDGED_S))
        rows = [row for piece in log.pieces(log.models()[0]) for row in piece]
        verdicts = newest_verdicts(log, count=asked)
        otherwise = sum(judge_again(log, one.id, engine.detector) != verdict_of(one) for one in verdicts)
    p = drawn_anew(engine.detector, rows, count)
    alpha = engine.detector.limits.alpha
    return {
        "rows": len(rows), "images": images, "requests_answered_otherwise": different,
        "rows_with_other_bits": _with_other_bits(engine, contents, rows),
        "verdicts": len(verdicts), "verdicts_repeated_otherwise": otherwise,
        "windows": count, "images_of_a_window": WINDOW, "alpha": alpha,
        "false_notices": sum(one <= alpha for one in p), "lowest_p": min(p),
    }  # fmt: skip


def drawn(images: int, count: int, seed: int = 0) -> Iterator[Window]:
    """So many windows, each of WINDOW of the images; every image once before one comes again, if they come out even."""
    rng, order = np.random.default_rng(seed), list[int]()
    for number in range(count):
        order = order if len(order) >= WINDOW else rng.permutation(images).tolist()
        left, order, requests = order[:WINDOW], order[WINDOW:], list[list[int]]()
        while left:
            size = int(rng.choice(TOGETHER))
            requests.append(left[:size])
            left = left[size:]
        yield Window(requests, number % REPLICAS)


async def _asked(addresses: Sequence[str], contents: Sequence[bytes], count: int) -> int:
    """Ask all of it; how many requests had another answer for an image than the first one about it.

    Each client has a source of its own at each replica, whose rows are in order in the log: its windows are these.
    """
    first, different, waiting = dict[int, dict[str, Any]](), 0, drawn(len(contents), count)
    with progress_bar(total=count, title="windows asked about", unit=" windows") as bar:

        async def one(number: int, clients: Sequence[httpx.AsyncClient]) -> None:
            nonlocal different
            for window in waiting:
                for places in window.requests:
                    answer = await clients[window.replica].post(
                        "/predict",
                        files=[("images", (f"{place}.png", contents[place])) for place in places],
                        headers={"X-Source": f"client-{number}-at-{window.replica}"},
                    )
                    said = answer.raise_for_status().json()["answers"]
                    different += any(first.setdefault(*pair) != pair[1] for pair in zip(places, said, strict=True))
                bar.update()

        left, right = (httpx.AsyncClient(base_url=address, timeout=60) for address in addresses)
        async with left, right:
            await asyncio.gather(*(one(number, [left, right]) for number in range(AT_ONCE)))
    return different


def _with_other_bits(engine: Engine, contents: Sequence[bytes], rows: Sequence[StoredRow]) -> int:
    """How many rows have other bits than the same file gives here, in a third process, for their image alone."""
    alone = dict[bytes, tuple[bytes, float, int]]()
    for content in contents:
        said = engine.answer(engine.prepare(content)[None])
        assert said.phi is not None
        chances = said.probabilities[0]
        alone[hashlib.sha256(content).digest()] = said.phi[0].tobytes(), float(chances.max()), int(chances.argmax())
    return sum((row.phi, row.probability, row.predicted) != alone[row.image_sha256] for row in rows)


def drawn_anew(detector: Detector, rows: Sequence[StoredRow], count: int) -> list[float]:
    """The p-values of windows and references of as many images as ever, both drawn from rows of unchanged images."""
    assert isinstance(detector, DriftDetector)
    unique = {row.image_sha256: row for row in rows}
    scores, predicted, _ = detector.rows_from(
        [row.phi for row in unique.values()], np.array([row.predicted for row in unique.values()])
    )
    found, size = list[float](), len(detector.reference.scores)
    if len(scores) < size + WINDOW:
        raise DataError(
            f"{len(scores)} images in the log, and a reference has {size}, a window {WINDOW}; ask about more"
        )
    with progress_bar(total=count, title="unchanged windows", unit=" windows") as bar:
        for seed in range(-(-count // OF_A_REFERENCE)):
            rng = np.random.default_rng(seed)
            ref, rest = np.split(rng.permutation(len(scores)), [size])
            own = DriftDetector(
                detector.reference._replace(scores=scores[ref], predicted=predicted[ref]), detector.forward,
                detector.classes, detector.preparation, identity=detector.identity, thumbnails=[], facts=detector.facts,
            )  # fmt: skip
            for _ in range(min(OF_A_REFERENCE, count - len(found))):
                window = rng.permutation(rest)[:WINDOW]
                p = own.check_scores(scores[window], predicted[window]).p
                assert p is not None
                found.append(p)
                bar.update()
    return found
