"""What a processed folder holds, as Croissant metadata: `make croissant ARGS="data=cifar10"`.

In: a processed folder. Out: croissant.json in it, JSON-LD by MLCommons' Croissant 1.0 (Akhtar et al. 2024): files with
their SHA-256, splits, classes, and the columns of each table. Read by search engines, catalogues and `mlcroissant`.
What a data set's owner has not said, as its licence, is not in it.
"""

import sys
from pathlib import Path
from typing import Any

from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import tell
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import file_hash, write_json
from drift_detector_pipeline.processed.manifest import CROISSANT, Processed, open_processed
from drift_detector_pipeline.processed.packing import BOXES, IMAGES, INDEX
from drift_detector_pipeline.processed.splits import SPLITS
from drift_detector_pipeline.settings import Data

_TERMS = (
    "arrayShape citeAs column data dataType equivalentProperty examples extract field fileProperty fileObject fileSet "
    "format includes isArray isLiveDataset jsonPath key md5 parentField path rai recordSet references regex "
    "repeated replace samplingRate separator source subField transform"
)
_TYPES = {"path": "sc:Text", "split": "sc:Text"} | dict.fromkeys(("x0", "y0", "x1", "y1"), "sc:Float")
_MEANINGS = {
    "path": "where the image lay in the source",
    "split": "train, fit (held back from training to fit what comes after it) or val",
    "label": "number of the class",
    "height": "rows of pixels",
    "width": "columns of pixels",
    "offset": f"first byte in {IMAGES}; height x width x 3 bytes of RGB follow",
    "bytes": f"length in {IMAGES}, where a JPEG follows instead",
    "image": f"number of the line in {INDEX}",
    "x0": "left edge in pixels", "y0": "upper edge", "x1": "right edge", "y1": "lower edge",
    "ignore": "1: neither to be found nor a mistake if it is",
}  # fmt: skip


@exit_status
def main() -> int:
    """Write the metadata of the data set that the overrides on the command line name."""
    settings = load(sys.argv[1:]).settings.data
    tell(write_croissant(open_processed(settings), settings))
    return 0


def write_croissant(data: Processed, settings: Data) -> Path:
    """Write croissant.json into the processed folder; return its path."""
    path = data.folder / CROISSANT
    write_json(path, croissant(data, settings))
    return path


def croissant(data: Processed, settings: Data) -> dict[str, Any]:
    """The metadata as JSON-LD."""
    manifest = data.manifest
    files = {IMAGES: "application/octet-stream", INDEX: "text/csv", BOXES: "text/csv"}
    tables = [("images", INDEX)] + [("boxes", BOXES)] * (data.folder / BOXES).exists()
    described = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.name,
        "description": f"{manifest.images} images of {len(data.classes)} classes, packed for training; made from "
        f"{Path(manifest.source.path).name}, SHA-256 {manifest.source.sha256}.",
        "version": f"1.0.0+{manifest.fingerprint[:12]}",
        "distribution": [
            _file(data.folder / name, kind) for name, kind in files.items() if (data.folder / name).exists()
        ],
        "recordSet": [_splits(manifest.images_by_split), _classes(data.classes)]
        + [_table(name, data.folder / file) for name, file in tables],
    }
    return described | ({"url": settings.source_url} if settings.source_url else {})


def _context() -> dict[str, Any]:
    """The names that JSON-LD readers expand; those that Croissant 1.0 prescribes."""
    terms: dict[str, Any] = {name: f"cr:{name}" for name in _TERMS.split()}
    typed = {name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")}
    return {
        "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/", "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
        **terms, **typed,
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "rai": "http://mlcommons.org/croissant/RAI/",
    }  # fmt: skip


def _file(path: Path, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": path.name, "name": path.name, "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B", "encodingFormat": kind, "sha256": file_hash(path),
    }  # fmt: skip


def _splits(images: dict[str, int]) -> dict[str, Any]:
    rows = [{"splits/name": name, "splits/images": images.get(name, 0)} for name in SPLITS]
    fields = [_field("splits/name", "sc:Text"), _field("splits/images", "sc:Integer")]
    return _set("splits", fields, "cr:Split", "splits/name", rows)


def _classes(names: list[str]) -> dict[str, Any]:
    rows = [{"classes/label": number, "classes/name": name} for number, name in enumerate(names)]
    fields = [_field("classes/label", "sc:Integer"), _field("classes/name", "sc:Text")]
    return _set("classes", fields, "sc:Enumeration", "classes/label", rows)


def _set(name: str, fields: list[dict[str, Any]], kind: str, key: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet", "@id": name, "name": name, "dataType": kind, "key": {"@id": key}, "field": fields,
        "data": rows,
    }  # fmt: skip


def _field(name: str, kind: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": kind}


def _table(name: str, file: Path) -> dict[str, Any]:
    """The columns that the first line of a table names."""
    with file.open(encoding="utf-8", errors="surrogateescape") as opened:
        columns = opened.readline().strip().split(",")
    return {
        "@type": "cr:RecordSet", "@id": name, "name": name, "field": [_column(name, file.name, one) for one in columns]
    }  # fmt: skip


def _column(table: str, file: str, column: str) -> dict[str, Any]:
    referred = {"split": "splits/name", "label": "classes/label"}.get(column)
    described = _field(f"{table}/{column}", _TYPES.get(column, "sc:Integer")) | {
        "description": _MEANINGS[column],
        "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
    }
    return described | ({"references": {"field": {"@id": referred}}} if referred else {})


if __name__ == "__main__":
    sys.exit(main())
