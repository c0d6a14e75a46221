"""A simulated year: `python -m drift_detector_pipeline.proof.year RUN STRANGERS seed=0`, or `make simulate_year`.

In: a finished run, whose network is the first champion, and a processed folder of strangers; or data=digits, a month in
a few minutes, which trains its first champion itself. A part of the images is the pipeline's own, the rest comes day by
day. Out: a folder outputs/year/<date>_<time>/ with everything that was made, year.html in it,
reports/year_<data>_seed<n>.json, and reports/year_<data>.json over all seeds that are there. lived=FOLDER: a year that
was lived before, or stopped on the way, is reckoned anew.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import make_folder, write_json
from drift_detector_pipeline.lifecycle.gating.origin import run_of
from drift_detector_pipeline.lifecycle.steps import Steps
from drift_detector_pipeline.processed.manifest import MANIFEST, open_processed
from drift_detector_pipeline.proof.year.given import FIRST, given
from drift_detector_pipeline.proof.year.life import KEPT, Life, serving
from drift_detector_pipeline.proof.year.lived import answers_read
from drift_detector_pipeline.proof.year.marks import marks
from drift_detector_pipeline.proof.year.others import by_calendar, by_knowledge, by_online_mmd, known_of, stream_of
from drift_detector_pipeline.proof.year.page import write_year
from drift_detector_pipeline.proof.year.reckoning import Year, reckon
from drift_detector_pipeline.proof.year.spread import write_spread
from drift_detector_pipeline.proof.year.world import MONTH, YEAR, Day, Spell, World, days, divide
from drift_detector_pipeline.release.artefact import MODELS, read_artefact
from drift_detector_pipeline.release.registry import champion_folder, history, promote, register
from drift_detector_pipeline.release.source import one_core, open_source
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import instruction_set
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Basket, Gate, Heal, Lifecycle, Monitor, Retrain

PLACE = Path("outputs/year")
_DATABASE = "sqlite:///models/requests.sqlite"
_PACKAGE = "drift_detector_pipeline"
_STRANGERS, _WORDS = "data/processed/imagenette", ("seed", "strangers", "lived")


class Plan(NamedTuple):
    """How a year is made."""

    days: int
    a_day: int
    spells: Sequence[Spell]
    period: int  # days after which somebody who retrains by the calendar does
    flip: bool  # whether an image may be mirrored
    policy: list[str]
    pipeline: int = 0  # images that are the pipeline's own, where the first champion is trained here
    training: Sequence[str] = ()


PLANS = {
    "cifar10": Plan(
        180, 144, YEAR, 15, True,
        ["lifecycle.wait_images=128", "heal.images=128", "basket.images=20",
         "gate.clean_margin=0.02", "gate.others_margin=0.02"],
    ),
    "digits": Plan(
        22, 18, MONTH, 7, False,
        ["lifecycle.wait_images=64", "gate.clean_margin=0.05", "gate.others_margin=0.1",
         "gate.brier_margin=0.1"],
        1_000,
        ["data=folder", "data.raw_path=data/raw/own", "model=conv_small", "data.stored_side_px=32", "data.img_size=32",
         "data.augmentation.min_area=1.0", "data.val_fraction=0.4", "data.fit_fraction=0.2", "training.epochs=8",
         "training.batch_size=32", "training.learning_rate=0.003", "data.augmentation.flip=false"],
    ),
}  # fmt: skip
_POLICY = [
    "lifecycle=retrain",
    "lifecycle.tries_a_week=1000",
    "lifecycle.minutes_a_week=10000",
]  # a week is seconds here


class Beginning(NamedTuple):
    """What a year begins with."""

    name: str  # of PLANS
    seed: int
    run: Path | None = None  # whose network is the first champion; None: it is trained
    strangers: Path = Path(_STRANGERS)

    @property
    def plan(self) -> Plan:
        """How the year is made."""
        return PLANS[self.name]


@exit_status
def main() -> int:
    """Live the year that the words name."""
    command = read_command(sys.argv[1:], {"data": tuple(PLANS)})
    words = dict(word.split("=", 1) for word in command.overrides)
    if wrong := [word for word in words if word not in _WORDS]:
        raise ConfigError(
            f"{wrong[0]}: make simulate_year takes only RUN, data={' or '.join(PLANS)}, {'=, '.join(_WORDS)}="
        )
    set_up_logging()
    name = command.own.get("data", "cifar10")
    begin = Beginning(name, int(words.get("seed", "0")), command.target, Path(words.get("strangers", _STRANGERS)))
    report = reckoned(begin, Path(words["lived"])) if "lived" in words else live(begin)
    path = Path("reports") / f"year_{name}_seed{report['seed']}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, report)
    log.info("%s, %s, %s", path, write_spread(name, path.parent), Path(report["folder"]) / "year.html")
    return 0


def live(begin: Beginning) -> dict[str, Any]:
    """Prepare a world and a first champion, live the year, and say what it came to.

    Raises a PipelineError if a step that must not fail does.
    """
    started = time.perf_counter()
    folder = make_folder(PLACE / now().replace(":", "-"))
    world = _world(begin, folder)
    coming = _days(world, begin)
    log.info("%s: %d of %d images come as a year", folder, begin.plan.days * begin.plan.a_day, len(world.labels))
    if begin.plan.pipeline:
        _run(folder, ["dataset", *begin.plan.training])
        _run(folder, ["modeling.train", *begin.plan.training, f"run.seed={begin.seed}"])
    _run(folder, ["release.export", *([str(FIRST)] if begin.run else [])])
    with contextlib.chdir(folder):
        promote(register(MODELS / "artefact"), who="nobody", why="the first")
        with serving() as address, closing(RequestLog(_DATABASE)) as requests:
            _live(address, requests, coming, world.classes, begin.plan)
    return reckoned(begin, folder) | {"minutes": round((time.perf_counter() - started) / 60, 1)}


def reckoned(begin: Beginning, folder: Path) -> dict[str, Any]:
    """Say what a year in `folder` came to, as far as it was lived, and write its page.

    Raises DataError if there is no whole day of it.
    """
    cache = (PLACE / "trained").resolve()
    with tempfile.TemporaryDirectory() as place:
        came = list(_days(_world(begin, Path(place)), begin))
    with contextlib.chdir(folder), closing(RequestLog(_DATABASE)) as requests:
        asked = answers_read(requests, came)
        year = Year(came[: len(asked)], asked, _begun(begin.plan.spells, len(asked)), requests)
        found = reckon(year)
        found |= _others(year, begin.plan, found.pop("versions"), cache)
        first = history()[0].version
    report = {
        "data": begin.name, "seed": begin.seed, "model": first, "run": str(begin.run) if begin.run else None,
        "folder": str(folder), "command": this_command(), "when": now(), "processor": processor(),
        "packages": package_versions(), "minutes": None, "days_planned": begin.plan.days, **found,
    }  # fmt: skip
    report["marks"] = marks(report)
    write_year(folder / "year.html", report)
    return report


def processor() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} cores, {instruction_set(torch.device('cpu'))}"


def _world(begin: Beginning, folder: Path) -> World:
    """Lay out the pipeline's own images below `folder`, and a given run; return the images that will come."""
    if not begin.plan.pipeline:
        if begin.run is None:
            raise ConfigError(f"data={begin.name}: name the run that begins: make simulate_year RUN=outputs/DATE/TIME")
        if not (begin.strangers / MANIFEST).is_file():
            raise ConfigError(f"{begin.strangers}: no processed data; run: make process_data ARGS=data=imagenette")
        return given(begin.run, begin.strangers, folder, begin.seed)
    settings = load([f"data={begin.name}"]).settings.data
    processed = open_processed(settings, f'run: make process_data ARGS="data={begin.name}"')
    return divide(processed, begin.plan.pipeline, folder / "data/raw/own", begin.seed)


def _days(world: World, begin: Beginning) -> Iterator[Day]:
    return days(world, begin.plan.spells, begin.plan.days, begin.plan.a_day, begin.seed)


def _begun(spells: Sequence[Spell], count: int) -> list[Spell]:
    """Those that had begun within so many days, of a year that was stopped as far as it came."""
    return [spell._replace(last=min(spell.last, count - 1)) for spell in spells if spell.first < count]


def _live(address: str, requests: RequestLog, coming: Iterator[Day], classes: Sequence[str], plan: Plan) -> None:
    """A day after the other."""
    words = [*_POLICY, *plan.policy, f"monitor.database={_DATABASE}", "monitor.once=true"]
    steps = Steps(
        load_section(Basket, words), load_section(Heal, words), load_section(Retrain, words), load_section(Gate, words),
        KEPT,
    )  # fmt: skip
    life = Life(address, requests, load_section(Monitor, words), load_section(Lifecycle, words), steps)
    with progress_bar(total=plan.days, title="year", unit=" days") as bar:
        for day in coming:
            life.live(day, classes)
            bar.update()


def _others(year: Year, plan: Plan, versions: dict[str, list[float]], cache: Path) -> dict[str, Any]:
    """What others would have made of the same days."""
    with one_core() as machine:
        source = open_source(run_of(read_artefact(champion_folder(history()[0]))), machine)
        known, stream = known_of(source, plan.flip), stream_of(year.days, source.trained.img_size)
        log.info("the same days: retraining by the calendar")
        calendar = by_calendar(known, stream, plan.period)
        log.info("... by an online MMD test")
        test = by_online_mmd(known, stream)
        log.info("... by somebody who knows")
        best = by_knowledge(known, stream, year.spells, [*versions.values(), calendar["by_day"]], cache)
    return {"others": {"retrain monthly": calendar, "online MMD, then retrain": test, "oracle": best}}


def _run(folder: Path, words: Sequence[str]) -> None:
    """A step of the pipeline, as a person runs it. Raises DataError if it fails; it has said why by then."""
    command = [sys.executable, "-m", f"{_PACKAGE}.{words[0]}", *words[1:]]
    if subprocess.run(command, cwd=folder).returncode:
        raise DataError(f"{folder}: {' '.join(command[2:])} failed; see above")


if __name__ == "__main__":
    sys.exit(main())
