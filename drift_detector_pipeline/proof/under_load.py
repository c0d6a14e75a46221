"""Swaps, SIGTERMs and SIGKILLs while clients ask: who is lost, who is answered by a wrong model, what the log has.

In: exported models and images' bytes. Out: counts. Every service is a process of its own, as `make serve` starts it.
Read by endurance.py.
"""

import asyncio
import shutil
import signal
import sqlite3
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.proof.askers import Asked, Seen, ask_during, until
from drift_detector_pipeline.proof.servers import Server, service
from drift_detector_pipeline.release.registry import promote, register, rollback
from drift_detector_pipeline.serving.engine import open_engine

DRAIN_S = 0.2
ASKED_S = (0.1, 0.7)  # so long clients ask, from the first answer on, before a signal comes
Figures = dict[str, Any]


class Step(NamedTuple):
    """A swap: from when until when either model may answer, and which one answers after that."""

    begun: float
    done: float
    model: str


def swap(folders: Sequence[Path], contents: Sequence[bytes], place: Path, count: int) -> Figures:
    """Let two models be champion in turn, `count` times: each is promoted, or rolled back to, once the other answers.

    `stale`: answers by the model before, to requests that were begun after /model named the new one.
    """
    models, database = place / "models", place / "swaps.sqlite"
    names = [register(folder, models) for folder in folders]
    promote(names[0], why="the first", place=models)
    known = dict(answers_of(folder, contents) for folder in folders)
    with service(database, f"serving.models_path={models}") as server:
        started = server.megabytes()
        seen, steps = asyncio.run(ask_during(_swapping(models, names, count, server), server.address, contents))
        ended = server.megabytes()
    wrong = sum(_answer_of(one) != known[one.said["model"]][one.number] for one in seen.answered)
    return {
        "swaps": len(steps), "requests": len(seen.answers) + len(seen.lost) + seen.never_accepted,
        "lost": len(seen.lost) + seen.never_accepted, "refused": len(seen.answers) - len(seen.answered),
        "wrong_model": wrong, "stale": count_stale(seen.answered, steps),
        "rows_missing": len(unlogged(seen.answered, logged(database))),
        "by_model": dict(Counter(one.said["model"] for one in seen.answered)),
        "megabytes_before_and_after": [started, ended],
    }  # fmt: skip


def answers_of(folder: Path, contents: Sequence[bytes]) -> tuple[str, list[tuple[str, float]]]:
    """A model's name, and its label and probability for each image, one image at a time."""
    engine = open_engine(folder)
    chances = [engine.answer(engine.prepare(content)[None]).probabilities[0] for content in contents]
    return engine.model, [(engine.artefact.classes[row.argmax()], float(row.max())) for row in chances]


def _answer_of(one: Asked) -> tuple[str, float]:
    said: Mapping[str, Any] = one.said["answers"][0]
    return said["label"], said["probability"]


def count_stale(answers: Sequence[Asked], steps: Sequence[Step]) -> int:
    """Answers by another model than that of the last step, unless the next step had begun before they came."""
    dones, found = [step.done for step in steps], 0
    for one in answers:
        last = bisect_right(dones, one.begun) - 1
        settled = last >= 0 and (last + 1 == len(steps) or one.ended <= steps[last + 1].begun)
        found += settled and one.said["model"] != steps[last].model
    return found


async def _swapping(models: Path, names: Sequence[str], count: int, server: Server) -> list[Step]:
    steps = list[Step]()
    with progress_bar(total=count, title="swaps", unit=" swaps") as bar:
        async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:
            for number in range(count):
                begun = time.monotonic()
                wanted = await asyncio.to_thread(_exchange, models, names[1], back=bool(number % 2))
                while (answering := (await client.get("/model")).json())["version"] != wanted:
                    await asyncio.sleep(0.05)
                steps.append(Step(begun, time.monotonic(), answering["model"]))
                bar.update()
    return steps


def _exchange(models: Path, name: str, *, back: bool) -> str:
    if back:
        return rollback(why="back again", place=models).version
    return promote(name, why="in turn", force=True, place=models).version


def stop(folder: Path, contents: Sequence[bytes], place: Path, count: int) -> Figures:
    """Start a service, ask it, and send it SIGTERM at a random moment, `count` times; all have one log."""
    database, rng, statuses = place / "stops.sqlite", np.random.default_rng(0), Counter[int]()
    answered, lost, refused, failed = list[Asked](), 0, 0, 0
    with progress_bar(total=count, title="SIGTERM", unit=" signals") as bar:
        for _ in range(count):
            with service(database, f"export.path={folder}", f"serving.drain_s={DRAIN_S}") as server:
                told = _signalled(server, signal.SIGTERM, rng, seen := Seen())
                _, (status, _) = asyncio.run(ask_during(told, server.address, contents, seen=seen))
            statuses[status] += 1
            answered, lost = answered + seen.answered, lost + len(seen.lost)
            refused += len(seen.answers) - len(seen.answered)
            failed += sum(one.status not in (200, 503) for one in seen.answers)
            bar.update()
    return {
        "signals": count, "answered": len(answered), "lost": lost, "refused": refused, "refused_but_not_by_503": failed,
        "rows_missing": len(unlogged(answered, logged(database))),
        "exit_statuses": {str(status): times for status, times in sorted(statuses.items())},
    }  # fmt: skip


def kill(folder: Path, contents: Sequence[bytes], place: Path, count: int) -> Figures:
    """The same with SIGKILL: how many answers are not in the log, and how long before the kill they were given.

    Every service goes on with the log that the one before left. After every kill a copy is looked at: whoever opens
    the log itself repairs it, and that is for the next service to do.
    """
    database, rng = place / "kills.sqlite", np.random.default_rng(1)
    answered, damaged, rows, seconds = 0, 0, list[int](), list[float]()
    with progress_bar(total=count, title="SIGKILL", unit=" signals") as bar:
        for _ in range(count):
            with service(database, f"export.path={folder}") as server:
                told = _signalled(server, signal.SIGKILL, rng, seen := Seen())
                _, (_, at) = asyncio.run(ask_during(told, server.address, contents, seen=seen))
            found, known = _of_a_copy(database)
            damaged += found != "ok"
            missing = unlogged(seen.answered, known)
            answered += len(seen.answered)
            rows.append(len(missing))
            seconds.append(max([0.0, *(at - one.ended for one in missing)]))
            bar.update()
    return {
        "signals": count, "answered": answered, "damaged_logs": damaged,
        "rows_lost_at_most": max(rows), "rows_lost": sum(rows), "seconds_lost_at_most": max(seconds),
    }  # fmt: skip


async def _signalled(server: Server, number: signal.Signals, rng: np.random.Generator, seen: Seen) -> tuple[int, float]:
    """Some time after the first answer; the exit status, and when the signal was sent."""
    await until(lambda: bool(seen.answers))
    await asyncio.sleep(rng.uniform(*ASKED_S))
    return await server.end(number)


def unlogged(answered: Sequence[Asked], known: Set[str]) -> list[Asked]:
    """The answers whose requests are not among those that have a row."""
    return [one for one in answered if one.said["request_id"] not in known]


def _of_a_copy(database: Path) -> tuple[str, set[str]]:
    """What SQLite says of a log, and the requests that have a row; the log and what lies beside it stay as they are."""
    with tempfile.TemporaryDirectory() as folder:
        for path in database.parent.glob(f"{database.name}*"):
            shutil.copy(path, folder)
        copy = Path(folder, database.name)
        found = integrity(copy)
        return found, logged(copy) if found == "ok" else set()


def logged(database: Path) -> set[str]:
    """The requests that have a row, by their ids."""
    with closing(sqlite3.connect(database)) as opened:
        return {name for (name,) in opened.execute("SELECT request_id FROM request")}


def integrity(database: Path) -> str:
    """What SQLite says of a log: ok, or what is damaged."""
    try:
        with closing(sqlite3.connect(database)) as opened:
            return "; ".join(line for (line,) in opened.execute("PRAGMA integrity_check"))
    except sqlite3.DatabaseError as error:
        return str(error)
