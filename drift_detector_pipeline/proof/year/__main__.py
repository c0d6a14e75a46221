"""A simulated year: `python -m drift_detector_pipeline.proof.year data=cifar10 seed=0`, or `make simulate_year`.

In: processed data: a part of it is the pipeline's own, the rest comes as a year, day by day. Out: a folder
outputs/year/<date>_<time>/ with everything that was made, reports/year_<data>_seed<n>.json, and the story as year.html
in the folder. `data=digits` is a month in a few minutes, to see that it works.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import make_folder, write_json
from drift_detector_pipeline.lifecycle.steps import Steps
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.proof.year.life import KEPT, Life, serving
from drift_detector_pipeline.proof.year.page import write_year
from drift_detector_pipeline.proof.year.reckoning import Year, reckon
from drift_detector_pipeline.proof.year.world import MONTH, YEAR, Spell, World, days, divide
from drift_detector_pipeline.release.artefact import MODELS
from drift_detector_pipeline.release.registry import promote, register
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Basket, Gate, Heal, Lifecycle, Monitor, Retrain

PLACE = Path("outputs/year")
_DATABASE = "sqlite:///models/requests.sqlite"
_PACKAGE = "drift_detector_pipeline"


class Plan(NamedTuple):
    """How a year is made of a data set."""

    pipeline: int  # images that are the pipeline's own
    days: int
    a_day: int
    spells: Sequence[Spell]
    training: list[str]
    policy: list[str]


_TRAINING = [
    "data=folder",
    "data.raw_path=data/raw/own",
    "model=conv_small",
    "data.stored_side_px=32",
    "data.img_size=32",
    "data.augmentation.min_area=1.0",
]
PLANS = {
    "cifar10": Plan(
        12_000, 365, 80, YEAR,
        [*_TRAINING, "data.val_fraction=0.3", "data.fit_fraction=0.15", "training.epochs=24",
         "training.batch_size=128", "training.optimizer=nmuon", "training.learning_rate=0.01",
         "training.weight_decay=0.1", "training.scheduler=OneCycleLR", "training.label_smoothing=0.1",
         "data.augmentation.flip=true", "data.augmentation.shift_px=4", "data.augmentation.cutout_px=10"],
        ["lifecycle.wait_images=328", "heal.images=128", "monitor.cause_images=64"],
    ),
    "digits": Plan(
        1_000, 22, 18, MONTH,
        [*_TRAINING, "data.val_fraction=0.4", "data.fit_fraction=0.2",
         "training.epochs=8", "training.batch_size=32", "training.learning_rate=0.003",
         "data.augmentation.flip=false"],
        ["lifecycle.wait_images=64", "monitor.cause_images=32", "gate.clean_margin=0.05", "gate.others_margin=0.1",
         "gate.brier_margin=0.1"],
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
    numbers = dict(word.split("=", 1) for word in command.overrides)
    if wrong := [word for word in numbers if word != "seed"]:
        raise ConfigError(f"{wrong[0]}: no word of a year; data={' or '.join(PLANS)}, and seed=N are")
    set_up_logging()
    name = command.own.get("data", "cifar10")
    report = live(name, PLANS[name], int(numbers.get("seed", "0")))
    path = Path("reports") / f"year_{name}_seed{report['seed']}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, report)
    log.info("%s, %s", path, Path(report["folder"]) / "year.html")
    return 0


def live(name: str, plan: Plan, seed: int) -> dict[str, Any]:
    """Prepare a world and a first champion, live the year, and say what it came to.

    Raises a PipelineError if a step that must not fail does.
    """
    started = time.perf_counter()
    processed = open_processed(load([f"data={name}"]).settings.data, f'run: make process_data ARGS="data={name}"')
    folder = make_folder(PLACE / now().replace(":", "-"))
    world = divide(processed, plan.pipeline, folder / "data/raw/own", seed)
    log.info("%s: %d images are the pipeline's own, %d come as a year", folder, plan.pipeline, len(world.labels))
    for words in (
        ["dataset", *plan.training],
        ["modeling.train", *plan.training, f"run.seed={seed}"],
        ["release.export"],
    ):
        _run(folder, words)
    with contextlib.chdir(folder):
        first = register(MODELS / "artefact")
        promote(first, who="nobody", why="the first")
        with serving() as address, closing(RequestLog(_DATABASE)) as requests:
            found = reckon(_live(address, requests, world, plan, seed))
    report = {
        "data": name, "seed": seed, "model": first, "folder": str(folder), "command": this_command(), "when": now(),
        "packages": package_versions(), "minutes": round((time.perf_counter() - started) / 60, 1), **found,
    }  # fmt: skip
    write_year(folder / "year.html", report)
    return report


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


def _run(folder: Path, words: Sequence[str]) -> None:
    """A step of the pipeline, as a person runs it. Raises DataError if it fails; it has said why by then."""
    command = [sys.executable, "-m", f"{_PACKAGE}.{words[0]}", *words[1:]]
    if subprocess.run(command, cwd=folder).returncode:
        raise DataError(f"{folder}: {' '.join(command[2:])} failed; see above")


if __name__ == "__main__":
    sys.exit(main())
