"""What a model says of anybody's images or clips: a part of an image, or all of it, after the other.

In: an open model; files. Out: each image with its answer, in order, whatever else is asked about with it. Read by
labels.py, by the processes that it spreads its work over, and by video/.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.images.crops import Stored, read_stored
from drift_detector_pipeline.images.named_files import ImageFile
from drift_detector_pipeline.images.tiles import Tile, tiles
from drift_detector_pipeline.modeling.clip_files import read_clips
from drift_detector_pipeline.modeling.loaders import batch_of
from drift_detector_pipeline.modeling.trained import Trained, outputs_of
from drift_detector_pipeline.runs.machine import Machine
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.task import Answer, Task

_WHOLE_PX = 1_000_000  # longer side of an image that is read as it is


class Image(NamedTuple):
    """An image on its way: its parts are answered one after another."""

    name: str
    stored: Stored
    tiles: list[Tile]  # px of the stored image
    answers: list[Answer]  # of the first tiles


def check_for_task(how: Predict, task: Task, classes: Sequence[str]) -> None:
    """Raise ConfigError if a word asks for what models of this task, or of more than two classes, cannot do."""
    for name in ("threshold", "tile_px"):
        if task.join is not None or (value := getattr(how, name)) is None:
            continue
        if name == "tile_px" or task.decide is None:
            raise ConfigError(f"predict.{name}={value}: is for models of boxes; this one is for {task.name}")
        if len(classes) != 2:
            raise ConfigError(f"predict.{name}={value}: is for models of two classes; this one has {len(classes)}")


def answers_of_files(
    trained: Trained, machine: Machine, found: Sequence[ImageFile], how: Predict, unreadable: dict[str, str]
) -> Iterator[tuple[Image, Answer]]:
    """Yield each image of the files and its answer, in order; add the others to `unreadable`."""
    if trained.clip is None:
        stored = read_stored(found, side_of(trained, how), trained.task.stored_side, unreadable)
    else:
        stored = read_clips(found, trained.clip, trained.stored_side_px, unreadable)
    yield from answers_of(trained, machine, stored, how)


def side_of(trained: Trained, how: Predict) -> int:
    """To how many px the side of an image is brought that counts for its task."""
    return trained.stored_side_px if how.tile_px is None else _WHOLE_PX


def answers_of(
    trained: Trained, machine: Machine, stored: Iterable[tuple[str, Stored]], how: Predict
) -> Iterator[tuple[Image, Answer]]:
    """Yield each of the named images, and its answer in px of the image as people see it, in order."""
    images = (
        Image(name, one, tiles(one.pixels.shape[-3], one.pixels.shape[-2], how.tile_px), []) for name, one in stored
    )
    parts = ((image, tile) for image in images for tile in image.tiles)
    while group := list(itertools.islice(parts, trained.task.batch)):
        views = [trained.task.view(_cut(image, tile), None, trained.look, None) for image, tile in group]
        known = [target for _, target in views if target is not None]  # of clips, how many frames of a view they fill
        outputs = outputs_of(trained, batch_of([view.numpy() for view, _ in views], known or None), machine)
        for (image, _), answer in zip(group, trained.task.answer(outputs, trained.classes), strict=True):
            image.answers.append(answer)
            if len(image.answers) == len(image.tiles):
                yield image, _on_image(image, trained, how)


def _cut(image: Image, tile: Tile) -> Pixels:
    return image.stored.pixels[..., tile.top : tile.top + tile.height, tile.left : tile.left + tile.width, :]


def _on_image(image: Image, trained: Trained, how: Predict) -> Answer:
    """What is said of an image's parts, in terms of the whole image as people see it."""
    task, size = trained.task, (image.stored.height, image.stored.width)
    if len(image.tiles) == 1:
        stored = image.stored.pixels.shape[-3:-1]
        answer = task.on_image(image.answers[0], size, trained.img_size, stored=stored)
        if task.decide is not None and how.threshold is not None:
            return task.decide(answer, trained.classes, how.threshold)
        return answer if task.join is None else task.join([(answer, Tile(0, 0, *size[::-1]))], size, how.threshold)
    assert task.join is not None
    parts = [
        (task.on_image(answer, (tile.height, tile.width), trained.img_size), tile)
        for answer, tile in zip(image.answers, image.tiles, strict=True)
    ]
    return task.join(parts, size, how.threshold)
