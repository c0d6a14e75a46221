"""convert.py: boxes of one layout as a folder of another, and back."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from conftest import write_image
from PIL import Image

from drift_detector_pipeline import convert as convert_module
from drift_detector_pipeline.convert import convert
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats import catalog
from drift_detector_pipeline.raw.formats.catalog import LAYOUTS
from drift_detector_pipeline.raw.formats.survey import survey
from drift_detector_pipeline.raw.listing import RawBox

Boxes = dict[tuple[str, str | None], set[RawBox]]


def boxes_of(root: Path, layout: str) -> Boxes:
    """(name of the picture, part) -> boxes in px, rounded to a thousandth."""
    found = Boxes()
    for one in catalog.all_of(survey(root, root), layout).pictures:
        with Image.open(root / one.path) as picture:
            scale = picture.size * 2 if one.found.normalised else (1, 1, 1, 1)
        found[Path(one.path).stem, one.part] = {
            RawBox(*(round(end * side, 3) for end, side in zip(box[:4], scale, strict=True)), *box[4:])
            for box in one.found.boxes
        }
    return found


def coco_source(root: Path, parts: Mapping[str, int], crowd: bool = False) -> Path:
    """Pictures of several sizes with boxes, fractions among them, and one without; classes `b c` and `a`."""
    for part, count in parts.items():
        images, annotations = [], []
        for n in range(count):
            name, size = f"{part} {n}.png", (40 + n, 30)
            write_image(root / part / name, n, size)
            images.append({"id": n, "file_name": name, "width": size[0], "height": size[1]})
            for k in range(n % 3):
                box = {
                    "bbox": [k + 0.25, n + 1, 10.5, 7 + k],
                    "category_id": (9, 4)[k],
                    "iscrowd": int(crowd and k and n == 2),
                }
                annotations.append(box | {"id": len(annotations), "image_id": n})
        kinds = [{"id": 4, "name": "b c"}, {"id": 9, "name": "a"}]
        said = {"images": images, "annotations": annotations, "categories": kinds}
        (root / f"instances_{part}.json").write_text(json.dumps(said))
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coco_source(tmp_path_factory.mktemp("source"), {"train": 4, "val": 3, "test": 3})


@pytest.mark.parametrize(("first", "second"), list(permutations(LAYOUTS, 2)))
def test_boxes_survive_the_way_through_any_two_layouts(tmp_path: Path, source: Path, first: str, second: str) -> None:
    convert(source, first, tmp_path / "1")
    convert(tmp_path / "1", second, tmp_path / "2")
    convert(tmp_path / "2", "coco", tmp_path / "3")
    names = {"b_c": "b c"} if "kitti" in (first, second) else {}
    back = {key: {box._replace(class_name=names.get(box.class_name, box.class_name)) for box in boxes}
            for key, boxes in boxes_of(tmp_path / "3", "coco").items()}  # fmt: skip
    assert back == boxes_of(source, "coco") and len(back) == 10
    pictures = sorted(path.read_bytes() for path in (tmp_path / "3").rglob("*.png"))
    assert pictures == sorted(path.read_bytes() for path in source.rglob("*.png"))


def test_numbers_of_classes_and_their_order_survive_where_the_layout_has_them(tmp_path: Path, source: Path) -> None:
    convert(source, "coco", tmp_path / "coco")
    assert catalog.read(tmp_path / "coco")[7:9] == (("b c", "a"), (4, 9)) == catalog.read(source)[7:9]
    done = convert(source, "yolo", tmp_path / "yolo")
    assert catalog.read(tmp_path / "yolo").class_names == ("b c", "a")
    assert done.lost == {"numbers of classes with gaps: now without": 2}
    done = convert(source, "voc", tmp_path / "voc")
    assert done.lost["classes whose labels change: they follow their sorted names"] == 2


def test_boxes_to_ignore_are_kept_or_counted(tmp_path: Path) -> None:
    source = coco_source(tmp_path / "source", {"all": 6}, crowd=True)
    given = boxes_of(source, "coco")
    for layout in ("voc", "coco"):
        assert not any("ignore" in note for note in convert(source, layout, tmp_path / layout).lost)
        assert boxes_of(tmp_path / layout, layout) == given
    assert convert(source, "yolo", tmp_path / "yolo").lost["boxes to ignore: left out"] == 1
    lost = convert(source, "kitti", tmp_path / "kitti").lost
    assert lost["boxes to ignore for one class: DontCare, so for every class"] == 1
    careless = [box for boxes in boxes_of(tmp_path / "kitti", "kitti").values() for box in boxes if box.ignore]
    assert [box.class_name for box in careless] == [""]
    convert(tmp_path / "kitti", "coco", tmp_path / "back")
    assert boxes_of(tmp_path / "back", "coco") == boxes_of(tmp_path / "kitti", "kitti")
    said = json.loads((tmp_path / "back" / "annotations" / "instances_all.json").read_text())
    assert sum(one["iscrowd"] for one in said["annotations"]) == 2  # one for each class, as evaluators need it


def test_what_voc_cannot_say_is_counted(tmp_path: Path) -> None:
    line = "{} 0 0 0 {} 1 1 1 1 1 1 1\n"
    write_image(tmp_path / "kitti/image_2/1.png", 0)
    boxes = ("-3 2 9 9", "4 4 4.5 9", "7 7 9.5 9", "1 2 9 9")
    text = "".join(line.format(kind, ends) for kind, ends in zip(("a", "a", "DontCare", "a"), boxes, strict=True))
    (tmp_path / "kitti/label_2").mkdir()
    (tmp_path / "kitti/label_2/1.txt").write_text(text)
    done = convert(tmp_path / "kitti", "voc", tmp_path / "voc")
    assert {note.partition(":")[0]: count for note, count in done.lost.items()} == {
        "boxes that reach out to the left or top": 1,
        "boxes of at most 1 px in width or height": 1,
        "boxes to ignore whatever the class": 1,
    }
    assert boxes_of(tmp_path / "voc", "voc") == {
        ("1", None): {RawBox(0, 2, 9, 9, "a"), RawBox(1, 2, 9, 9, "a")}
    }  # fmt: skip


def test_what_yolo_has_no_shares_for_is_cut_to_the_picture_or_left_out_and_counted(tmp_path: Path) -> None:
    write_image(tmp_path / "in/image_2/1.png", 0, (10, 10))
    ends = ("-2 2 6 9", "-30 -30 40 5", "-9 1 -2 9", "95 1 99 9", "9 9 12 12")  # some; far; all; all; the middle
    (tmp_path / "in/label_2").mkdir()
    (tmp_path / "in/label_2/1.txt").write_text("".join(f"a 0 0 0 {one} 1 1 1 1 1 1 1\n" for one in ends))
    done = convert(tmp_path / "in", "yolo", tmp_path / "yolo")
    assert done.lost == {
        "boxes wholly outside of their picture: left out": 2, "boxes that reach far out of their picture: cut to it": 2,
    }  # fmt: skip
    shares = [line.split()[1:] for line in (tmp_path / "yolo/labels/train/1.txt").read_text().splitlines()]
    assert len(shares) == 3 and all(0 <= float(share) <= 1 for line in shares for share in line)
    boxes = {RawBox(-2, 2, 6, 9, "a"), RawBox(0, 0, 10, 5, "a"), RawBox(9, 9, 10, 10, "a")}
    assert boxes_of(tmp_path / "yolo", "yolo") == {("1", None): boxes}


def test_boxes_without_area_are_left_out_everywhere(tmp_path: Path) -> None:
    write_image(tmp_path / "images/1.png", 0)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text("0 0.5 0.5 0 0.5\n0 0.5 0.5 0.5 0.5\n")
    for layout in LAYOUTS:
        done = convert(tmp_path, layout, tmp_path.parent / f"{tmp_path.name}_{layout}", "yolo")
        assert done.lost["boxes without area: left out"] == 1
        assert sum(map(len, boxes_of(done.folder, layout).values())) == 1


@pytest.mark.parametrize("given_as", ["seen", "in the file"])
@pytest.mark.parametrize("to", LAYOUTS)
def test_a_picture_that_exif_turns_is_written_upright_with_its_boxes_on_the_same_pixels(
    tmp_path: Path, to: str, given_as: str
) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[5:15, 10:40] = 255
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a" / "1.png", exif=exif)  # turned back by a quarter
    box, size = ([10, 5, 30, 10], (60, 40)) if given_as == "seen" else ([5, 20, 10, 30], (40, 60))
    said = {"images": [{"id": 1, "file_name": "1.png", "width": size[0], "height": size[1]}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": 0}],
            "categories": [{"id": 1, "name": "a"}]}  # fmt: skip
    (tmp_path / "a" / "instances_all.json").write_text(json.dumps(said))
    done = convert(tmp_path / "a", to, tmp_path / "b")
    assert done.lost["pictures that EXIF turns: written upright, as PNG"] == 1
    (path,) = done.folder.rglob("*.png")
    with Image.open(path) as picture:
        assert (np.asarray(picture) == upright).all() and 0x0112 not in picture.getexif()
    assert boxes_of(done.folder, to) == {("1", None): {RawBox(10, 5, 40, 15, "a")}}


ODD = (
    "no",
    "1e3",
    "~",
    "a: b",
    "#x",
    "'",
    '"<&>"',
    "- x",
    "caf\u00e9 \U0001f600",
    "0",
    "{x",
    "*y",
    "\\",
    "true",
    "a\u2028b",
)


@pytest.mark.parametrize("to", LAYOUTS)
def test_classes_and_pictures_may_have_any_name(tmp_path: Path, to: str) -> None:
    names = dict(enumerate(name for name in ODD if to != "kitti" or name.split() == [name]))
    images = [{"id": n, "file_name": f"{name}.png", "width": 40, "height": 30} for n, name in enumerate(PICTURE_NAMES)]
    for image in images:
        write_image(tmp_path / "a" / str(image["file_name"]), 0)
    boxes = [{"id": n, "image_id": n % 3, "category_id": n, "bbox": [n, 2, 9, 9]} for n in names]
    kinds = [{"id": n, "name": name} for n, name in names.items()]
    said = {"images": images, "annotations": boxes, "categories": kinds}
    (tmp_path / "a" / "instances_all.json").write_text(json.dumps(said))
    convert(tmp_path / "a", to, tmp_path / "b")
    back = boxes_of(tmp_path / "b", to)
    assert back == boxes_of(tmp_path / "a", "coco") and len(back) == 3
    assert {box.class_name for boxes in back.values() for box in boxes} == set(names.values())


PICTURE_NAMES = ("a b.c", "\u00fc \U0001f600", "- 1 2")


def test_names_that_would_be_one_or_that_a_system_refuses_are_changed(tmp_path: Path) -> None:
    names = ("x/1.png", "y/1.jpg", "y/A.png", "z/a.png", "z/what?.png", "z/\u00fc.png")
    for n, name in enumerate(names):
        write_image(tmp_path / "images" / name, n)
        label = tmp_path / "labels" / Path(name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{n} 0.5 0.5 0.5 0.5\n")
    done = convert(tmp_path, "voc", tmp_path.parent / "voc")
    written = {path.name for path in (done.folder / "JPEGImages").iterdir()}
    assert written == {"1.png", "1_2.jpg", "A.png", "a_2.png", "what_.png", "\u00fc.png"}
    assert {name: next(iter(boxes)).class_name for (name, _), boxes in boxes_of(done.folder, "voc").items()} == {
        "1": "0", "1_2": "1", "A": "2", "a_2": "3", "what_": "4", "\u00fc": "5",
    }  # fmt: skip


def test_an_archive_is_converted_with_its_licence(tmp_path: Path, source: Path) -> None:
    shutil.copytree(source, tmp_path / "in" / "mine")
    (tmp_path / "in" / "mine" / "LICENSE.txt").write_text("yours")
    packed = shutil.make_archive(str(tmp_path / "mine"), "gztar", tmp_path / "in")
    done = convert(Path(packed), "yolo", tmp_path / "out")
    assert (done.folder / "LICENSE.txt").read_text() == "yours"
    assert json.loads((done.folder / "conversion.json").read_text())["pictures"] == {"test": 3, "train": 4, "val": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "mine.tar.gz", "out"]


def test_what_is_there_stays_and_what_fails_leaves_nothing(tmp_path: Path, source: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match=r"there: is there already and stays as it is; name another: ARGS=out=PATH"):
        convert(source, "yolo", tmp_path / "there")
    with pytest.raises(DataError, match="no such file or folder"):
        convert(tmp_path / "gone", "yolo", tmp_path / "out")
    broken = shutil.copytree(source, tmp_path / "broken")
    (broken / "val" / "val 1.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"broken/val/val 1\.png: .*; mend or remove it"):
        convert(broken, "yolo", tmp_path / "new" / "folder" / "out")
    with pytest.raises(DataError, match="no boxes in a layout that is known"):
        convert(tmp_path / "there", "yolo", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "there"]


def test_an_archive_that_is_none_is_told_without_the_name_of_another_command(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 cut")
    with pytest.raises(DataError, match=r"a\.zip: not a complete .* pack it again, then repeat this command$"):
        convert(tmp_path / "a.zip", "yolo", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_kill_leaves_no_folder_of_that_name(tmp_path: Path, source: Path) -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    program = f"import sys; from pathlib import Path; from drift_detector_pipeline import convert as c\n" \
              f"c._copy_licences = lambda *_: exec({code!r})\n" \
              f"c.convert(Path({str(source)!r}), 'yolo', Path({str(tmp_path / 'out')!r}))"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert not (tmp_path / "out").exists()
    convert(source, "yolo", tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["", ""], "name a source and one of voc, coco, kitti, yolo"),
        (["x", "tfrecord"], "x tfrecord: name a source"),
        (["x", "yolo", "format=imagefolder"], "name a source"),
        (["x", "yolo", "extra"], "name a source"),
        (["x", "yolo", "out=a", "out=b"], "out=PATH, once each"),
        (["x", "yolo", "out="], "name a source"),
        (["x", "yolo"], "x: no such file or folder"),
        (["data.zip", "yolo"], "data.zip: no such file or folder"),  # and not zip
        ([".", "yolo", "out=/proc/boxes"], "/proc/boxes: no folder can be made there"),
    ],
)
def test_words_that_say_too_little_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["convert", *words])
    assert convert_module.main() == 1 and says in capsys.readouterr().err


def test_pictures_that_are_links_to_nothing_or_to_devices_are_counted(tmp_path: Path) -> None:
    own = coco_source(tmp_path / "own", {"train": 2})
    for name, target in (("device.png", "/dev/null"), ("gone.jpg", "nowhere"), (".hidden.png", "nowhere")):
        (own / "train" / name).symlink_to(target)
    done = convert(own, "yolo", tmp_path / "yolo")
    assert done.read["pictures that are links to nothing, pipes or devices: left out"] == 2
    assert done.pictures == {"train": 2}


def test_the_command_says_where_it_went_and_what_was_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    coco_source(tmp_path / "mine", {"all": 3}, crowd=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["convert", "mine", "yolo", "format=coco"])
    assert convert_module.main() == 0
    said = capsys.readouterr()
    assert "data/raw/mine_yolo: 3 pictures" in said.out and "as YOLO: 1 boxes to ignore: left out" in said.err
    assert (tmp_path / "data/raw/mine_yolo/data.yaml").is_file()


def test_what_it_says_to_type_next_names_the_folder_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    coco_source(tmp_path / "mine", {"all": 3})
    monkeypatch.chdir(tmp_path)
    out = f"{tmp_path}/a b\n$'5 \x1b[1m"
    monkeypatch.setattr(sys, "argv", ["convert", "mine", "yolo", f"out={out}"])
    assert convert_module.main() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("use it: make train ")]
    shown = lines[0].removeprefix("use it: make train ").replace(r"\n", "\n").replace(r"\x1b", "\x1b")
    [typed] = shlex.split(shown)
    assert shlex.split(typed.removeprefix("ARGS="))[1] == f"data.raw_path={out}"


def test_kitti_goes_to_yolo_and_back_without_losing_a_hundredth_of_a_pixel(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    kitti = shared_data("kitti3")
    done = convert(kitti, "yolo", tmp_path / "yolo")
    assert done.lost == {"boxes to ignore: left out": 4}
    convert(tmp_path / "yolo", "kitti", tmp_path / "back")
    lines = {path.name: [line.split()[0::4][:1] + line.split()[4:8] for line in path.read_text().splitlines()]
             for root in (kitti, tmp_path / "back") for path in (root / "training/label_2").iterdir()}  # fmt: skip
    given = {path.name: path.read_text().splitlines() for path in (kitti / "training/label_2").iterdir()}
    for name, back in lines.items():
        kept = [line.split() for line in given[name] if not line.startswith("DontCare")]
        assert [[kind, *map(float, ends)] for kind, *ends in back] == [[one[0], *map(float, one[4:8])] for one in kept]


def test_coco_and_yolo_of_the_same_pictures_agree_once_they_are_converted(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    both = shared_data("coco27")
    convert(both, "voc", tmp_path / "coco", "coco")
    convert(both, "voc", tmp_path / "yolo", "yolo")
    coco, yolo = boxes_of(tmp_path / "coco", "voc"), boxes_of(tmp_path / "yolo", "voc")
    assert coco.keys() == yolo.keys() and len(coco) == 27
    best = [max((_iou(box, other) for other in coco[key] if other.class_name == box.class_name), default=0)
            for key, boxes in yolo.items() for box in boxes]  # fmt: skip
    assert len(best) == 173 and sorted(best)[1] >= 0.73 and np.median(best) > 0.97  # one is in the texts only


def _iou(one: RawBox, other: RawBox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    common = max(width, 0) * max(height, 0)
    areas = [(box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other)]
    return common / (sum(areas) - common)


@pytest.mark.slow
@pytest.mark.parametrize("to", LAYOUTS)
def test_bccd_keeps_all_boxes_with_an_area_and_its_published_parts(
    tmp_path: Path, shared_data: Callable[[str], Path], to: str
) -> None:
    done = convert(shared_data("bccd_voc"), to, tmp_path / "out")
    assert done.pictures == {"test": 72, "train": 205, "val": 87}
    assert done.lost == {"boxes without area: left out": 2}
    assert sum(map(len, boxes_of(tmp_path / "out", to).values())) == 4886


def test_a_file_that_no_image_is_as_large_as_is_named_before_it_is_read(tmp_path: Path) -> None:
    source = coco_source(tmp_path / "in", {"train": 2})
    with (source / "train" / "train 1.png").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match=r"train 1\.png: more than 1 GB, which no image takes; mend or remove it"):
        convert(source, "yolo", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("source", ["/dev/zero", "none"])
def test_what_is_neither_file_nor_folder_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match=f"{source}: no such file or folder; make convert FROM=PATH"):
        convert(Path(source), "yolo", tmp_path / "out")
