"""Not a test: small sources with annotations. Pictures are empty files, as readers do not open them."""

import json
from collections.abc import Mapping
from pathlib import Path

from drift_detector_pipeline.raw.formats import catalog
from drift_detector_pipeline.raw.listing import ImageBoxes, Listing, RawBox


def lay(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their paths below `root`."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def read(root: Path, files: Mapping[str, str | bytes] | None = None, layout: str | None = None) -> Listing:
    """The listing of a source, written first."""
    return catalog.read(lay(root, files or {}), None, layout)


def only(listing: Listing) -> ImageBoxes:
    """Of the only picture."""
    (found,) = listing.boxes.values()
    return found


def ends(listing: Listing) -> list[tuple[float, ...]]:
    """Of all boxes, in the order of the pictures."""
    return [box[:4] for found in listing.boxes.values() for box in found.boxes]


def sides(listing: Listing) -> dict[str, bool | None]:
    """Picture -> whether it is validated on."""
    return {image.path: image.in_val_folder for image in listing.images}


def xml(*boxes: tuple[object, ...], name: str = "", size: tuple[object, ...] = (64, 48), more: str = "") -> str:
    """An annotation of VOC; boxes are class, xmin, ymin, xmax, ymax, and 1 if difficult."""
    said = (
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>{more}"
    )
    for kind, x0, y0, x1, y1, *difficult in boxes:
        said += f"<object><name>{kind}</name><difficult>{int(bool(difficult))}</difficult><bndbox><xmin>{x0}</xmin>"
        said += f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
    return said + "</annotation>"


def coco(pictures: Mapping[str, list[dict[str, object]]], names: Mapping[int, str], **more: object) -> str:
    """A file of COCO: picture -> annotations, without their numbers."""
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(pictures)]
    given = [{"image_id": n, "iscrowd": 0} | box for n, boxes in enumerate(pictures.values()) for box in boxes]
    numbered = [{"id": n} | box for n, box in enumerate(given)]
    kinds = [{"id": number, "name": name} for number, name in names.items()]
    return json.dumps({"images": images, "annotations": numbered, "categories": kinds} | more)


def box(*given: float, kind: str = "cat", ignore: bool = False) -> RawBox:
    """A box as readers give it."""
    x0, y0, x1, y1 = given
    return RawBox(x0, y0, x1, y1, kind, ignore)
