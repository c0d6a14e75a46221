"""What the service keeps through swaps, signals, kills and odd requests: `make bench_service`, reports/endurance.json.

In: two exported models of one run, such as its fp32 and its int8 file, whose unchanged images are asked about. Out:
counts, and the table in docs/operations.md. Figures of the clock depend on the machine; counts of losses are to be 0
on any.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import torch

from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.decoder import decode
from drift_detector_pipeline.pages import image_png
from drift_detector_pipeline.proof import odd_requests, unchanged_windows, under_load
from drift_detector_pipeline.proof.askers import CLIENTS, ask_during
from drift_detector_pipeline.proof.servers import service
from drift_detector_pipeline.release.artefact import MODELS, Artefact, read_artefact
from drift_detector_pipeline.runs.facts import now, package_versions, processor
from drift_detector_pipeline.runs.machine import instruction_set
from drift_detector_pipeline.runs.receipts import read_receipt

REPORT = Path("reports/endurance.json")
FOLDERS = MODELS / "artefact", MODELS / "int8"
ASKED = 64  # images of those who ask all the time
_KEY = "not a secret"  # of a service that answers this process alone
_HOW = 'make export && make export ARGS="export.precision=int8 export.path=models/int8" && make bench_service'
Figures = dict[str, Any]


class Counts(NamedTuple):
    """How often everything is done."""

    swaps: int = 100
    stops: int = 100
    kills: int = 20
    largest: tuple[str, ...] = ("png", "jpeg", "webp", "gif")  # formats of images as large as are taken
    damaged: int = 1000  # files of all formats
    cut: int = 100  # uploads
    slow: int = 20  # uploads that never end, and as many headers
    examples: int = 450  # odd questions, at most, to every endpoint
    asked: int = 100  # windows that each model is asked about
    windows: int = 1000  # drawn from the rows of these


@exit_status
def main() -> int:
    """Measure the two models named on the command line, and write the report after each part."""
    set_up_logging()
    begun, artefacts = time.monotonic(), _artefacts([Path(word) for word in sys.argv[1:]] or FOLDERS)
    contents = unchanged(artefacts[0])
    words = " ".join(str(one.folder) for one in artefacts)
    report = {
        "when": now(), "command": f'make bench_service ARGS="{words}"', "minutes": 0.0,
        "processor": processor(), "cores": len(os.sched_getaffinity(0)), "packages": package_versions(),
        "instruction_set": instruction_set(torch.device("cpu")), "run": artefacts[0].facts["run"],
        "images": len(contents), "clients": CLIENTS,
    }  # fmt: skip
    REPORT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, found in endure(artefacts, contents, Path(folder), Counts()):
            report |= {"minutes": (time.monotonic() - begun) / 60, name: found}
            write_json(REPORT, report)  # so far: hours are not lost with the last part
            log.info("%s: %s", name, json.dumps(found))
    log.info("%s", endurance_table(report))
    log.info("%s", REPORT)
    return 0


def _artefacts(folders: Sequence[Path]) -> list[Artefact]:
    found = [read_artefact(folder) for folder in folders]
    runs, precisions = {str(one.facts.get("run")) for one in found}, {one.precision for one in found}
    if len(found) != 2 or len(runs) != 1 or len(precisions) != 2 or any(one.task for one in found):
        raise ConfigError(
            f"{' '.join(map(str, folders))}: expected one run's models of two precisions that say labels: {_HOW}"
        )
    return found


def unchanged(artefact: Artefact) -> list[bytes]:
    """The validation images of a model's run, as PNG files."""
    run = artefact.facts.get("run")
    if not isinstance(run, str):
        raise ConfigError(f"{artefact.folder}: does not say which run it comes from; export one that does: {_HOW}")
    processed = read_receipt(Path(run)).data()
    return [image_png(processed.images[place]) for place in processed.images.indices("val").tolist()]


def endure(
    artefacts: Sequence[Artefact], contents: Sequence[bytes], place: Path, counts: Counts
) -> Iterator[tuple[str, Figures]]:
    """Each part's name and what it found, with the first model where one will do; `place` is an empty folder."""
    folders = [one.folder for one in artefacts]
    first, asked = folders[0], contents[:ASKED]
    parts: dict[str, Callable[[], Figures]] = {
        "swaps": lambda: under_load.swap(folders, asked, place, counts.swaps),
        "stops": lambda: under_load.stop(first, asked, place, counts.stops),
        "kills": lambda: under_load.kill(first, asked, place, counts.kills),
        "windows": lambda: {
            one.precision: unchanged_windows.windows(one.folder, contents, place, counts.asked, counts.windows)
            for one in artefacts
        },
        "odd": lambda: ask_oddly(first, asked, place, counts),
    }
    for name, measure in parts.items():
        yield name, measure()


def ask_oddly(folder: Path, contents: Sequence[bytes], place: Path, counts: Counts) -> Figures:
    """What nobody should send, to one service: statuses by kind, and the most memory it held."""
    image, binary = contents[0], "application/octet-stream"
    sent = {
        "bombs": [(one.content, binary) for one in odd_requests.bombs(image)],
        "largest": [(one, binary) for kind in counts.largest for one in odd_requests.largest(kind)],
        "damaged": [(one, binary) for one in odd_requests.damaged(decode(image, 64), counts.damaged)],
        "other_things": odd_requests.other_things(),
    }
    words = f"export.path={folder}"
    with service(place / "odd.sqlite", words, SERVING_ADMIN_KEY=_KEY) as server:
        ask = partial(odd_requests.send_all, server.address)
        found = {kind: asyncio.run(ask(things, kind)) for kind, things in sent.items()}
        asyncio.run(odd_requests.cut(server.address, counts.cut))
        meanwhile, found["slow"] = asyncio.run(
            ask_during(odd_requests.slow(server.address, counts.slow), server.address, contents)
        )
        found["beside_slow"] = Counter(one.status for one in meanwhile.answers)
        if counts.examples:
            found["from_documentation"] = odd_requests.ask_from_documentation(server.address, counts.examples, _KEY)
        after = httpx.post(f"{server.address}/predict", content=image, timeout=60).status_code
        peak = server.peak_megabytes()
    return {
        "requests": sum(sum(one.values()) for one in found.values()), "cut": counts.cut,
        "answers_of_500_and_above": sum(one[status] for one in found.values() for status in one if status >= 500),
        "lost_beside_slow": len(meanwhile.lost), "never_accepted_beside_slow": meanwhile.never_accepted,
        "status_of_an_image_afterwards": after, "peak_megabytes": peak,
        "statuses": {kind: {str(status): one[status] for status in sorted(one)} for kind, one in found.items()},
    }  # fmt: skip


def endurance_table(report: Figures) -> str:
    """What was counted, as Markdown."""
    swaps, stops, kills, odd = (report[name] for name in ("swaps", "stops", "kills", "odd"))
    files = report["windows"].values()
    rows = {
        f"{swaps['swaps']} changes of the champion under load": (
            f"{swaps['requests']:,} requests: {swaps['lost']} lost, {swaps['refused']} refused, "
            f"{swaps['wrong_model']} with the answer of a model that was not named, {swaps['stale']} answered by the "
            f"former model after the change, {swaps['rows_missing']} missing in the log"
        ),
        f"{stops['signals']} SIGTERMs under load": (
            f"{stops['answered']:,} answers: {stops['lost']} accepted requests lost, {stops['refused']} refused while "
            f"stopping, {stops['rows_missing']} rows missing in the log; "
            f"exit status {_statuses(stops['exit_statuses'])}"
        ),
        f"{kills['signals']} SIGKILLs under load, one log": (
            f"{kills['damaged_logs']} damaged logs; of {kills['answered']:,} answers {kills['rows_lost']} rows lost, "
            f"at most {kills['rows_lost_at_most']} a kill, of the last {kills['seconds_lost_at_most']:.2f} s"
        ),
        "bombs, damaged images, other files, slow and cut uploads, odd questions": (
            f"{odd['requests'] + odd['cut']:,} requests: {odd['answers_of_500_and_above']} answers of 500 or above; "
            f"at most {odd['peak_megabytes']:.0f} MB of memory"
        ),
        **{
            f"{one['windows']:,} windows of {one['images_of_a_window']} unchanged images, {precision}": (
                f"{one['false_notices']} notices; {one['alpha'] * one['windows']:.0f} are allowed"
            )
            for precision, one in report["windows"].items()
        },
        "an image alone, and in any batch of two services": (
            f"{sum(one['rows'] for one in files):,} rows: {sum(one['rows_with_other_bits'] for one in files)} with "
            "other bits"
        ),
        "verdicts repeated from the log's rows": (
            f"{sum(one['verdicts'] for one in files):,} verdicts: "
            f"{sum(one['verdicts_repeated_otherwise'] for one in files)} with other bits"
        ),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in rows.items())])


def _statuses(found: dict[str, int]) -> str:
    return ", ".join(f"{status} ({times} times)" for status, times in found.items())


if __name__ == "__main__":
    sys.exit(main())
