"""What the request log costs: `python -m drift_detector_pipeline.proof.log_cost ADDRESS ...`, of empty databases.

In: addresses such as sqlite:///PATH and postgresql://.... Out: a table on stdout, and reports/log_cost.json. Processor
time is that of this process, the writer's thread included and a database server's not; the lowest of several tries.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy
from sqlalchemy import text

from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.runs.facts import now
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, Row

ROWS, TRIES, SCORES, WINDOW = 20_000, 5, 40, 256
REPORT = Path("reports/log_cost.json")
_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgresql": "SELECT pg_total_relation_size('request')",
}


@exit_status
def main() -> int:
    """Measure each database in turn."""
    if not sys.argv[1:]:
        raise ConfigError("name empty databases: sqlite:///PATH postgresql://USER@HOST/NAME")
    set_up_logging()
    found = dict(measure_cost(address) for address in sys.argv[1:])
    command = "python -m drift_detector_pipeline.proof.log_cost sqlite:///PATH postgresql://..."
    about = {"when": now(), "command": command, "rows": ROWS, "tries": TRIES, "sqlalchemy": sqlalchemy.__version__}
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, {**about, "cost": found})
    for name, cost in found.items():
        log.info("%s: %s", name, ", ".join(f"{what} {value:.3g}" for what, value in cost.items()))
    log.info("%s", REPORT)
    return 0


def measure_cost(address: str) -> tuple[str, dict[str, float]]:
    """Fill a log several times over and read its newest window: the kind of database, and figures of the best try."""
    requests, rows = RequestLog(address, buffer=ROWS), _rows()
    kind = requests.engine.dialect.name
    model = requests.register(ModelFacts("", "", "", "", "cost", list("abcdefghij"), ["score"] * SCORES))
    if before := requests.count(model):
        raise DataError(f"{address}: {before} rows are there; name an empty database")
    tries = [_fill(requests, model, rows) for _ in range(TRIES)]
    with requests.engine.begin() as connection:
        size = connection.execute(text(_SIZE[kind])).scalar_one()
        connection.execute(text("ANALYZE"))  # as PostgreSQL does by itself within a minute
    reading = min(_seconds(lambda: requests.newest(model, WINDOW, "camera")) for _ in range(TRIES))
    requests.close()
    wall, all_threads, putting = (1e6 * min(one) / ROWS for one in zip(*tries, strict=True))
    return kind, {
        "rows_per_second": 1e6 / wall, "processor_us_a_row": all_threads, "of_it_us_to_put_a_row": putting,
        "bytes_a_row": size / ROWS / TRIES, f"ms_to_read_{WINDOW}": 1000 * reading,
    }  # fmt: skip


def _fill(requests: RequestLog, model: int, rows: list[Row]) -> tuple[float, float, float]:
    """Seconds to log all rows: of the clock, of the processor in all threads, of the thread that puts them."""
    clock, processor, own = time.perf_counter(), time.process_time(), time.thread_time()
    for row in rows:
        requests.put(model, row)
    put = time.thread_time() - own
    if not requests.flush(600) or requests.dropped:
        raise DataError("not all rows were written")
    return time.perf_counter() - clock, time.process_time() - processor, put


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _rows() -> list[Row]:
    scores = np.random.default_rng(0).normal(size=(ROWS, SCORES)).astype("<f4")
    images = [hashlib.sha256(bytes([number])).digest() for number in range(256)]
    return [
        Row(1.7e9, f"{number:036d}", "camera", images[number % 256], number % 10, 0.9, 4.2, scores[number].tobytes())
        for number in range(ROWS)
    ]


if __name__ == "__main__":
    sys.exit(main())
