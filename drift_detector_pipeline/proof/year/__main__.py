"""A simulated year: `python -m drift_detector_pipeline.proof.year RUN STRANGERS seed=0`, or `make simulate_year`.

In: a finished run, whose network is the first champion, and a processed folder of strangers; or data=digits, a month in
a few minutes, which trains its first champion itself. A part of the images is the pipeline's own, the rest comes day by
day. Out: a folder outputs/year/<date>_<time>/ with everything that was made, year.html in it,
reports/year_<data>_seed<n>.json, and reports/year_<data>.json over all seeds that are there.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
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
from drift_detector_pipeline.proof.year.marks import marks
from drift_detector_pipeline.proof.year.others import by_calendar, by_knowledge, by_online_mmd, known_of, stream_of
from drift_detector_pipeline.proof.year.page import write_year
from drift_detector_pipeline.proof.year.reckoning import Year, reckon
from drift_detector_pipeline.proof.year.spread import write_spread
from drift_detector_pipeline.proof.year.world import MONTH, YEAR, Spell, World, days, divide
from drift_detector_pipeline.release.artefact import MODELS, read_artefact
from drift_detector_pipeline.release.export import one_core, open_source
from drift_detector_pipeline.release.registry import champion_folder, history, promote, register
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import instruction_set
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Basket, Gate, Heal, Lifecycle, Monitor, Retrain

PLACE = Path("outputs/year")
_DATABASE = "sqlite:///models/requests.sqlite"
_PACKAGE = "drift_detector_pipeline"


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
        180, 24, YEAR, 15, True,
        ["lifecycle.wait_images=128", "heal.images=128", "monitor.cause_images=64", "basket.images=20",
         "retrain.further_epochs=3", "gate.clean_margin=0.02", "gate.others_margin=0.02"],
    ),
    "digits": Plan(
        22, 18, MONTH, 7, False,
        ["lifecycle.wait_images=64", "monitor.cause_images=32", "gate.clean_margin=0.05", "gate.others_margin=0.1",
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


@exit_status
def main() -> int:
    """Live the year that the words name."""
    command = read_command(sys.argv[1:], {"data": tuple(PLANS)})
    words = dict(word.split("=", 1) for word in command.overrides)
    if wrong := [word for word in words if word not in ("seed", "strangers")]:
        raise ConfigError(
            f"{wrong[0]}: no word of a year; a run, strangers=FOLDER, data={' or '.join(PLANS)}, seed=N are"
        )
    set_up_logging()
    name = command.own.get("data", "cifar10")
    strangers = Path(words.get("strangers", "data/processed/imagenette"))
    report = live(name, PLANS[name], int(words.get("seed", "0")), command.target, strangers)
    path = Path("reports") / f"year_{name}_seed{report['seed']}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, report)
    log.info("%s, %s, %s", path, write_spread(name, path.parent), Path(report["folder"]) / "year.html")
    return 0


def live(name: str, plan: Plan, seed: int, run: Path | None = None, strangers: Path = Path()) -> dict[str, Any]:
    """Prepare a world and a first champion, live the year, and say what it came to.

    Raises a PipelineError if a step that must not fail does.
    """
    started = time.perf_counter()
    folder = make_folder(PLACE / now().replace(":", "-"))
    cache = (PLACE / "trained").resolve()
    world = _laid_out(name, plan, folder, seed, run, strangers)
    log.info("%s: %d images come as a year", folder, len(world.labels))
    _run(folder, ["release.export", *([str(FIRST)] if run else [])])
    with contextlib.chdir(folder):
        first = register(MODELS / "artefact")
        promote(first, who="nobody", why="the first")
        with serving() as address, closing(RequestLog(_DATABASE)) as requests:
            year = _live(address, requests, world, plan, seed)
            found = reckon(year)
        found |= _others(year, plan, found.pop("versions"), cache)
    report = {
        "data": name, "seed": seed, "model": first, "run": str(run) if run else None, "folder": str(folder),
        "command": this_command(), "when": now(), "processor": processor(), "packages": package_versions(),
        "minutes": round((time.perf_counter() - started) / 60, 1), **found,
    }  # fmt: skip
    report["marks"] = marks(report)
    write_year(folder / "year.html", report)
    return report


def processor() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} cores, {instruction_set(torch.device('cpu'))}"


def _laid_out(name: str, plan: Plan, folder: Path, seed: int, run: Path | None, strangers: Path) -> World:
    """The first champion's run and data below `folder`, and the images that will come."""
    if not plan.pipeline:
        if run is None:
            raise ConfigError(
                f"data={name}: name a finished run, whose network begins: make simulate_year RUN=outputs/..."
            )
        if not (strangers / MANIFEST).is_file():
            raise ConfigError(f"strangers={strangers}: no processed data; run: make process_data ARGS=data=imagenette")
        return given(run, strangers, folder, seed)
    processed = open_processed(load([f"data={name}"]).settings.data, f'run: make process_data ARGS="data={name}"')
    world = divide(processed, plan.pipeline, folder / "data/raw/own", seed)
    _run(folder, ["dataset", *plan.training])
    _run(folder, ["modeling.train", *plan.training, f"run.seed={seed}"])
    return world


def _live(address: str, requests: RequestLog, world: World, plan: Plan, seed: int) -> Year:
    """A day after the other."""
    words = [*_POLICY, *plan.policy, f"monitor.database={_DATABASE}", "monitor.once=true"]
    steps = Steps(
        load_section(Basket, words), load_section(Heal, words), load_section(Retrain, words), load_section(Gate, words),
        KEPT,
    )  # fmt: skip
    life = Life(address, requests, load_section(Monitor, words), load_section(Lifecycle, words), steps)
    came, asked = list[Any](), list[Any]()
    with progress_bar(total=plan.days, title="year", unit=" days") as bar:
        for day in days(world, plan.spells, plan.days, plan.a_day, seed):
            came.append(day)
            asked.append(life.live(day, world.classes))
            bar.update()
    return Year(came, asked, plan.spells, requests)


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
        best = by_knowledge(known, stream, plan.spells, [*versions.values(), calendar["by_day"]], cache)
    return {"others": {"retrain monthly": calendar, "online MMD, then retrain": test, "oracle": best}}


def _run(folder: Path, words: Sequence[str]) -> None:
    """A step of the pipeline, as a person runs it. Raises DataError if it fails; it has said why by then."""
    command = [sys.executable, "-m", f"{_PACKAGE}.{words[0]}", *words[1:]]
    if subprocess.run(command, cwd=folder).returncode:
        raise DataError(f"{folder}: {' '.join(command[2:])} failed; see above")


if __name__ == "__main__":
    sys.exit(main())
