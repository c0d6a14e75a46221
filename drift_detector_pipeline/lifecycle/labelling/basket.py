"""`make basket ALARM=7 IMAGES=FOLDER`: the images of a change that are worth a label, as a folder for people.

In: an alarm of the request log, or a source, or nothing: the newest alarm, or the newest rows; the images' bytes, by
their SHA-256, in IMAGES, in the folder of serving.keep_images, or as small pictures in the log. Out:
data/baskets/<date>_<time>/, as basket_file.py has it. Read by whoever labels, and by labels.py.

Only images whose picture is somewhere can be asked about, and so the accuracy that random ones tell is that of these:
of the newest, where a bounded folder has lost the older ones.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from drift_detector_pipeline.commands import read_command, refuse_others, values_of
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log as say
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.drift.reference import Reference
from drift_detector_pipeline.drift.reference_file import load_reference
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.files import final_name, new_folder
from drift_detector_pipeline.images.decoder import ending_of
from drift_detector_pipeline.lifecycle.labelling.basket_file import (
    BASKETS,
    IMAGES,
    Basket,
    Item,
    baskets,
    read_basket,
    write_basket,
)
from drift_detector_pipeline.lifecycle.labelling.choosing import Choice, choose
from drift_detector_pipeline.lifecycle.labelling.label_formats import write_tasks
from drift_detector_pipeline.lifecycle.labelling.pictures import images_by_hash, read_checked
from drift_detector_pipeline.lifecycle.labelling.stretch import Stretch, estimate_of, rows_of, since_alarm, stretch_of
from drift_detector_pipeline.lifecycle.labels_of_images import refuse_task
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow
from drift_detector_pipeline.release.artefact import MODELS, read_manifest
from drift_detector_pipeline.release.registry import find_artefact
from drift_detector_pipeline.runs.facts import now
from drift_detector_pipeline.serving.database import is_missing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, StoredRow, scores_of
from drift_detector_pipeline.settings_in_use import Basket as Limits
from drift_detector_pipeline.settings_in_use import Serving

_OWN, _OF_THE_SERVICE = ("alarm", "source", "last"), ("serving.database", "serving.keep_images")


@exit_status
def main() -> int:
    """Make the basket that the words name."""
    set_up_logging()
    command = read_command([word for word in sys.argv[1:] if word.partition("=")[0] not in _OWN])
    own = values_of([word for word in sys.argv[1:] if word.partition("=")[0] in _OWN], ("source",))
    keys = [f"basket.{name}" for name in Limits.model_fields]
    refuse_others(command.overrides, [*_OWN, *keys, *_OF_THE_SERVICE], "make basket")
    settings, serving = load_section(Limits, command.overrides), load_section(Serving, command.overrides)
    log = _open_log(command.overrides, serving)
    try:
        folder = make_basket_of(log, stretch_of(log, own), command.target or serving.keep_images, settings)
    finally:
        log.close()
    say.info("%s", folder)
    say.info("label them in the browser (make label), a spreadsheet, Label Studio or CVAT; then: make labels FILE=...")
    return 0


def _open_log(words: Sequence[str], serving: Serving) -> RequestLog:
    """The log that is named, or else in the environment, as for the service."""
    named = any(word.startswith("serving.database=") for word in words)
    address = serving.database if named else os.environ.get("DATABASE_URL") or serving.database
    if is_missing(address):
        raise DataError(f"{address}: no log there; make serve writes one, serving.database=... names another")
    return RequestLog(address, reading=True)


def make_basket(
    log: RequestLog, alarm: AlarmRow, images: Path | None, settings: Limits,
    *, place: Path = BASKETS, models: Path = MODELS,
) -> Path:  # fmt: skip
    """Make a basket of the rows since an alarm's change, of its source; return its folder below `place`.

    `images`: a folder that may hold the images; without it, or for those that it lacks, the pictures of the log are
    taken. Raises DataError if there is not one picture, or a file or the log cannot be read,
    ConfigError if the model finds boxes.
    """
    return make_basket_of(log, since_alarm(alarm), images, settings, place=place, models=models)


def basket_about(log: RequestLog, alarm: AlarmRow, place: Path = BASKETS) -> Path | None:
    """The newest basket there is about an alarm of a log: nobody is asked twice because a program was killed."""
    facts = log.facts_of(alarm.model_id)
    model = {"sha256": facts.sha256, "reference_sha256": facts.reference_sha256}
    for folder in reversed(baskets(place)):
        basket = read_basket(folder)
        same = (basket.alarm or {}).get("id") == alarm.id and (basket.alarm or {}).get("since") == alarm.since
        if same and model.items() <= basket.model.items():
            return folder
    return None


def make_basket_of(
    log: RequestLog, stretch: Stretch, images: Path | None, settings: Limits,
    *, place: Path = BASKETS, models: Path = MODELS,
) -> Path:  # fmt: skip
    """Make a basket of any rows of a model; else as `make_basket`."""
    rows = rows_of(log, stretch)
    facts = log.facts_of(stretch.model_id)
    _refuse_but_images(facts, models)
    pictures = _pictures(log, rows, images)
    there = [row for row in rows if row.image_sha256 in pictures]
    if not there:
        raise DataError(
            f"no picture of {len(rows)} images: name the folder that holds them: IMAGES=FOLDER; from now on the "
            "service can keep them: serving.keep_images=FOLDER, or small ones in the log: serving.thumbnails=0.1"
        )
    earlier = [read_basket(folder) for folder in baskets(place)]
    seed = _seed(facts, rows, len(earlier))
    known = {item.sha256 for basket in earlier for item in basket.images}
    chosen = _choose(there, facts, models, settings, seed, known)
    with new_folder(place) as folder:
        (folder / IMAGES).mkdir()
        items = [_put(log, there[one.place], one, pictures, facts, folder) for one in chosen]
        about = {
            "first": rows[0].id,
            "last": rows[-1].id,
            "images": len(rows),
            "without_picture": len(rows) - len(there),
        }
        model = {"name": facts.name, "sha256": facts.sha256, "reference_sha256": facts.reference_sha256}
        basket = Basket(
            final_name(folder), now(), model | {"number": stretch.model_id}, facts.classes, _about(stretch.alarm),
            stretch.source, about, estimate_of(log, stretch, rows[0].id), seed, [item for item in items if item],
        )  # fmt: skip
        if not basket.images:
            raise DataError(f"{images}: none of {len(items)} images could be read any more; make basket again")
        write_tasks(basket, folder)
        write_basket(basket, folder)
    _say(basket)
    return final_name(folder)


def _pictures(log: RequestLog, rows: Sequence[StoredRow], images: Path | None) -> dict[bytes, Path | int]:
    """For each image that has one its file, or else the row whose picture is in the log."""
    of_row = {row.id: row.image_sha256 for row in rows}
    found: dict[bytes, Path | int] = {
        of_row[one]: one for one in log.pictured(min(of_row), max(of_row)) if one in of_row
    }
    if images is not None:
        found |= images_by_hash(images, set(of_row.values()))
    return found


def _choose(
    rows: Sequence[StoredRow], facts: ModelFacts, models: Path, settings: Limits, seed: int, known: set[str]
) -> list[Choice]:
    reference = _reference(facts, models) if settings.random < 1 else None
    scores = None if reference is None else scores_of(rows, reference.scores.shape[1])
    seen = {place for place, row in enumerate(rows) if row.image_sha256.hex() in known}
    return choose(scores, reference, len(rows), settings.images, settings.random, seed=seed, known=seen)


def _refuse_but_images(facts: ModelFacts, models: Path) -> None:
    """Raise ConfigError if the model does not say labels of images, as far as its artefact is here to tell."""
    with suppress(DataError):
        task = read_manifest(find_artefact(facts.sha256, facts.reference_sha256, models)).task
        refuse_task(task, facts.name, "a basket")


def _reference(facts: ModelFacts, models: Path) -> Reference | None:
    """The world that the model was trained in; None, and a warning, where it is not known."""
    try:
        if facts.reference_sha256:
            return load_reference(find_artefact(facts.sha256, facts.reference_sha256, models))[0]
        say.warning("%s has no drift reference, so all images are drawn at random", facts.name)
    except DataError as error:
        say.warning("all images are drawn at random, since what carries the change cannot be told: %s", error)
    return None


def _seed(facts: ModelFacts, rows: Sequence[StoredRow], earlier: int) -> int:
    """The same for the same rows, another one for the next basket of them."""
    text = f"{facts.digest} {rows[0].id} {rows[-1].id} {earlier}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _put(
    log: RequestLog, row: StoredRow, choice: Choice, pictures: dict[bytes, Path | int], facts: ModelFacts, folder: Path
) -> Item | None:
    """Copy an image's picture into the basket; None if it is not there any more."""
    source = pictures[row.image_sha256]
    original = isinstance(source, Path)
    content = read_checked(source, row.image_sha256) if isinstance(source, Path) else log.thumbnail_of(source)
    if content is None:
        say.warning("%s: not there any more, or changed since it was found; left out", source)
        return None
    name = f"{IMAGES}/{row.image_sha256.hex()[:16]}{ending_of(content)}"
    (folder / name).write_bytes(content)
    return Item(
        name, row.image_sha256.hex(), hashlib.sha256(content).hexdigest(), "original" if original else "thumbnail",
        row.id, row.request_id, row.at, row.source, choice.why, facts.classes[row.predicted], row.probability,
    )  # fmt: skip


def _about(alarm: AlarmRow | None) -> dict[str, Any] | None:
    return alarm and {name: getattr(alarm, name) for name in ("id", "level", "since", "cause")}


def _say(basket: Basket) -> None:
    chosen = [str(item.chosen) for item in basket.images]
    rows, small = basket.rows, sum(item.picture == "thumbnail" for item in basket.images)
    say.info(
        "%d images of %d different ones since request %d: %d at random, %d that carry the change, %d likely strangers",
        len(chosen), rows["images"], rows["first"], *map(chosen.count, ("random", "carrier", "stranger")),
    )  # fmt: skip
    if rows["without_picture"]:
        say.warning("%d of these images have no picture anywhere and could not be chosen", rows["without_picture"])
    if small:
        say.info("%d of them are small pictures of the log: enough to label, too small to learn from", small)


if __name__ == "__main__":
    sys.exit(main())
