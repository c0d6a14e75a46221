"""The folder that is handed on: whole, or an error that names the file and the command that mends it."""

import json
import os

import pytest

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.release.artefact import Artefact, newest_artefact, read_artefact, write_artefact


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "artefact"
    place.mkdir()
    (place / "model.onnx").write_bytes(b"weights")
    (place / "MODEL_CARD.md").write_bytes(b"# card")
    return place


def written(folder):
    return write_artefact(
        Artefact(
            folder, "model.onnx", "onnxruntime", "fp32", "resnet18", ["cat", "dog"], 32, 40, True, {}, "ab", {"a": 1}
        )
    )


def test_what_is_read_is_what_was_written(folder):
    artefact = written(folder)
    assert read_artefact(folder) == artefact


def test_the_identity_changes_with_file_runtime_and_precision_and_with_nothing_else(folder):
    artefact = written(folder)
    others = [artefact._replace(runtime="openvino"), artefact._replace(precision="int8")]
    (folder / "model.onnx").write_bytes(b"other weights")
    others.append(written(folder))
    assert len({one.identity for one in (artefact, *others)}) == 4
    assert artefact._replace(name="another", facts={}).identity == artefact.identity


@pytest.mark.parametrize("name", ["model.onnx", "MODEL_CARD.md"])
def test_a_changed_file_is_named(folder, name):
    written(folder)
    (folder / name).write_bytes(b"changed")
    with pytest.raises(DataError, match=f"{name}: damaged or exchanged .* make export"):
        read_artefact(folder)


def test_a_file_that_is_gone_is_named(folder):
    written(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"model.onnx: No such file .* make export"):
        read_artefact(folder)


def test_a_folder_without_a_manifest_is_no_artefact(folder):
    with pytest.raises(DataError, match=r"artefact.json: no such file; export a finished run first: make export"):
        read_artefact(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../model.onnx"}, {"file": "second_look.onnx"}, {"runtime": "torch"}, {"precision": "fp16"},
        {"classes": ["one"]}, {"classes": [1, 2]}, {"side_px": 0}, {"side_px": "32"}, {"rows_independent": 1},
        {"sha256": {"model.onnx": "a", "../../etc/passwd": "b"}}, {"sha256": {}}, {"sha256": None}, {"facts": []},
        {"more": 1},
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_is_refused(folder, change):
    written(folder)
    manifest = folder / "artefact.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(DataError, match=r"artefact.json: damaged"):
        read_artefact(folder)


@pytest.mark.parametrize("change", [{"classes": ["b", "a"]}, {"stored_side_px": 64}, {"facts_sha256": "0"}])
def test_a_manifest_that_could_be_but_was_changed_is_refused(folder, change):
    written(folder)
    manifest = folder / "artefact.json"
    as_written = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(as_written | change))
    with pytest.raises(DataError, match="changed since it was written"):
        read_artefact(folder)
    del as_written["facts_sha256"]  # as older versions wrote it
    manifest.write_text(json.dumps(as_written))
    read_artefact(folder)


def test_half_a_manifest_is_refused(folder):
    written(folder)
    manifest = folder / "artefact.json"
    manifest.write_text(manifest.read_text()[:60])
    with pytest.raises(DataError, match=r"artefact.json: damaged"):
        read_artefact(folder)


def test_the_newest_is_the_one_that_was_written_last(folder, tmp_path):
    written(folder)
    later = tmp_path / "a later one"
    later.mkdir()
    (later / "model.onnx").write_bytes(b"weights")
    written(later)
    os.utime(folder / "artefact.json", (1, 1))
    half = tmp_path / ".artefact.partial"  # an export that was killed, or is about to end
    half.mkdir()
    (half / "artefact.json").write_text("{}")
    assert newest_artefact(tmp_path) == later


def test_without_any_it_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="make export"):
        newest_artefact(tmp_path)
