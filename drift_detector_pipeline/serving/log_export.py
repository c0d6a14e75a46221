"""The request log as Parquet: `make log_export ARGS="serving.database=sqlite:///PATH path=FOLDER"`.

In: a log. Out: `<path>/<date>_<time>/`: requests-<model>.parquet for each model, with scores as a list of float32 whose
names stand in the metadata, and verdicts.parquet. Read by whoever wants to look at it with other tools.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drift_detector_pipeline.commands import refuse_others, values_of
from drift_detector_pipeline.console import log as say
from drift_detector_pipeline.console import progress_bar, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import final_name, from_home, new_folder
from drift_detector_pipeline.serving.database import is_missing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, StoredRow, StoredVerdict, scores_of
from drift_detector_pipeline.serving.stored_verdicts import verdict_pieces

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

DATABASE, PLACE = "sqlite:///models/requests.sqlite", Path("models/log_export")


@exit_status
def main() -> int:
    """Export the log that is named, or the one that `make serve` writes."""
    words = sys.argv[1:]
    refuse_others(words, ("serving.database", "path"), "make log_export")
    given = values_of(words)
    set_up_logging()
    address = given.get("serving.database") or os.environ.get("DATABASE_URL") or DATABASE
    if is_missing(address):
        raise DataError(f"{address}: no log there; make serve writes one, serving.database=... names another")
    requests = RequestLog(address, reading=True)
    try:
        say.info("%s", export_log(requests, Path(from_home(given.get("path", "")) or PLACE)))
    finally:
        requests.close()
    return 0


def export_log(requests: RequestLog, place: Path) -> Path:
    """Write all rows and verdicts into a new folder below `place`; return it.

    Rows are read and written a piece at a time. Raises ConfigError without pyarrow, DataError if the database or the
    disk fails.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ConfigError("log_export: Parquet needs pyarrow; install it: pip install -e .[parquet]") from error
    with new_folder(place) as folder:
        models = {number: requests.facts_of(number) for number in requests.models()}
        total = sum(map(requests.count, models))
        with progress_bar(total=total, title="export", unit=" requests") as bar:
            for number, facts in models.items():
                schema = request_schema(number, facts)
                with _writer(folder / f"requests-{number}.parquet", schema) as file:
                    for rows in requests.pieces(number):
                        file.write_batch(_request_batch(rows, facts, schema))
                        bar.update(len(rows))
        with _writer(folder / "verdicts.parquet", verdict_schema()) as file:
            for verdicts in verdict_pieces(requests):
                file.write_batch(_verdict_batch(verdicts))
    return final_name(folder)


def request_schema(model_id: int, facts: ModelFacts) -> "pa.Schema":
    """Columns of a model's requests; its facts, the names of its scores among them, are the metadata."""
    import pyarrow as pa

    columns = [
        ("id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("request_id", pa.string()), ("source", pa.string()),
        ("image_sha256", pa.binary(32)), ("predicted", pa.int16()), ("label", pa.string()),
        ("probability", pa.float32()), ("milliseconds", pa.float32()), ("shadow", pa.bool_()),
    ]  # fmt: skip
    if facts.scores:
        columns.append(("phi", pa.list_(pa.float32(), len(facts.scores))))
    known = {"model_id": model_id, **facts._asdict()}
    return pa.schema(columns, {name: json.dumps(value) for name, value in known.items()})


def verdict_schema() -> "pa.Schema":
    """Columns of verdicts; `detail` is JSON."""
    import pyarrow as pa

    numbers = ("id", "model_id", "first_request", "last_request", "images", "repeated")
    kinds = dict.fromkeys(numbers, pa.int64()) | {"at": pa.timestamp("us", "UTC")}
    kinds |= dict.fromkeys(("source", "level", "detail"), pa.string()) | dict.fromkeys(
        ("counted", "by_copy"), pa.bool_()
    )
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in StoredVerdict._fields])


@contextmanager
def _writer(path: Path, schema: "pa.Schema") -> Iterator["pq.ParquetWriter"]:
    """Of a file that is open: pyarrow itself opens none whose name is not UTF-8."""
    import pyarrow.parquet as pq

    with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer


def _request_batch(rows: Sequence[StoredRow], facts: ModelFacts, schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    plain = [name for name in schema.names if name in StoredRow._fields and name not in ("at", "phi")]
    columns = {name: [getattr(row, name) for row in rows] for name in plain}
    columns |= {"at": _times(rows), "label": [facts.classes[row.predicted] for row in rows]}
    arrays = {name: pa.array(columns[name], schema.field(name).type) for name in columns}
    if facts.scores:
        scores = scores_of(rows, len(facts.scores))
        arrays["phi"] = pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), len(facts.scores))
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _verdict_batch(verdicts: Sequence[StoredVerdict]) -> "pa.RecordBatch":
    import pyarrow as pa

    schema = verdict_schema()
    columns = {name: [getattr(one, name) for one in verdicts] for name in schema.names}
    columns |= {"at": _times(verdicts), "detail": [json.dumps(one.detail) for one in verdicts]}
    return pa.RecordBatch.from_arrays([pa.array(columns[one.name], one.type) for one in schema], schema=schema)


def _times(found: Sequence[StoredRow] | Sequence[StoredVerdict]) -> list[int]:
    """In whole microseconds since 1970."""
    return [round(1e6 * one.at) for one in found]


if __name__ == "__main__":
    sys.exit(main())
