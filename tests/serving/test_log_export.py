"""The log as Parquet: everything is in it, read with another tool."""

import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from answered import FACTS, facts_of, row, rows_of
from conftest import ROOT
from small_world import model as model_of_the_world
from small_world import world

from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.serving import log_export, request_log
from drift_detector_pipeline.serving.log_export import export_log
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.verdicts import judge_windows

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: pip install -e .[parquet]")


def test_rows_and_scores_come_out_as_they_went_in_a_piece_at_a_time(database, tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "PIECE", 10)
    put = [
        row(number, "door", at=1.7e9 + number / 4, phi=np.float32([number, 0.1, -1]).tobytes())._replace(
            shadow=number % 3 == 0
        )
        for number in range(25)
    ]
    with closing(RequestLog(database)) as log:
        model = log.register(FACTS)
        other = log.register(FACTS._replace(scores=[], name="without reference"))
        for one in put:
            log.put(model, one)
        log.put(other, row(99, phi=b""))
        log.flush()
        folder = export_log(log, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"requests-{model}.parquet", f"requests-{other}.parquet", "verdicts.parquet"
    ]  # fmt: skip
    file = parquet.ParquetFile(folder / f"requests-{model}.parquet")
    assert file.num_row_groups == 3
    table = file.read()
    assert str(table.schema.field("phi").type) == "fixed_size_list<element: float>[3]"
    assert json.loads(table.schema.metadata[b"scores"]) == FACTS.scores
    assert json.loads(table.schema.metadata[b"name"]) == "stripes"
    for name in ("request_id", "source", "image_sha256", "predicted", "probability", "milliseconds", "shadow"):
        assert table[name].to_pylist() == [getattr(one, name) for one in put], name
    assert table["phi"].to_pylist() == [np.frombuffer(one.phi, "<f4").tolist() for one in put]
    assert table["label"].to_pylist() == [FACTS.classes[one.predicted] for one in put]
    assert table["at"].to_pylist() == [datetime.fromtimestamp(one.at, UTC) for one in put]
    without = parquet.read_table(folder / f"requests-{other}.parquet")
    assert "phi" not in without.column_names and without["request_id"].to_pylist() == ["r99"]


def test_verdicts_come_out_with_their_detail(small_detector_folder, tmp_path):
    detector = DriftDetector.load(small_detector_folder, model_of_the_world)
    with closing(RequestLog(f"sqlite:///{tmp_path}/log.sqlite")) as log:
        model = log.register(facts_of(detector))
        for one in rows_of(world(64, 1)[0], detector):
            log.put(model, one)
        log.flush()
        found = judge_windows(log, model, detector, window=32)
        table = parquet.read_table(export_log(log, tmp_path) / "verdicts.parquet")
    for name in ("id", "source", "first_request", "last_request", "level", "p", "accuracy", "by_copy", "counted"):
        assert table[name].to_pylist() == [getattr(one, name) for one in found], name
    assert [json.loads(detail) for detail in table["detail"].to_pylist()] == [one.detail for one in found]


def test_the_command_says_where_it_wrote_and_what_it_takes(tmp_path, call_main):
    address = f"sqlite:///{tmp_path}/log.sqlite"
    missing = call_main("serving.log_export", f"serving.database={address}")
    assert missing.returncode == 1 and "no log there; make serve writes one" in missing.stderr
    with closing(RequestLog(address)) as log:
        log.put(log.register(FACTS), row(1))
    done = call_main("serving.log_export", f"serving.database={address}", f"path={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "out").iterdir()
    assert str(folder) in done.stdout
    wrong = call_main("serving.log_export", "serving.databse=x")
    assert wrong.returncode == 1 and "did you mean serving.database=x?" in wrong.stderr


def test_a_log_and_a_folder_below_a_tilde_are_those_of_the_home_folder(tmp_path, monkeypatch, call_main):
    monkeypatch.setenv("HOME", str(tmp_path))
    RequestLog(f"sqlite:///{tmp_path}/log.sqlite").close()
    done = call_main("serving.log_export", "serving.database=sqlite:///~/log.sqlite", "path=~/out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1 and not (tmp_path / "~").exists()


@pytest.mark.slow
def test_a_folder_whose_name_is_no_utf8_is_written_like_any_other(tmp_path, call_main):
    RequestLog(f"sqlite:///{tmp_path}/log.sqlite").close()
    place = f"{tmp_path}/out\udcff"
    said = call_main("serving.log_export", f"serving.database=sqlite:///{tmp_path}/log.sqlite", f"path={place}")
    assert said.returncode == 0, said.stderr
    assert [path.name for path in Path(place).glob("*/*")] == ["verdicts.parquet"]


def test_without_pyarrow_it_says_which_extra(tmp_path):
    with closing(RequestLog(f"sqlite:///{tmp_path}/log.sqlite")):
        pass
    code = f"""import sys; sys.modules["pyarrow"] = None
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.serving import log_export
sys.argv = ["log_export", "serving.database=sqlite:///{tmp_path}/log.sqlite", "path={tmp_path}/out"]
sys.exit(log_export.main())"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (
        1, "error: log_export: Parquet needs pyarrow; install it: pip install -e .[parquet]"
    )  # fmt: skip
    assert not (tmp_path / "out").exists()
    assert log_export.PLACE.parts[0] == "models"
