"""What the service costs beside bare inference, under load and far above it: `make load_test`, reports/serving.json.

In: nothing, or export.path=FOLDER for an artefact of one's own instead of drawn ones, of boxes into
reports/serving_boxes.json; IMAGES=FOLDER of JPEGs to ask about instead of drawn ones; PEERS=SITE_PACKAGES of an
environment with LitServe and BentoML, to be measured with the same file in the same run. k6 asks, as
deploy/load/predict.js says. Figures are processor time of all of a server's processes, and ratios within the run: on a
shared machine the clock says little.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from drift_detector_pipeline.commands import refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.proof.film_load import beside_a_film
from drift_detector_pipeline.proof.load_material import STORED_PX, draw_artefacts, draw_files
from drift_detector_pipeline.proof.servers import Server, free_port, service, started
from drift_detector_pipeline.release.artefact import BOXES, Artefact, read_artefact
from drift_detector_pipeline.runs.facts import now, package_versions
from drift_detector_pipeline.runs.machine import instruction_set
from drift_detector_pipeline.serving.engine import Engine, open_engine
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, Row
from drift_detector_pipeline.settings_in_use import Export, Serving

REPORT, REPORT_OF_BOXES = Path("reports/serving.json"), Path("reports/serving_boxes.json")
BATCH, TRIES, ROWS, IMAGES, SECONDS = 8, 6, 2000, 512, 10
CLIENTS, TIMES_TOO_MANY = (8, 64), 3  # three times what the service takes at once
_ROOT = Path(__file__).resolve().parents[2]
_PEERS = {"litserve": ("deploy/litserve_server.py", "content"), "bentoml": ("deploy/bentoml_service.py", "image")}
Figures = dict[str, Any]


class Load(NamedTuple):
    """How it is asked."""

    clients: int
    obey: bool = True  # wait as Retry-After says


@exit_status
def main() -> int:
    """Measure and write the report."""
    set_up_logging()
    words = sys.argv[1:]
    refuse_others(words, ["export.path"], "make load_test")
    _program()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        size = _files(place / "images")
        artefacts = [read_artefact(load_section(Export, words).path)] if words else draw_artefacts(place / "drawn")
        files = {one.precision: measure(one, place) for one in artefacts}
        peers = {name: found for name in _PEERS if (found := _measure_peer(name, artefacts[-1], place))}
    report = {
        "when": now(), "command": f'make load_test ARGS="{" ".join(words)}"', "tool": "k6", "cores": os.cpu_count(),
        "instruction_set": instruction_set(torch.device("cpu")), "packages": package_versions(),
        "seconds_of_each_load": SECONDS, "images": size, "batch_of_bare_inference": BATCH,
        "files": files, "peers": _beside(peers, files[artefacts[-1].precision], artefacts[-1].precision),
    }  # fmt: skip
    target = REPORT_OF_BOXES if artefacts[0].task == BOXES else REPORT
    target.parent.mkdir(exist_ok=True)
    write_json(target, report)
    for name, found in files.items():
        log.info("%s: %s", name, json.dumps(found["ratios"]))
    log.info("%s", target)
    return 0


def _files(folder: Path) -> str:
    """Images to ask about, as 0.jpg and so on; what they are."""
    own = os.environ.get("IMAGES")
    if not own:
        draw_files(folder, IMAGES)
        return f"drawn, {STORED_PX} px"
    folder.mkdir()
    found = sorted(Path(own).glob("*.jpg"))[:IMAGES]
    if not found:
        raise ConfigError(f"IMAGES={own}: no .jpg in it")
    for number, path in enumerate(found):
        shutil.copy(path, folder / f"{number}.jpg")
    return f"{len(found)} of one's own"


def measure(artefact: Artefact, place: Path) -> Figures:
    """The service with an artefact: bare inference, scores and log by themselves, then every load."""
    engine = open_engine(artefact.folder)
    crops = np.random.default_rng(0).integers(0, 256, (BATCH, *[artefact.side_px] * 2, 3), dtype=np.uint8)
    bare = _Repeated(lambda: engine.executable.say(crops))
    whole = _Repeated(lambda: engine.answer(crops))
    settings = load_section(Serving, [])
    loads = {str(count): Load(count) for count in CLIENTS}
    loads["overload, obeying"] = Load(TIMES_TOO_MANY * settings.in_flight)
    loads["overload, hammering"] = Load(TIMES_TOO_MANY * settings.in_flight, obey=False)
    database = place / f"{artefact.precision}.sqlite"
    with service(database, f"export.path={artefact.folder}") as server:
        found = _ask(server, loads, place, between=[bare.measure, whole.measure])
        memory = server.megabytes()
        film = beside_a_film(server.address, sorted((place / "images").iterdir()), place)
    row_ms = _log_row_ms(engine, place)
    bare_ms, answer_ms = bare.milliseconds(BATCH), whole.milliseconds(BATCH)
    costs = {"bare_ms": bare_ms, "scores_ms": answer_ms - bare_ms, "log_row_ms": row_ms, "megabytes": memory}
    return {**costs, "loads": found, "beside_a_film": film, "ratios": ratios(costs, found)}


def ratios(costs: Mapping[str, float], loads: Mapping[str, Figures]) -> dict[str, float]:
    """What the figures say: costs in bare inferences, and how much of the best remains at three times too many."""
    steady = {count: loads[str(count)]["cpu_ms"] for count in CLIENTS}
    best = min(steady.values())
    found = {f"request_to_bare_at_{count}_clients": ms / costs["bare_ms"] for count, ms in steady.items()}
    found["scores_and_log_share"] = (costs["scores_ms"] + costs["log_row_ms"]) / best
    for way in ("obeying", "hammering"):
        found[f"answered_at_overload_{way}"] = best / loads[f"overload, {way}"]["cpu_ms"]
    return {name: round(value, 3) for name, value in found.items()}


def load_table(report: Figures) -> str:
    """What was measured, as Markdown: a column a file."""
    columns = report["files"]
    rows: dict[str, Callable[[Figures], str]] = {
        "bare inference, batch of 8, ms": lambda found: f"{found['bare_ms']:.1f}",
        "a request, ms, at 8 / 64 clients": lambda found: _pair(found["loads"], "cpu_ms", ".1f"),
        "... divided by bare inference": lambda found: " / ".join(
            f"{found['ratios'][f'request_to_bare_at_{count}_clients']:.2f}" for count in CLIENTS
        ),
        "share of drift scores (batches of 8) and log": lambda found: (
            f"{100 * found['ratios']['scores_and_log_share']:.1f} %"
        ),
        "three times too many clients that wait: throughput, divided by the best": lambda found: _share(
            found, "obeying"
        ),
        "... that retry at once": lambda found: _share(found, "hammering"),
        "memory, MB": lambda found: f"{found['megabytes']:.0f}",
    }
    lines = [f"| {name} | {' | '.join(say(found) for found in columns.values())} |" for name, say in rows.items()]
    for name in _PEERS:
        if name in report["peers"]:
            found = report["peers"][name]
            times = " / ".join(f"{found[f'cpu_to_ours_at_{count}_clients']:.2f}" for count in CLIENTS)
            own = [f"{times}, {found['megabytes']:.0f} MB" if one == report["peers"]["file"] else "" for one in columns]
            lines.append(f"| {name}: CPU time divided by ours, 8 / 64 clients, and memory | {' | '.join(own)} |")
    return "\n".join([f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|", *lines])


def _pair(loads: Mapping[str, Figures], key: str, digits: str) -> str:
    return " / ".join(f"{loads[str(count)][key]:{digits}}" for count in CLIENTS)


def _share(found: Figures, way: str) -> str:
    return f"{found['ratios'][f'answered_at_overload_{way}']:.2f}"


def _beside(peers: Mapping[str, Figures], ours: Figures, precision: str) -> Figures:
    """The others' figures, and each as a multiple of ours."""
    for found in peers.values():
        for count in map(str, CLIENTS):
            found[f"cpu_to_ours_at_{count}_clients"] = round(
                found["loads"][count]["cpu_ms"] / ours["loads"][count]["cpu_ms"], 3
            )
        found["our_memory_to_theirs"] = round(ours["megabytes"] / found["megabytes"], 3)
    return {"file": precision, **peers}


def _measure_peer(name: str, artefact: Artefact, place: Path) -> Figures | None:
    """Another server with the same engine; None if it is not at hand."""
    peers = os.environ.get("PEERS")
    if not peers or not (Path(peers) / name).is_dir():
        log.info("%s is not measured: PEERS=FOLDER names the site-packages of an environment that has it", name)
        return None
    file, field = _PEERS[name]
    port = free_port()
    environment = {
        "PYTHONPATH": f"{_ROOT}:{peers}", "ARTEFACT": str(artefact.folder), "PORT": str(port),
        "OMP_NUM_THREADS": "1", "HOME": str(place),
    }  # fmt: skip
    ready = {"litserve": "/health", "bentoml": "/readyz"}[name]
    with started([sys.executable, str(_ROOT / file)], port, ready, environment) as server:
        found = _ask(server, {str(count): Load(count) for count in CLIENTS}, place, field=field)
        return {"loads": found, "megabytes": server.megabytes()}


def _ask(
    server: Server, loads: Mapping[str, Load], place: Path, *, between: Sequence[Callable[[], None]] = (),
    field: str = "",
) -> dict[str, Figures]:  # fmt: skip
    """Every load in turn, after a short one that warms up; `cpu_ms` is the server's for each answer."""
    _k6(server, Load(CLIENTS[0]), place, field, 3)
    found = dict[str, Figures]()
    for name, load in loads.items():
        for measure_more in between:
            measure_more()
        before = server.cpu_seconds()
        said = _k6(server, load, place, field, SECONDS)
        time.sleep(1)  # what is still logged or judged belongs to it
        said["cpu_ms"] = 1000 * (server.cpu_seconds() - before) / said["answered"]
        log.info("%s: %.2f ms of processor time an answer, %d answered", name, said["cpu_ms"], said["answered"])
        found[name] = said
    for measure_more in between:
        measure_more()
    return found


def _program() -> str:
    """Where k6 is. Raises ConfigError if it is not."""
    if found := shutil.which("k6", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"):
        return found
    raise ConfigError("k6: no such program; install it with what developing needs: make requirements_dev")


def _k6(server: Server, load: Load, place: Path, field: str, seconds: int) -> Figures:
    """One load. Raises DataError if anything was answered but refused or right."""
    summary = place / "k6.json"
    images = place / "images"
    given = {
        "URL": f"{server.address}/predict", "IMAGES": images, "COUNT": len([*images.iterdir()]),
        "CLIENTS": load.clients, "DURATION": f"{seconds}s", "OBEY": "yes" if load.obey else "no", "FIELD": field,
        "SUMMARY": summary,
    }  # fmt: skip
    words = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
    command = [_program(), "run", "--no-usage-report", "--quiet", *words, str(_ROOT / "deploy" / "load" / "predict.js")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"{server.address}: the load test failed, status {done.returncode}: {done.stderr[-500:]}")
    found: Figures = json.loads(summary.read_text())
    return found


class _Repeated:
    """Processor time of this process for a piece of work, measured every now and then."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work, self._seconds = work, list[float]()
        work()

    def measure(self) -> None:
        for _ in range(TRIES):
            started_at = time.process_time()
            self._work()
            self._seconds.append(time.process_time() - started_at)

    def milliseconds(self, images: int) -> float:
        """The median, an image."""
        return 1000 * statistics.median(self._seconds) / images


def _log_row_ms(engine: Engine, place: Path) -> float:
    """Processor time that a row of the request log costs, SQLite and its thread included."""
    request_log = RequestLog(f"sqlite:///{place}/rows.sqlite")
    scores = [score.name for score in engine.scores]
    number = request_log.register(ModelFacts("0" * 64, "", "", "", "", engine.artefact.classes, scores))
    phi = bytes(4 * len(scores))
    started_at = time.process_time()
    for row in range(ROWS):
        request_log.put(number, Row(time.time(), str(row), "", row.to_bytes(32, "big"), 0, 0.5, 1.0, phi))
    request_log.close()
    return 1000 * (time.process_time() - started_at) / ROWS


if __name__ == "__main__":
    sys.exit(main())
