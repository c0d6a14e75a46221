"""`make labels FILE=...`: labels that people gave come back, are checked, and tell how accurate the model was.

In: basket.csv with labels, or an export of Label Studio or CVAT; the basket they are of. Out: a line a label in
data/labels/<basket>/labels.jsonl, with who said so and in which file, and the images beside it; the true accuracy with
its interval, beside what was estimated. Read by retraining and by the test before a model is adopted.

A label is a class, or "?" for none of them, "?zebra" if somebody wrote what it is: the answer was wrong then, and
nothing can be learned from it. Lines are only ever added: the newest one of an image holds, the others say what was.

Every labelled image plays one part for good. Those drawn at random tell the accuracy, and nothing else: whoever
retrains because it is low would test the next model on images that were chosen as the last one's failures. Of the
others, which were chosen by looks, half by their SHA-256 is learned from and half tests what was learned. Small
pictures of the log are for the accuracy alone: they look unlike what a model is shown.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.console import log as say
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import exclusive, file_hash, write_atomically
from drift_detector_pipeline.json_files import parsed, typed
from drift_detector_pipeline.lifecycle.labelling.basket_file import (
    BASKETS,
    FILE,
    IMAGES,
    TABLE,
    Basket,
    Sha256,
    Why,
    baskets,
    lies_in_images,
    newest_basket,
    read_basket,
)
from drift_detector_pipeline.lifecycle.labelling.checked_labels import Given, checked_labels, known_names
from drift_detector_pipeline.lifecycle.labelling.label_formats import NONE_OF_THESE, Said, read_said
from drift_detector_pipeline.lifecycle.labelling.truth import truth_words
from drift_detector_pipeline.release.registry import name_of_user

LABELS, LINES = Path("data/labels"), "labels.jsonl"


class Labelled(NamedTuple):
    """An image, and what it shows."""

    path: Path  # of its bytes, or of the small picture of the log
    sha256: str  # of the bytes that the service was sent
    label: str  # a class, "?" for none of them, or "?NAME"
    predicted: str
    chosen: Why
    basket: str  # name of its folder
    at: float  # when the label was taken in, in seconds since 1970
    who: str
    original: bool = True  # False: a small picture


class _Line(NamedTuple):
    """What of a line of labels.jsonl is read again."""

    sha256: Sha256
    file: str
    label: str
    predicted: str
    chosen: Why
    picture: Literal["original", "thumbnail"]
    basket: str
    at: float
    who: str


class Taken(NamedTuple):
    """What became of a file."""

    folder: Path  # below data/labels
    new: int
    changed: int  # images that had another label before
    same: int  # that had this one
    empty: int  # images of the file without label


@exit_status
def main() -> int:
    """Take in the file that is named, or the newest basket's own table."""
    set_up_logging()
    command = read_command(sys.argv[1:], takes_images=True)
    refuse_others(command.overrides, (), "make labels", "FILE=... and BASKET=... say which they are")
    named = [Path(word) for word in command.images if word]
    if len(named) > 1:
        raise ConfigError(f"{named[1]}: one basket at a time, and {named[0]} is named before")
    file = command.target or (named[0] if named else newest_basket()) / TABLE
    said = read_said(file)
    basket = read_basket(named[0] if named else _basket_of(file, said))
    taken = take_labels(file, basket, said)
    say.info(
        "%s: %d new labels, %d corrected, %d known before, %d images without a label",
        taken.folder / LINES, taken.new, taken.changed, taken.same, taken.empty,
    )  # fmt: skip
    for sentence in truth_words(basket, {one.sha256: one.label for one in read_labels()}):
        say.info("%s", sentence)
    return 0


def take_labels(file: Path, basket: Basket, said: Sequence[Said] | None = None, place: Path = LABELS) -> Taken:
    """Check the labels of a file and keep them below `place`; `said`: what is in it, if that is known.

    Raises DataError that names everything that does not fit, and takes nothing then.
    """
    try:
        given, empty = checked_labels(basket, read_said(file) if said is None else said)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    if not given:
        raise DataError(f"{file}: not one label in it; fill the column label, or make label BASKET={basket.folder}")
    with exclusive(place / ".labels.lock"), _nothing_half(place / basket.name):
        folder = _folder_of(basket, place)
        before = {line.sha256: line.label for line in _lines(folder)}
        fresh = [one for one in given if before.get(one.item.sha256) != one.label]
        for one in given:
            _keep_image(basket, one, folder)
        own = {"from": file.name, "from_sha256": file_hash(file)}
        lines = [_line(basket, one, before.get(one.item.sha256)) | own for one in fresh]
        _add(folder, lines)
    changed = sum(one.item.sha256 in before for one in fresh)
    return Taken(folder, len(fresh) - changed, changed, len(given) - len(fresh), empty)


def read_labels(place: Path = LABELS) -> list[Labelled]:
    """Every labelled image, the oldest label first; the newest one of an image holds.

    One that was ever drawn at random stays that. Raises DataError if a file is damaged.
    """
    lines = [(folder, line) for folder in _folders(place) for line in _lines(folder)]
    drawn = {line.sha256 for _, line in lines if line.chosen == "random"}
    newest = dict[str, Labelled]()
    for folder, line in sorted(lines, key=lambda pair: pair[1].at):
        newest.pop(line.sha256, None)
        newest[line.sha256] = Labelled(
            folder / line.file, line.sha256, line.label, line.predicted,
            "random" if line.sha256 in drawn else line.chosen, line.basket, line.at, line.who,
            line.picture == "original",
        )  # fmt: skip
    return list(newest.values())


def split_labels(found: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Those to learn from, and those to test a candidate on, by a rule that never changes: see above."""
    usable = [one for one in found if one.chosen != "random" and one.original and not is_new(one.label)]
    train = [one for one in usable if int(one.sha256[:2], 16) % 2 == 0]
    return train, [one for one in usable if int(one.sha256[:2], 16) % 2]


def check_images(found: Sequence[Labelled]) -> None:
    """Raise DataError that names the first file which is not the image that was labelled any more."""
    for one in found:
        if one.original and (not one.path.is_file() or file_hash(one.path) != one.sha256):
            raise DataError(
                f"{one.path}: not the image that was labelled, or not there; the file of labels it was in brings it "
                f"back: make labels FILE=... BASKET={BASKETS / one.basket}"
            )


def is_new(label: str) -> bool:
    """Whether a label says that an image shows none of the classes."""
    return label.startswith(NONE_OF_THESE)


def _basket_of(file: Path, said: Sequence[Said]) -> Path:
    """The basket that a file lies in, or else the one that most of its images are of, the newest of several."""
    if (file.parent / FILE).exists():
        return file.parent
    known = [(known_names(read_basket(folder), said), number, folder) for number, folder in enumerate(baskets())]
    if not known or not max(known)[0]:
        raise DataError(f"{file}: no basket in {BASKETS} has these images; name theirs: BASKET=FOLDER")
    return max(known)[2]


@contextmanager
def _nothing_half(folder: Path) -> Iterator[None]:
    """Take away, if an error or a signal ends it, the files that came before their lines did."""
    before, lines = _all_below(folder), _text(folder)
    try:
        yield
    except BaseException:
        if _text(folder) == lines:
            for path in sorted(_all_below(folder) - before, reverse=True):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()
        raise


def _all_below(folder: Path) -> set[Path]:
    return {folder, *folder.rglob("*")} if folder.exists() else set()


def _text(folder: Path) -> bytes:
    path = folder / LINES
    return path.read_bytes() if path.exists() else b""


def _folder_of(basket: Basket, place: Path) -> Path:
    """Where labels of a basket lie, with what they are about. Raises DataError if that is another basket's."""
    folder, own = place / basket.name, (basket.folder / FILE).read_bytes()
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    if not (folder / FILE).exists():
        write_atomically(folder / FILE, own)
    elif (folder / FILE).read_bytes() != own:
        raise DataError(f"{folder}: labels of another basket of that name; rename the folder {basket.folder}")
    return folder


def _keep_image(basket: Basket, given: Given, folder: Path) -> None:
    source, target = basket.folder / given.item.file, folder / given.item.file
    if target.is_file() and file_hash(target) == given.item.file_sha256:
        return
    if not source.exists():
        raise DataError(f"{source}: is not there any more; bring it back, or leave its label empty; nothing was taken")
    if not source.is_file() or file_hash(source) != given.item.file_sha256:
        raise DataError(f"{source}: not the image that was put there, so its label may be wrong; nothing was taken")
    write_atomically(target, source.read_bytes())


def _line(basket: Basket, given: Given, before: str | None) -> dict[str, Any]:
    item = given.item
    return {
        "sha256": item.sha256, "file": item.file, "label": given.label, "predicted": item.predicted,
        "chosen": item.chosen, "picture": item.picture, "basket": basket.name, "at": time.time(),
        "who": given.who or name_of_user(), "when": given.when, "replaces": before,
    }  # fmt: skip


def _add(folder: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Add lines in one step: a kill leaves all of them or none."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(folder / LINES, _text(folder) + text.encode("utf-8", "backslashreplace"))


def _folders(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.glob(f"*/{LINES}"))


def _lines(folder: Path) -> Iterator[_Line]:
    path = folder / LINES
    if not path.exists():
        return
    for number, text in enumerate(_text(folder).rstrip(b"\n").split(b"\n"), 1):
        try:
            line = parsed(text)
            own = {name: line[name] for name in _Line._fields} if isinstance(line, dict) else line
            found = typed(_Line, own)
            if not lies_in_images(found.file):
                raise ValueError("a file outside of images/")
        except (ValueError, LookupError) as error:
            raise DataError(f"{path}: line {number} is damaged ({error}); restore it, or take that line out") from error
        yield found


if __name__ == "__main__":
    sys.exit(main())
