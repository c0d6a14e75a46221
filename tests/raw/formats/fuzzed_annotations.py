"""Not a test: annotations with every kind of fault, thousands of them; what the readers make of each.

    python tests/raw/formats/fuzzed_annotations.py 10000

Of each layout a small data set is written and one of its files changed at random. The answer must be a reading whose
boxes are finite and of known classes, or a DataError that names the file; in two CPU seconds and 256 MiB.
"""

import json
import logging
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.processed.placed_boxes import Lie, place
from drift_detector_pipeline.raw.formats import catalog

PICTURES = ("a", "b c", "übel", "d")
SECONDS, BYTES = 2, 1 << 28

_XML = """<?xml version="1.0" encoding="utf-8"?>
<annotation><folder>x</folder><filename>{name}.jpg</filename><size><width>64</width><height>48</height></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
<object><name>dog</name><difficult>1</difficult><bndbox><xmin>5</xmin><ymin>2.5</ymin><xmax>64</xmax><ymax>48</ymax></bndbox></object>
</annotation>
"""
_KITTI = """Car 0.00 0 1.85 3.63 18.54 23.81 43.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57
Truck 0.00 1 1.85 33.63 8.54 63.81 40.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57 0.9
DontCare -1 -1 -10 50.89 16.71 59.61 19.13 -1 -1 -1 -1000 -1000 -1000 -10
"""
_YOLO = "0 0.5 0.5 0.25 1e-1\n1 0.1 0.1 0.9 0.1 0.9 0.9\n\n1 0.25 0.25 0.5 0.5000002\n"
_YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: 'no'\n"


def _voc() -> dict[str, str]:
    files = {f"Annotations/{name}.xml": _XML.format(name=name) for name in PICTURES}
    parts = {"train": PICTURES[:2], "val": PICTURES[2:3], "trainval": PICTURES[:3], "test": PICTURES[3:]}
    lists = {f"ImageSets/Main/{part}.txt": "\n".join(names) for part, names in parts.items()}
    return files | lists | {f"JPEGImages/{name}.jpg": "" for name in PICTURES}


def _coco() -> dict[str, str]:
    images = [{"id": 7 * n, "file_name": f"{name}.jpg", "width": 64, "height": 48} for n, name in enumerate(PICTURES)]
    truths = [
        {"bbox": [1, 2.5, 30, 20], "iscrowd": 0, "area": 600},
        {"segmentation": [[1, 1, 9, 1, 9, 9]], "iscrowd": 0},
        {"segmentation": {"size": [48, 64], "counts": [100, 50, 2922]}, "iscrowd": 1},
        {"segmentation": {"size": [4, 4], "counts": "52203"}, "iscrowd": 0},
    ]
    boxes = [
        {"id": n, "image_id": 7 * (n % 4), "category_id": (1, 90)[n % 2]} | truths[n % 4] for n in range(8)
    ]  # fmt: skip
    names = [{"id": 90, "name": "cat", "supercategory": "pet"}, {"id": 1, "name": "dog"}]
    said = {"images": images, "annotations": boxes, "categories": names}
    return {"annotations/instances_all.json": json.dumps(said)} | {f"pics/{name}.jpg": "" for name in PICTURES}


def _kitti() -> dict[str, str]:
    labels = {f"training/label_2/{name}.txt": _KITTI for name in PICTURES}
    return labels | {f"training/image_2/{name}.png": "" for name in PICTURES} | {"ImageSets/train.txt": "a\nb c\n"}


def _yolo() -> dict[str, str]:
    parts = dict(zip(PICTURES, ("train", "train", "val", "val"), strict=True))
    labels = {f"labels/{part}/{name}.txt": _YOLO for name, part in parts.items()}
    return labels | {f"images/{part}/{name}.jpg": "" for name, part in parts.items()} | {"data.yaml": _YAML}


MAKE: dict[str, Callable[[], dict[str, str]]] = {"voc": _voc, "coco": _coco, "kitti": _kitti, "yolo": _yolo}
NASTY = (
    "nan", "inf", "-inf", "1e309", "-1e308", "1e3", "1e-400", "-1", "0", "0.0", "1.5", "9" * 400, "9" * 5000, "1_0",
    "12,5",
    "٣", "true", "null", "", " ", "[]", "{}", '""', '"x"', "[[]]", "[1,2]", "\\ud800", "\0", "\ufeff",
    "\u2028", "\x1b[2J",
    "é", "é", "cat", "dog", "a", "../../etc/passwd", "/", ".", "..", "*", "&x;", "<", ">",
    "'", "0x10", "1" * 19, "~", "!!python/none",
    "&a [*a]", "*a", "? ", "- ", ": ", "{a: b", "1e999999999", "--5",
    "+5", "5.", ".5", "e5", "2147483648", "-9223372036854775809",
)  # fmt: skip
BOMB = """<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation><object><name>&c;</name></object></annotation>"""
WHOLE = (
    b"", b" ", b"\n", b"\xff\xfe", b"\xef\xbb\xbf", b"\0" * 100, b"<annotation/>", b"{}", b"[]", b"null",
    b"[" * 100_000,
    b'{"a":' * 50_000, b"<a>" * 50_000, b"- " * 20_000, BOMB.encode(), b"\x89PNG\r\n\x1a\n",
    b"{" * 3000, b"<annotation>" * 9999,
    b'{"images":[],"annotations":[],"categories":[]}', b"9" * 100_000,
    b"a: &a [*a]", b"names: [a, b]\ntrain: /\nnc: 99999999999",
)  # fmt: skip
_RENAMED = (
    (b"bndbox", b"box"), (b"<name>", b"<name/><x>"), (b"object", b"objekt"), (b"annotation", b"annotations"),
    (b" ", b"\t"), (b"0", b""),
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three faults."""
    for _ in range(rng.randint(1, 3)):
        content = rng.choice((_flip, _cut, _insert, _token, _token, _token, _line, _recoded, _structure, _whole))(
            content, rng
        )
    return content


def _flip(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(rng.randint(1, 8) if found else 0):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def _cut(content: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randint(0, len(content)) for _ in range(2))
    return rng.choice((content[:start], content[start:], content[:start] + content[end:]))


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(content))
    return content[:place] + rng.choice((rng.randbytes(4), rng.choice(NASTY).encode())) + content[place:]


def _token(content: bytes, rng: random.Random) -> bytes:
    """One value replaced by something that no value should be."""
    marks = b' \n,:<>[]{}"'
    places = [n for n, byte in enumerate(content) if byte in marks]
    if len(places) < 2:
        return content
    at = rng.randrange(len(places) - 1)
    return content[: places[at] + 1] + rng.choice(NASTY).encode() + content[places[at + 1] :]


def _line(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    change = rng.randrange(3)
    lines[at:at] = [lines[at]] * rng.choice((1, 3)) if change == 0 else []
    if change == 1:
        del lines[at]
    return rng.choice((b"\n", b"\r\n", b"\r")).join(lines)


def _recoded(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(rng.choice(("utf-16", "utf-8-sig", "latin-1", "utf-32", "cp1252")), "replace")


def _structure(content: bytes, rng: random.Random) -> bytes:
    """Of JSON one value anywhere replaced or left out; of XML an element."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return content.replace(*rng.choice(_RENAMED))
    place = said
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        values = (None, True, -1, 1e308, 10**30, "", "x", [], {}, [[]], 0, float("nan"), "\ud800", [1, 2, 3, 4], 1.5)
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = rng.choice(values)
        break
    return json.dumps(said).encode()


def _whole(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(WHOLE) if rng.random() < 0.3 else content


def lay(folder: Path, files: dict[str, str]) -> None:
    """Write a data set; pictures are empty files, as readers do not open them."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def outcome(folder: Path, layout: str | None, changed: str) -> str:
    """Whether it was read or refused. Raises AssertionError for a reading or a message that is of no use."""
    try:
        listing = catalog.read(folder, None, layout)
    except DataError as error:
        assert str(folder) in str(error), f"does not say where: {error}"
        assert len(str(error)) < 3000, "too long for people"
        assert layout is None or Path(changed).name in str(error) or "pictures" in str(error) or "part" in str(error), (
            error
        )
        return "error"
    labels = {name: label for label, name in enumerate(listing.class_names)}
    for image in listing.images if listing.task == "boxes" else ():
        found = listing.boxes[image.path]
        assert all(box.class_name in labels or (box.ignore and not box.class_name) for box in found.boxes)
        boxes, _ = place(found, Lie((64, 48), 1, (64, 48)), labels)
        assert ((boxes.boxes >= 0) & (boxes.boxes <= 64)).all()
    return "read"


def fuzz(cases: int, seed: int) -> Counter[tuple[str, str]]:
    """(layout, outcome) -> how often. Raises what a reader should not have raised, with the case that did it."""
    counts, rng = Counter[tuple[str, str]](), random.Random(seed)
    before = signal.signal(signal.SIGPROF, _too_slow)
    with tempfile.TemporaryDirectory() as top:
        whole = {layout: make() for layout, make in MAKE.items()}
        for layout, files in whole.items():
            lay(Path(top) / layout, files)
        for case in range(cases):
            layout = rng.choice(list(MAKE))
            changed = rng.choice([path for path, text in whole[layout].items() if text])
            path, content = Path(top) / layout / changed, mutated(whole[layout][changed].encode(), rng)
            path.write_bytes(content)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                counts[layout, outcome(Path(top) / layout, rng.choice((layout, layout, None)), changed)] += 1
            except BaseException as error:
                error.add_note(f"case {case} of seed {seed}: {layout} {changed} {content[:300]!r}")
                raise
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                path.write_text(whole[layout][changed], encoding="utf-8")
    signal.signal(signal.SIGPROF, before)
    return counts


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} CPU s")


if __name__ == "__main__":
    logging.disable()
    used = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line).split()[1])
    resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + BYTES, -1))
    start = time.process_time()
    for (layout, what), count in sorted(fuzz(int(sys.argv[1]), int([*sys.argv, "0"][2])).items()):
        print(f"{layout:6} {what:6} {count:6}")
    print(f"{time.process_time() - start:.1f} CPU s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
