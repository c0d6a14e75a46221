"""The request log: what goes in comes out, nobody waits for it, and what is lost is counted."""

import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial

import pytest
import sqlalchemy
from answered import FACTS, row
from conftest import ROOT

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.serving import database as databases
from drift_detector_pipeline.serving import request_log
from drift_detector_pipeline.serving.database import is_missing, open_database
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import Row


@pytest.fixture
def opened(database):
    """Opens logs of one database, and closes them at the end."""
    logs = []

    def open_log(**options):
        logs.append(RequestLog(database, **options))
        return logs[-1]

    open_log.address = database
    yield open_log
    for log in logs:
        log.close(timeout_s=2)


def as_put(stored):
    return Row(*(getattr(stored, name) for name in Row._fields))


def wait_until(holds, seconds=20):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_rows_come_back_as_they_were_put_in_order(opened):
    log = opened()
    model = log.register(FACTS)
    put = [row(number, source="ab"[number % 2]) for number in range(150)]
    for one in put:
        log.put(model, one)
    assert log.flush()
    found = log.rows(model, 1, 150)
    assert [as_put(one) for one in found] == put
    assert [one.id for one in found] == list(range(1, 151))
    assert log.dropped == 0 and not log.behind and log.waiting == 0
    assert [as_put(one) for one in log.rows(model, 11, 20, "a")] == put[10:20:2]
    assert [as_put(one) for one in log.rows_after(model, 100, 3)] == put[100:103]
    assert [as_put(one) for one in log.newest(model, 3)] == put[-3:]
    assert [as_put(one) for one in log.newest(model, 2, "a")] == put[-4::2]
    assert log.sources(model) == ["a", "b"] and log.count(model) == 150


def test_the_same_model_has_one_id_and_another_reference_another_one(opened):
    first, second = opened(), opened()
    assert first.register(FACTS) == second.register(FACTS) == first.register(FACTS)
    other = second.register(FACTS._replace(reference_sha256="d" * 64))
    assert first.models() == [first.register(FACTS), other]
    assert first.facts_of(other) == FACTS._replace(reference_sha256="d" * 64)
    with pytest.raises(DataError, match="model 99: not in this log"):
        first.facts_of(99)


def test_thumbnails_are_of_their_rows(opened):
    log = opened()
    model = log.register(FACTS)
    for number in range(100):
        log.put(model, row(number), thumbnail=f"jpeg {number}".encode() if number % 10 == 3 else None)
    log.flush()
    kept = {one.request_id: log.thumbnail_of(one.id) for one in log.rows(model, 1, 100)}
    assert {name: jpeg for name, jpeg in kept.items() if jpeg} == {
        f"r{number}": f"jpeg {number}".encode() for number in range(3, 100, 10)
    }


def test_what_is_put_is_written_soon_without_a_flush(opened):
    log = opened()
    model = log.register(FACTS)
    log.put(model, row(1))
    wait_until(lambda: log.count(model) == 1, seconds=5)


def test_closing_writes_what_waits_and_takes_nothing_more(opened):
    log, reader = opened(), opened()
    model = log.register(FACTS)
    for number in range(100):
        log.put(model, row(number))
    log.close()
    log.put(model, row(100))
    assert reader.count(model) == 100 and log.dropped == 1


def test_rows_that_cannot_be_kept_are_counted_and_the_others_are_written(opened):
    log = opened()
    model = log.register(FACTS)
    bad = [row(0)._replace(predicted=2**70), row(0)._replace(source="\ud800"), row(0)._replace(phi=None)]
    for one in [row(1), *bad, row(2)]:
        log.put(model, one)
    log.put(999, row(3))
    assert log.flush()
    assert [one.request_id for one in log.rows(model, 1, 99)] == ["r1", "r2"]
    assert log.dropped == 4 and not log.behind


@contextmanager
def down(address):
    """Nobody can write into this database meanwhile."""
    if address.startswith("sqlite"):
        with closing(sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        return
    import psycopg

    server, _, name = address.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_a_database_that_is_down_costs_the_oldest_rows_and_no_time(opened, monkeypatch):
    monkeypatch.setattr(databases, "WAIT_S", 0.05)
    log, reader = opened(buffer=1000), opened()
    model = log.register(FACTS)
    with down(opened.address):
        log.put(model, row(0))
        wait_until(lambda: log.behind)
        started = time.process_time()
        for number in range(1, 5001):
            log.put(model, row(number))
        assert time.process_time() - started < 2  # 400 us each, on any machine; it is 5
        assert log.waiting <= 1000 + 64
        wait_until(lambda: log.dropped == 4001)  # a batch that is under way comes back
    assert log.flush(timeout_s=20)
    assert [one.request_id for one in reader.rows(model, 1, 9999)] == [f"r{number}" for number in range(4001, 5001)]
    assert log.dropped == 4001 and not log.behind


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("takes", "gives"),
    [
        ("ALTER TABLE request RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO request"),
        ("ALTER TABLE request RENAME at TO moment", "ALTER TABLE request RENAME moment TO at"),
    ],
    ids=["table", "column"],
)
def test_rows_wait_for_what_somebody_took_from_the_database(takes, gives, opened, caplog):
    import psycopg

    log = opened()
    model = log.register(FACTS)
    with psycopg.connect(opened.address, autocommit=True) as owner:
        owner.execute(takes)
        for number in range(5):
            log.put(model, row(number))
        wait_until(lambda: log.behind)
        owner.execute(gives)
    assert log.flush() and log.count(model) == 5 and log.dropped == 0
    assert not [one for one in caplog.records if one.name.startswith("psycopg")]


def test_rows_wait_while_readers_have_all_connections(tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "WAIT_S", 0.05)
    with closing(RequestLog(f"sqlite:///{tmp_path}/log.sqlite")) as log:
        model = log.register(FACTS)
        assert log.flush()
        with ExitStack() as readers:
            with pytest.raises(DataError, match="all connections were taken"), databases.asking():
                for _ in range(50):
                    readers.enter_context(log.engine.connect())
            log.put(model, row(0))
            wait_until(lambda: log.behind)
        assert log.flush() and log.count(model) == 1 and log.dropped == 0


def test_closing_while_the_database_is_down_ends_and_counts(opened, monkeypatch):
    monkeypatch.setattr(databases, "WAIT_S", 0.05)
    log = opened()
    model = log.register(FACTS)
    with down(opened.address):
        for number in range(10):
            log.put(model, row(number))
        log.close(timeout_s=0.5)
    assert log.dropped == 10
    with closing(opened()) as reader:
        assert reader.count(model) == 0


def test_old_rows_go_in_pieces_and_their_ids_are_not_used_again(opened, monkeypatch):
    monkeypatch.setattr(request_log, "PIECE", 10)
    log = opened()
    model = log.register(FACTS)
    for number in range(30):
        log.put(model, row(number, at=1000.0 + number), thumbnail=b"jpeg")
    log.flush()
    assert [log.forget(1025.0) for _ in range(4)] == [10, 10, 5, 0]
    assert [one.request_id for one in log.rows(model, 1, 99)] == [f"r{number}" for number in range(25, 30)]
    assert log.thumbnail_of(25) is None and log.thumbnail_of(26) == b"jpeg"
    assert log.forget(2000.0) == 5
    log.put(model, row(30))
    log.flush()
    assert [one.id for one in log.newest(model, 1)] == [31]


def test_old_rows_go_by_themselves_where_days_are_set(opened):
    log = opened()
    model = log.register(FACTS)
    for number, days in enumerate([3, 2, 0.5, 0]):
        log.put(model, row(number, at=time.time() - 86_400 * days))
    log.flush()
    opened(keep_days=1.0)
    wait_until(lambda: log.count(model) == 2)
    assert [one.request_id for one in log.rows(model, 1, 9)] == ["r2", "r3"]


def test_rows_appear_in_the_order_of_their_ids_whoever_writes_them(opened):
    """What was read up to an id stays what it was: windows are cut there."""
    logs, reader = [opened(), opened()], opened()
    model, seen = logs[0].register(FACTS), dict[int, int]()

    def write(log):
        for number in range(1500):
            log.put(model, row(number))
            if number % 7 == 0:
                time.sleep(0.0005)

    writers = [threading.Thread(target=write, args=[log]) for log in logs]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if newest := reader.newest(model, 1):
            seen[newest[0].id] = len(reader.rows(model, 1, newest[0].id))
    for log in logs:
        assert log.flush() and log.dropped == 0
    assert len(seen) > 3
    assert {last: len(reader.rows(model, 1, last)) for last in seen} == seen
    assert reader.count(model) == 3000


def test_a_new_sqlite_log_gives_space_back_and_writes_ahead(tmp_path):
    log = RequestLog(f"sqlite:///{tmp_path}/in/a/new/folder/log.sqlite")
    model = log.register(FACTS)
    for number in range(2000):
        log.put(model, row(number, at=0.0))
    log.flush()
    with closing(sqlite3.connect(tmp_path / "in/a/new/folder/log.sqlite")) as other:
        ask = lambda what: other.execute(f"PRAGMA {what}").fetchone()[0]  # noqa: E731
        assert (ask("journal_mode"), ask("auto_vacuum")) == ("wal", 2)
        pages = ask("page_count")
        assert log.forget(1.0) == 2000
        assert ask("page_count") < pages / 2 and ask("freelist_count") == 0
    log.close()


def test_an_older_log_is_brought_up_to_date_and_its_rows_stay(database):
    with closing(RequestLog(database)) as log:
        model = log.register(FACTS)
        log.put(model, row(1))
    add = lambda connection: connection.execute(sqlalchemy.text("ALTER TABLE request ADD COLUMN more TEXT"))  # noqa: E731
    fill = lambda connection: connection.execute(sqlalchemy.text("UPDATE request SET more = 'much'"))  # noqa: E731
    for _ in range(2):  # the second time there is nothing to do
        engine = open_database(database, [*databases.MIGRATIONS, add, fill])
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT request_id, more FROM request")).all() == [("r1", "much")]
        engine.dispose()
    newer = 3 + len(databases.MIGRATIONS)
    with pytest.raises(DataError, match=rf"a log of version {newer}, and this program knows {newer - 2}"):
        RequestLog(database)


def columns_of(engine):
    found = sqlalchemy.inspect(engine)
    plain = lambda one: (one["name"], str(one["type"]), one["nullable"])  # noqa: E731
    return {table: [plain(one) for one in found.get_columns(table)] for table in found.get_table_names()}


def test_a_log_of_version_1_gets_all_that_a_new_one_has(database):
    with closing(RequestLog(database)) as log:
        log.put(log.register(FACTS), row(1))
        new = columns_of(log.engine)
    engine = sqlalchemy.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for table in ("decision", "silence", "delivery", "alarm", "watch"):
            connection.execute(sqlalchemy.text(f"DROP TABLE {table}"))
        connection.execute(sqlalchemy.text("ALTER TABLE request DROP COLUMN shadow"))
        connection.execute(sqlalchemy.text("UPDATE schema_version SET number = 1"))
    engine.dispose()
    with closing(RequestLog(database)) as log:
        assert columns_of(log.engine) == new
        assert [one.shadow for one in log.rows(1, 1, 9)] == [False]


def test_a_migration_that_fails_leaves_the_log_as_it_was(database):
    with closing(RequestLog(database)) as log:
        model = log.register(FACTS)
    add = lambda connection: connection.execute(sqlalchemy.text("ALTER TABLE request ADD COLUMN more TEXT"))  # noqa: E731
    wrong = lambda connection: connection.execute(sqlalchemy.text("ALTER TABLE nothing ADD COLUMN more TEXT"))  # noqa: E731
    with pytest.raises(DataError, match="nothing"):
        open_database(database, [*databases.MIGRATIONS, add, wrong])
    with closing(RequestLog(database)) as log:
        assert log.register(FACTS) == model
        assert "more" not in {one["name"] for one in sqlalchemy.inspect(log.engine).get_columns("request")}


def test_services_that_start_at_once_make_one_log(database):
    logs, errors = [], []

    def start():
        try:
            logs.append(RequestLog(database))
        except DataError as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({log.register(FACTS) for log in logs}) == 1
    for log in logs:
        log.close()


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://me:hidden@host/name",
        "postgresql://me:hidden@host:abc/name",
    ],
)
def test_other_addresses_are_refused_and_no_password_is_shown(address):
    with pytest.raises(ConfigError, match=r"expected sqlite:///PATH or postgresql://") as refused:
        RequestLog(address)
    assert "hidden" not in str(refused.value)


def test_a_name_with_a_question_mark_does_not_lead_to_another_file(tmp_path):
    with pytest.raises(ConfigError, match=r"what\?\.sqlite: a \? ends the file's name there; rename the file"):
        RequestLog(f"sqlite:///{tmp_path}/what?.sqlite")
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_is_no_database_and_no_full_disk(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ConfigError, match=f"{place}: a folder, a pipe or a device; a file is expected; serving"):
            RequestLog(f"sqlite:///{place}")


def test_a_file_in_the_home_folder_may_be_named_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert is_missing("sqlite:///~/log (1).sqlite")
    RequestLog("sqlite:///~/log (1).sqlite").close()
    assert (tmp_path / "log (1).sqlite").exists() and not is_missing("sqlite:///~/log (1).sqlite")


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path):
    (tmp_path / "no.sqlite").write_bytes(b"something else entirely, and long enough" * 100)
    with pytest.raises(DataError, match=r"no\.sqlite: file is not a database"):
        RequestLog(f"sqlite:///{tmp_path}/no.sqlite")
    pytest.importorskip("psycopg")
    with pytest.raises(
        DataError,
        match=r"127\.0\.0\.1:1/name: .*serving\.database, monitor\.database or DATABASE_URL names another one",
    ) as refused:
        RequestLog("postgres://me:hidden@127.0.0.1:1/name?password=hidden")
    assert "hidden" not in str(refused.value)


def test_a_log_that_a_full_disk_keeps_from_being_opened_says_so(tmp_path):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(DataError, match=r"log\.sqlite: disk I/O error \(is the disk full\?\); "):
            RequestLog(f"sqlite:///{tmp_path}/log.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_log_where_nothing_can_be_written_is_read_and_not_one_row_of_it_is_missing(tmp_path):
    """Also rows that still wait beside it; one of an older version is refused, which only writing could change."""
    with readable_only(tmp_path) as place:
        with closing(RequestLog(f"sqlite:///{tmp_path}/log.sqlite")) as log:
            log.put(log.register(FACTS), row(1))
            log.flush()
            with closing(RequestLog(f"sqlite:///{place}/log.sqlite", reading=True)) as copy:
                assert [one.id for one in copy.rows(1, 1, 9)] == [1]
        with closing(RequestLog(f"sqlite:///{place}/log.sqlite", reading=True)) as copy:
            assert [one.id for one in copy.rows(1, 1, 9)] == [1]
        with pytest.raises(DataError, match=r"unable to open database file \(it and its folder must be writable\)"):
            RequestLog(f"sqlite:///{place}/log.sqlite")
        with pytest.raises(DataError, match=r"log\.sqlite: a log of version \d+ where nothing can be written.*copy it"):
            open_database(f"sqlite:///{place}/log.sqlite", [lambda _: None] * 99, reading=True)


def test_a_log_on_a_full_disk_is_read(tmp_path):
    """SQLite makes files beside it to read it, and has no room for them."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        with closing(RequestLog(f"sqlite:///{tmp_path}/log.sqlite")) as log:
            log.put(log.register(FACTS), row(1))
        with suppress(OSError), (tmp_path / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(1000)):
                pass
        with closing(RequestLog(f"sqlite:///{tmp_path}/log.sqlite", reading=True)) as copy:
            assert [one.id for one in copy.rows(1, 1, 9)] == [1]
        with pytest.raises(DataError, match="is the disk full"):
            RequestLog(f"sqlite:///{tmp_path}/log.sqlite")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@contextmanager
def readable_only(folder):
    """The same folder, mounted a second time; it can only be read there."""
    place = folder.with_name(f"{folder.name}_read_only")
    place.mkdir()
    if subprocess.run(["mount", "--bind", folder, place], capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_text_comes_back_from_a_database_without_encoding(postgres):
    """As `initdb` makes it where no locale is set."""
    import psycopg

    with psycopg.connect(f"{postgres}postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    with closing(RequestLog(f"{postgres}ascii")) as log:
        model = log.register(FACTS)
        log.put(model, row(1)._replace(source="Tür"))
        log.flush()
        assert [stored.source for stored in log.newest(model, 9)] == ["Tür"]


def test_postgresql_without_its_driver_says_which_extra():
    code = """import sys; sys.modules["psycopg"] = None
from drift_detector_pipeline.serving.request_log import RequestLog
RequestLog("postgresql://host/name")"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "pip install -e .[postgres]" in done.stderr.splitlines()[-1]


WRITER = """
import sys, time
from answered import FACTS, row
from drift_detector_pipeline.serving.request_log import RequestLog
log = RequestLog(sys.argv[1])
model = log.register(FACTS)
number = 0
while True:
    log.put(model, row(number))
    print(number, time.monotonic(), flush=True)
    number += 1
    time.sleep(0.001)
"""


@pytest.mark.slow
def test_a_killed_process_loses_a_quarter_of_a_second_and_no_log(database):
    """Five real kills; the machine may be busy, so what is asked is that all but the last second is there."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    for kill in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, database], stdout=subprocess.PIPE, text=True, env=environment
        )
        said = list[str]()
        reader = threading.Thread(target=partial(said.extend, child.stdout))
        reader.start()
        wait_until(lambda said=said, kill=kill: len(said) > 500 + 37 * kill, seconds=60)
        child.kill()
        child.wait()
        reader.join()
        child.stdout.close()
        put = [(int(number), float(at)) for number, at in (line.split() for line in said if line.endswith("\n"))]
        kept_for_sure = [number for number, at in put if at < put[-1][1] - 1.0]
        with closing(RequestLog(database)) as log:
            found = [one.request_id for one in log.newest(1, len(put))]
            start = len(found) - 1 - found[::-1].index("r0")
            own = found[start:]
            assert own == [f"r{number}" for number in range(len(own))]
            assert len(own) >= len(kept_for_sure)
            log.forget(time.time() + 1)
        if database.startswith("sqlite"):
            with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as other:
                assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_file_that_is_taken_away_loses_no_row_and_one_in_its_place_is_opened(tmp_path):
    path, away = tmp_path / "log.sqlite", tmp_path / "away.sqlite"
    with closing(RequestLog(f"sqlite:///{path}")) as log:
        model = log.register(FACTS)
        log.put(model, row(0))
        assert log.flush()
        path.rename(away)
        log.put(model, row(1))
        assert not log.flush(0.5) and log.behind and log.dropped == 0
        away.rename(path)
        assert log.flush() and not log.behind
        with closing(sqlite3.connect(path)) as there:
            there.execute("VACUUM INTO ?", [str(away)])
        away.replace(path)
        log.put(model, row(2))
        assert log.flush() and log.count(model) == 3
    with closing(sqlite3.connect(path)) as there:
        assert there.execute("SELECT count(*) FROM request").fetchone() == (3,)
