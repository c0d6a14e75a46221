"""The Croissant metadata of processed data: valid by MLCommons' own library, which reads the tables through it."""

import csv
import json

import pytest
from conftest import CLASSES, make_folder

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.processed.croissant import write_croissant
from drift_detector_pipeline.processed.manifest import open_processed


@pytest.fixture
def packed(tmp_path):
    """A processed folder of thirty images, and its settings."""
    make_folder(tmp_path / "animals", 10)
    words = ["data=folder", f"data.raw_path={tmp_path / 'animals'}", f"data.processed_path={tmp_path / 'packed'}",
             "data.stored_side_px=8", "data.img_size=8", "data.val_fraction=0.3", "data.fit_fraction=0.1"]  # fmt: skip
    settings = load(words).settings.data
    process(settings)
    return settings


def test_it_names_every_file_with_its_hash_and_goes_with_the_folder_it_describes(packed):
    path = write_croissant(open_processed(packed), packed)
    described = json.loads(path.read_text())
    files = {one["@id"]: one["sha256"] for one in described["distribution"]}
    assert files == {name: file_hash(path.parent / name) for name in ("images.bin", "index.csv")}
    assert [row["classes/name"] for row in described["recordSet"][1]["data"]] == list(CLASSES)
    process(packed)  # there is nothing to do, and the file is no stranger
    assert open_processed(packed).manifest.images == 30


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its reader of JSON-LD, of itself
def test_mlcroissant_finds_no_error_and_reads_the_index_through_it(packed):
    mlcroissant = pytest.importorskip("mlcroissant", reason="installed for developing, not in the image")
    path = write_croissant(open_processed(packed), packed)
    dataset = mlcroissant.Dataset(jsonld=path)
    assert list(dataset.metadata.ctx.issues.errors) == []
    with (path.parent / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = [(one["images/path"].decode(), one["images/label"]) for one in dataset.records("images")]
    assert read == [(row["path"], int(row["label"])) for row in rows]
    broken = json.loads(path.read_text())
    broken["recordSet"][2]["field"][0]["source"]["fileObject"]["@id"] = "elsewhere.csv"
    path.write_text(json.dumps(broken))
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=path)
