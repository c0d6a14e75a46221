"""A source of several archives: fetched one by one from a real loopback server, each checked, unpacked together."""

import hashlib
import http.server
import itertools
import json
import logging
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import pack_zip, write_image
from drawn_boxes import draw_source

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.raw import download, fetch
from drift_detector_pipeline.raw.archives import archives_of
from drift_detector_pipeline.settings import Data

NAMES = ("annotations.zip", "pictures.zip")


class Server(http.server.ThreadingHTTPServer):
    """Serves the files of a folder and notes what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path.lstrip("/"))
        super().do_GET()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A folder with pictures in one archive and the boxes in another, as COCO and KITTI come."""
    drawn = draw_source(tmp_path / "drawn", images=6)
    boxes = tmp_path / "annotations"
    boxes.mkdir()
    (drawn / "instances.json").rename(boxes / "instances_all.json")
    (tmp_path / "public").mkdir()
    pack_zip(drawn, tmp_path / "public" / "pictures.zip")
    pack_zip(boxes, tmp_path / "public" / "annotations.zip")
    return tmp_path / "public"


@pytest.fixture
def server(public: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "_BACKOFF_S", 0.01)
    with Server(public) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield running
        running.shutdown()


@pytest.fixture
def asked(server: Server, tmp_path: Path) -> Callable[..., Data]:
    """Settings of a source in two archives, with the checksums given, in the order of NAMES."""

    def make(*checksums: str | None) -> Data:
        address = f"http://127.0.0.1:{server.server_port}"
        archives = [
            f"{{url: '{address}/{name}', sha256: {sha256 or 'null'}}}"
            for name, sha256 in zip(NAMES, checksums or (None, None), strict=True)
        ]
        words = [f"data.source_archives=[{', '.join(archives)}]", f"data.raw_path={tmp_path}/raw"]
        return load(["data=boxes", *words, f"data.processed_path={tmp_path}/processed"]).settings.data

    return make


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_missing_is_fetched_recorded_and_unpacked_together(
    asked: Callable[..., Data], server: Server, public: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = asked()
    with caplog.at_level(logging.INFO):
        process(data)
    opened, raw = open_processed(data), data.raw_path
    assert raw is not None and len(opened.images) == 6 and opened.images.boxes is not None
    for name in NAMES:
        assert (raw / f"{name}.sha256").read_text() == f"{sha256(public / name)}  {name}\n"
    assert caplog.text.count("recorded: nobody has told it") == 2
    subprocess.run(["sha256sum", "-c", "--quiet", *(f"{name}.sha256" for name in NAMES)], cwd=raw, check=True)
    with caplog.at_level(logging.INFO):
        process(data)
    assert "up to date" in caplog.text and server.asked == list(NAMES)
    (raw / NAMES[1]).unlink()
    fetch.ensure_raw(data)
    assert server.asked == [*NAMES, NAMES[1]]


def test_a_known_checksum_is_asked_of_what_comes_and_of_what_lies_there(
    asked: Callable[..., Data], server: Server, public: Path
) -> None:
    known = [sha256(public / name) for name in NAMES]
    data = asked(known[0], "0" * 64)
    with pytest.raises(DataError, match=rf"sent SHA-256 {known[1]} and \d+ bytes, expected 0{{64}}; removed"):
        fetch.ensure_raw(data)
    assert data.raw_path is not None and not (data.raw_path / NAMES[1]).exists()
    (data.raw_path / NAMES[1]).write_bytes(b"put there by hand")
    with pytest.raises(DataError, match=rf"{NAMES[1]} is not the file it should be: SHA-256 .* It is left alone"):
        fetch.ensure_raw(asked(*known))
    (data.raw_path / NAMES[1]).write_bytes((public / NAMES[1]).read_bytes())
    fetch.ensure_raw(asked(*known))
    assert (data.raw_path / f"{NAMES[1]}.sha256").read_text().startswith(known[1])
    assert server.asked == list(NAMES)


def test_an_archive_that_changed_since_it_came_is_refused(asked: Callable[..., Data]) -> None:
    data = asked()
    process(data)
    assert data.raw_path is not None
    path = data.raw_path / NAMES[1]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="is not the file it should be"):
        process(data)
    (data.raw_path / f"{NAMES[1]}.sha256").write_text("what is this")
    with pytest.raises(DataError, match="expected a SHA-256 of 64 digits"):
        process(data)


def test_a_single_file_from_a_public_address_is_recorded_too(server: Server, public: Path, tmp_path: Path) -> None:
    raw, address = tmp_path / "raw" / "own.zip", f"http://127.0.0.1:{server.server_port}/pictures.zip"
    data = load(["data=boxes", f"data.raw_path={raw}", f"data.source_url={address}"]).settings.data
    fetch.ensure_raw(data)
    fetch.verify(raw)
    raw.write_bytes(b"other bytes")
    with pytest.raises(DataError, match="is not the file it should be"):
        fetch.verify(raw)


def test_what_somebody_has_unpacked_or_names_instead_is_taken_as_it_is(
    asked: Callable[..., Data], server: Server, tmp_path: Path, public: Path
) -> None:
    data = asked()
    for own in (draw_source(tmp_path / "own", images=4), public / NAMES[1]):
        assert fetch.ensure_raw(data.model_copy(update={"raw_path": own})) == own
    assert server.asked == []


def test_archives_are_those_of_a_folder_that_holds_nothing_else(tmp_path: Path) -> None:
    for name in ("b.zip", "a.tar.gz", "a.tar.gz.sha256", "c.tgz.dvc", "d.zip.part", ".b.zip.lock"):
        (tmp_path / name).touch()
    assert [path.name for path in archives_of(tmp_path)] == ["a.tar.gz", "b.zip"]
    assert archives_of(tmp_path / "b.zip") == [tmp_path / "b.zip"]
    (tmp_path / "1.jpg").touch()
    assert archives_of(tmp_path) == archives_of(tmp_path / "nowhere") == []


@pytest.mark.parametrize("inside", ["", "PART/", "birds/PART/"])
def test_archives_named_as_parts_are_these_parts(tmp_path: Path, inside: str) -> None:
    (tmp_path / "raw").mkdir()
    for part, count in (("train", 3), ("test", 2)):
        with zipfile.ZipFile(tmp_path / "raw" / f"{part}.zip", "w") as packed:
            for number, label in itertools.product(range(count), ("heron", "stork")):
                write_image(tmp_path / "one.png", seed=number + 10 * (part == "test") + 100 * (label == "stork"))
                packed.write(tmp_path / "one.png", f"{inside.replace('PART', part)}{label}/{number}.png")
    words = ["data=folder", f"data.raw_path={tmp_path / 'raw'}", f"data.processed_path={tmp_path / 'processed'}"]
    data = load([*words, "data.fit_fraction=0", "data.stored_side_px=16", "data.img_size=16"]).settings.data
    process(data)
    found = open_processed(data, "")
    assert found.manifest.counts == {
        "train": {"heron": 3, "stork": 3}, "fit": {"heron": 0, "stork": 0}, "val": {"heron": 2, "stork": 2},
    }  # fmt: skip


@pytest.mark.parametrize(
    "archive", ["{url: 'http://x/'}", "{url: 'x.zip'}", "{url: 'http://x/y.zip', sha256: 'abc'}", "{sha256: null}"]
)
def test_an_address_without_a_file_or_half_a_checksum_is_refused(archive: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.source_archives"):
        load(["data=boxes", "data.raw_path=x", f"data.source_archives=[{archive}]"])


@pytest.mark.parametrize(("name", "count"), [("coco", 3), ("kitti", 2)])
def test_presets_of_several_archives_tell_what_they_expect(name: str, count: int) -> None:
    data = load([f"data={name}"]).settings.data
    assert data.format == name and len(data.source_archives) == count
    assert all(archive.sha256 and archive.file_name.endswith(".zip") for archive in data.source_archives)


def published(root: Path, name: str) -> Path:
    """Archives with the folders and files that those of the public addresses have, and a few pictures."""
    made, packed = root / "made", root / "published"
    packed.mkdir()
    if name == "coco":
        boxes = made / "annotations"
        for part, count in (("train2017", 5), ("val2017", 3)):
            drawn = draw_source(made / part, count, seed=count)
            boxes.mkdir(exist_ok=True)
            (drawn / "instances.json").rename(boxes / f"instances_{part}.json")
            values = json.loads((boxes / f"instances_{part}.json").read_text())
            captions = [{"id": 1, "image_id": values["images"][0]["id"], "caption": "a disc"}]
            (boxes / f"captions_{part}.json").write_text(
                json.dumps({"images": values["images"], "annotations": captions})
            )
            person = {"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}
            people = [annotation | {"category_id": 1, "keypoints": [1, 2, 2]} for annotation in values["annotations"]]
            (boxes / f"person_keypoints_{part}.json").write_text(
                json.dumps({"images": values["images"], "annotations": people, "categories": [person]})
            )
            pack_zip(drawn, packed / f"{part}.zip")
        pack_zip(boxes, packed / "annotations_trainval2017.zip")
        return packed
    for part in ("training", "testing"):
        for number in range(4):
            write_image(made / part / "image_2" / f"{number:06d}.png", seed=number, size=(62, 18))
    for number in range(4):
        lines = [
            "Car 0.00 0 -1.57 5.00 3.00 20.00 12.00 1 1 1 1 1 1 1",
            "DontCare -1 -1 -10 30 3 40 9 -1 -1 -1 -1 -1 -1 -1",
        ]
        place = made / "labels" / "training" / "label_2" / f"{number:06d}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(lines) + "\n")
    with zipfile.ZipFile(packed / "data_object_label_2.zip", "w") as opened:
        for path in sorted((made / "labels").rglob("*.txt")):
            opened.write(path, path.relative_to(made / "labels"))
    with zipfile.ZipFile(packed / "data_object_image_2.zip", "w") as opened:
        for path in sorted(made.rglob("*.png")):
            opened.write(path, path.relative_to(made))
    return packed


@pytest.mark.parametrize(
    ("name", "images", "classes"),
    [
        ("coco", {"train": 5, "fit": 0, "val": 3}, ["disc", "square"]),
        ("kitti", {"train": 3, "fit": 0, "val": 1}, ["Car"]),
    ],
)
def test_what_lies_at_the_public_addresses_is_read_as_it_lies_there(
    name: str, images: dict[str, int], classes: list[str], tmp_path: Path
) -> None:
    folder = published(tmp_path, name)
    with Server(folder) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        data = load(
            [f"data={name}", f"data.raw_path={tmp_path}/raw", f"data.processed_path={tmp_path}/out"]
        ).settings.data
        here = [
            archive.model_copy(
                update={
                    "url": f"http://127.0.0.1:{running.server_port}/{archive.file_name}",
                    "sha256": sha256(folder / archive.file_name),
                }
            )
            for archive in data.source_archives
        ]
        data = data.model_copy(update={"source_archives": here})
        process(data)
        running.shutdown()
    manifest = open_processed(data).manifest
    assert manifest.images_by_split == images and manifest.classes == classes
