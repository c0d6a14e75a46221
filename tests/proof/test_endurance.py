"""What the service is counted to keep through swaps, signals, kills and odd requests, once more in small."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from small_artefact import png, world

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.proof import unchanged_windows, under_load
from drift_detector_pipeline.proof.askers import Asked
from drift_detector_pipeline.proof.endurance import Counts, ask_oddly, unchanged
from drift_detector_pipeline.proof.odd_requests import slow
from drift_detector_pipeline.proof.under_load import Step, count_stale, integrity
from drift_detector_pipeline.release.artefact import read_artefact

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux: /proc")


@pytest.fixture(scope="module")
def contents():
    return [png(pixels) for pixels in world(256, 60)[0]]


@linux
@pytest.mark.slow
def test_nobody_is_lost_and_nobody_answered_by_a_wrong_model_while_champions_change(models, contents, tmp_path):
    found = under_load.swap([models / "first", models / "second"], contents[:40], tmp_path, 2)
    assert found["swaps"] == 2 and found["requests"] > 20 and len(found["by_model"]) == 2
    for name in ("lost", "refused", "wrong_model", "stale", "rows_missing"):
        assert found[name] == 0, name


@linux
@pytest.mark.slow
def test_told_to_stop_a_service_answers_and_logs_all_it_took_and_ends_with_status_0(models, contents, tmp_path):
    found = under_load.stop(models / "first", contents[:40], tmp_path, 1)
    assert found["answered"] > 0 and found["exit_statuses"] == {"0": 1}
    assert found["lost"] == found["refused_but_not_by_503"] == found["rows_missing"] == 0
    assert "Traceback" not in (tmp_path / "stops.stderr").read_text()


@linux
@pytest.mark.slow
def test_a_killed_service_loses_the_last_rows_alone_and_the_next_one_goes_on_with_its_log(models, contents, tmp_path):
    found = under_load.kill(models / "first", contents[:40], tmp_path, 2)
    assert found["answered"] > 0 and found["damaged_logs"] == 0
    assert found["seconds_lost_at_most"] < 2  # the machine may be busy; the report has what it is


@linux
@pytest.mark.slow
def test_windows_through_two_services_have_the_same_bits_and_verdicts_as_alone(models, contents, tmp_path):
    found = unchanged_windows.windows(models / "first", contents, tmp_path, 8, 20)
    assert (found["rows"], found["verdicts"], found["windows"]) == (256, 8, 20)
    for name in ("rows_with_other_bits", "requests_answered_otherwise", "verdicts_repeated_otherwise"):
        assert found[name] == 0, name
    assert found["false_notices"] <= 3  # of 20 that may be 1 % each: one in a hundred thousand has more


@linux
@pytest.mark.slow
def test_the_largest_images_and_other_things_meet_no_fault_and_little_memory(models, contents, tmp_path):
    counts = Counts(largest=("jpeg",), damaged=9, cut=3, slow=0, examples=0)
    found = ask_oddly(models / "first", contents[:8], tmp_path, counts)
    assert found["lost_beside_slow"] == found["never_accepted_beside_slow"] == 0
    assert (found["answers_of_500_and_above"], found["status_of_an_image_afterwards"]) == (0, 200)
    assert found["statuses"]["largest"] == {"200": 2, "422": 2} and found["peak_megabytes"] < 600


def test_an_answer_of_the_model_before_is_stale_only_between_two_changes():
    steps = [Step(10, 11, "b"), Step(20, 21, "a")]

    def answer(model, begun, ended):
        return Asked(0, 200, {"model": model}, None, begun, ended)

    fine = [answer("a", 1, 2), answer("a", 9, 12), answer("b", 10.5, 12), answer("b", 12, 13), answer("b", 19, 20.5)]
    fine += [answer("a", 19, 20.5), answer("a", 22, 23)]
    assert count_stale(fine, steps) == 0
    assert count_stale([answer("a", 12, 13), answer("b", 22, 23)], steps) == 2


def test_a_damaged_log_is_counted(tmp_path):
    path = tmp_path / "log.sqlite"
    with sqlite3.connect(path) as opened:
        opened.execute("CREATE TABLE request (id INTEGER PRIMARY KEY, request_id TEXT)")
        opened.executemany("INSERT INTO request (request_id) VALUES (?)", [("x" * 100,)] * 1000)
    opened.close()
    assert integrity(path) == "ok"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(content)
    assert integrity(path) != "ok"


def test_two_models_of_one_run_are_asked_for(models, call_main):
    for other in "first", "second":
        said = call_main("proof.endurance", str(models / "first"), str(models / other))
        assert said.returncode == 1
        assert "expected one run's models of two precisions that say labels: make export && " in said.stderr
    with pytest.raises(ConfigError, match="does not say which run it comes from; export one that does: make export"):
        unchanged(read_artefact(models / "first"))


@pytest.mark.parametrize(("answer", "status"), [(b"", 0), (b"HTTP/1.1 408 Request Timeout\r\n\r\n", 408)])
def test_slow_uploads_end_when_the_door_closes_with_an_answer_or_without(answer, status):
    async def give_up(reader, writer):
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async def ask():
        async with await asyncio.start_server(give_up, "127.0.0.1", 0) as door:
            return await slow(f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}", 2)

    assert asyncio.run(ask()) == {status: 4}
