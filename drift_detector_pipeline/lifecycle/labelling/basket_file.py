"""What a basket of images holds: basket.json and, for whoever labels them, the same as files of other tools.

In: a filled folder. Out: a `Basket` back. Written by basket.py, read by labels.py and label.py.

    images/            one file an image: its own bytes, or the small picture of the log
    basket.json        where each comes from, why it was chosen, what the model said; the last file
    basket.csv         path, label (empty), predicted: for a spreadsheet
    label_studio.json, label_studio.xml, cvat_labels.json   see label_formats.py
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import StringConstraints

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.json_files import read_json, typed

Why = Literal["random", "carrier", "stranger"]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
FILE, TABLE, IMAGES = "basket.json", "basket.csv", "images"
BASKETS = Path("data/baskets")
REMEDY = "make a new one: make basket"
_ROWS, _SHARES = {"first", "images"}, {"accuracy", "low", "high"}
_ESTIMATE = {*_SHARES, "known", "of"}


class Item(NamedTuple):
    """An image of a basket."""

    file: str  # below the basket, always images/NAME
    sha256: Sha256  # of the bytes that were sent to the service
    file_sha256: str  # of the file here; another one if it is the log's small picture
    picture: Literal["original", "thumbnail"]
    request: int  # row of the log
    request_id: str
    at: float  # when it was answered, in seconds since 1970
    source: str
    chosen: Why
    predicted: str
    probability: float


class Basket(NamedTuple):
    """What basket.json says."""

    folder: Path  # not in the file
    made: str  # ISO 8601
    model: dict[str, Any]  # name, sha256, reference_sha256 and its number in the log
    classes: list[str]
    alarm: dict[str, Any] | None  # its number, level and cause
    source: str | None  # None: of all
    rows: dict[str, int]  # first, last, images (different ones), without_picture
    estimate: dict[str, Any] | None  # of accuracy, before there were labels
    seed: int  # of the images that were drawn at random
    images: list[Item]

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name


def write_basket(basket: Basket, folder: Path) -> None:
    """Write basket.json into `folder`."""
    values = basket._asdict() | {"images": [item._asdict() for item in basket.images]}
    del values["folder"]
    write_json(folder / FILE, values)


def read_basket(folder: Path) -> Basket:
    """Read basket.json. Raises DataError if it is missing or damaged, or names a file outside of images/."""
    path = folder / FILE
    try:
        values = read_json(path)
        basket = typed(Basket, values | {"folder": folder.absolute()} if isinstance(values, dict) else values)
        if not all(lies_in_images(item.file) for item in basket.images):
            raise ValueError("a file outside of images/")
        if len({item.file for item in basket.images}) < len(basket.images):
            raise ValueError("an image twice")
        told = _ESTIMATE if basket.estimate is None else basket.estimate.keys()
        if not (basket.rows.keys() >= _ROWS and told >= _ESTIMATE):
            raise ValueError("a part of rows or estimate is missing")
        if not basket.classes:
            raise ValueError("no classes")
        if basket.estimate is not None and not all(isinstance(basket.estimate[name], int | float) for name in _SHARES):
            raise ValueError("an estimate that is no number")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such file; name a basket: BASKET=FOLDER, or {REMEDY}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); {REMEDY}") from error
    return basket


def lies_in_images(file: str) -> bool:
    """Whether a file's name is images/NAME, which nothing else hides in."""
    return Path(file).parent == Path(IMAGES) and not Path(file).name.startswith(".")


def baskets(place: Path = BASKETS) -> list[Path]:
    """The folders of all baskets, the oldest first."""
    return sorted(path.parent for path in place.glob(f"*/{FILE}") if not path.parent.name.startswith("."))


def newest_basket(place: Path = BASKETS) -> Path:
    """The folder of the newest basket. Raises DataError if there is none."""
    if not (found := baskets(place)):
        raise DataError(f"{place}: no basket in it; make one first: make basket")
    return found[-1]
