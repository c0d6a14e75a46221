"""Labels that come back: from any tool, checked, kept with where they are from, and worth an accuracy."""

import io
import json
import random
import signal
import subprocess
import sys
import time
import unicodedata
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT
from filled import CLASSES, cvat, fill_basket, studio, studio_csv, studio_min, table

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.lifecycle.labelling import labels
from drift_detector_pipeline.lifecycle.labelling.basket_file import read_basket
from drift_detector_pipeline.lifecycle.labelling.label_formats import read_said
from drift_detector_pipeline.lifecycle.labelling.labels import (
    check_images,
    read_labels,
    split_labels,
    take_labels,
)
from drift_detector_pipeline.lifecycle.labelling.truth import truth_of, truth_words

LABELS = {0: "down", 1: "über fish", 2: "=flat", 9: "down", 10: "?", 11: "?zebra"}
IN_A_TABLE = LABELS | {2: "'=flat"}  # as a spreadsheet keeps a text that reads like a formula


@pytest.fixture
def basket(tmp_path):
    return fill_basket(tmp_path / "baskets" / "one")


@pytest.fixture
def take(basket, tmp_path):
    """Take labels in as a file of that content."""

    def take_in(content, own=None, name="given"):
        path = tmp_path / name
        path.write_bytes(content)
        return take_labels(path, own or basket, place=tmp_path / "labels")

    return take_in


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("annotations.xml", content)
    return buffer.getvalue()


WRITERS = {
    "basket.csv": lambda basket: table(basket, IN_A_TABLE),
    "without a mark": lambda basket: table(basket, IN_A_TABLE, encoding="utf-8"),
    "of Excel in Europe": lambda basket: table(basket, IN_A_TABLE, cut=";", encoding="cp1252"),
    "text of Excel": lambda basket: table(basket, IN_A_TABLE, cut="\t", encoding="utf-16"),
    "of a Mac, decomposed": lambda basket: unicodedata.normalize(
        "NFD", table(basket, IN_A_TABLE, end="\n").decode()
    ).encode(),
    "capitals": lambda basket: table(basket, IN_A_TABLE | {0: "DOWN", 9: " Down "}, head="Path,LABEL,predicted"),
    "Label Studio JSON": lambda basket: studio(basket, LABELS),
    "Label Studio JSON-MIN": lambda basket: studio_min(basket, LABELS),
    "Label Studio CSV": lambda basket: studio_csv(basket, LABELS),
    "CVAT": lambda basket: cvat(basket, LABELS),
    "CVAT, as it comes": lambda basket: zipped(cvat(basket, LABELS)),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_every_tool_gives_the_same_labels(writer, basket, take, tmp_path) -> None:
    taken = take(writer(basket))
    assert (taken.new, taken.changed, taken.same) == (len(LABELS), 0, 0)
    found = {one.sha256: one for one in read_labels(tmp_path / "labels")}
    assert {basket.images[place].sha256: label for place, label in LABELS.items()} == {
        sha256: one.label for sha256, one in found.items()
    }
    for item in (item for item in basket.images if item.sha256 in found):
        one = found[item.sha256]
        assert (one.predicted, one.chosen, one.basket, one.original) == (item.predicted, item.chosen, "one", True)
        assert one.path.read_bytes() == (basket.folder / item.file).read_bytes()


def test_where_a_label_is_from_is_kept(basket, take, tmp_path) -> None:
    begun = time.time()
    taken = take(studio(basket, LABELS), name="export.json")
    lines = [json.loads(line) for line in (taken.folder / "labels.jsonl").read_text().splitlines()]
    assert {line["who"] for line in lines} == {"ann@example.org"} and {line["from"] for line in lines} == {
        "export.json"
    }
    assert {line["when"] for line in lines} == {"2026-01-02T10:00:00Z"}
    assert all(len(line["from_sha256"]) == 64 and begun <= line["at"] <= time.time() for line in lines)
    assert json.loads((taken.folder / "basket.json").read_text())["rows"] == basket.rows


def test_a_second_file_adds_and_corrects_and_the_same_one_changes_nothing(basket, take, tmp_path) -> None:
    take(table(basket, IN_A_TABLE))
    again = take(studio(basket, LABELS))
    assert (again.new, again.changed, again.same, again.empty) == (0, 0, len(LABELS), 1)
    corrected = take(table(basket, {0: "über fish", 1: "", 5: "down"}))
    assert (corrected.new, corrected.changed, corrected.same, corrected.empty) == (1, 1, 0, 1)
    found = {one.sha256: one.label for one in read_labels(tmp_path / "labels")}
    assert found[basket.images[0].sha256] == found[basket.images[1].sha256] == "über fish"
    lines = [json.loads(line) for line in (corrected.folder / "labels.jsonl").read_text().splitlines()]
    assert [line["replaces"] for line in lines] == [None] * len(LABELS) + ["down", None]


def test_what_does_not_fit_is_named_at_once_and_nothing_is_taken(basket, take, tmp_path) -> None:
    names = basket.images[3].file, basket.images[4].file
    rows = [
        "path,label",
        f"{names[0]},dwon",
        f"{names[1]},down",
        f"{names[1]},=flat",
        "../../etc/passwd,down",
        "other.png,down",
    ]
    with pytest.raises(DataError) as refused:
        take("\n".join(rows).encode())
    said = str(refused.value)
    assert "2 images are not of this basket: ../../etc/passwd, other.png; name theirs: BASKET=FOLDER" in said
    assert "no class: dwon (1 times; the nearest class is down)" in said and "write ?, or ?NAME" in said
    assert f"1 images have labels that contradict each other: {names[1]}" in said
    assert read_labels(tmp_path / "labels") == []


def test_of_one_persons_labels_the_newest_holds_and_two_persons_must_agree(basket, take, tmp_path) -> None:
    first, second = (json.loads(studio(basket, {0: label}, updated=when)) for label, when in
                     (("down", "2026-01-02T10:00:00Z"), ("=flat", "2026-01-02T11:00:00Z")))  # fmt: skip
    take(json.dumps(second + first).encode())
    assert [one.label for one in read_labels(tmp_path / "labels")] == ["=flat"]
    with pytest.raises(DataError, match="contradict each other"):
        take(json.dumps(first + json.loads(studio(basket, {0: "=flat"}, who=5))).encode())


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;&lol;&lol;">]>
<annotations><image name="&lol1;"><tag label="a"/></image></annotations>"""


def odd_zip(*, secret=False, damaged=False) -> bytes:
    """An export of CVAT, its one file said to be encrypted, or changed where it is packed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", "<annotations></annotations>" * 9)
    odd = bytearray(buffer.getvalue())
    if secret:
        odd[6] |= 1
        odd[odd.index(b"PK\1\2") + 8] |= 1
    if damaged:
        odd[45 + len("annotations.xml") - 15] ^= 0xFF
    return bytes(odd)


HOSTILE = {
    "an entity bomb": (BOMB, "declares a document type"),
    "the same in UTF-16": (BOMB.decode().encode("utf-16"), "cannot be read"),
    "a file of the system": (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a/>', "declares a document type"),
    "a video": (b'<annotations><track id="0" label="a"></track></annotations>', "an export of a video"),
    "half a file": (b"<annotations><image name='a'>", "no element found"),
    "deep JSON": (b"[" * 100_000, "cannot be read"),
    "other JSON": (b'{"images": []}', "no list of tasks"),
    "numbers": (b"[1, 2]", "no list of tasks"),
    "tasks of text": (b'[{"data": {"text": "a"}, "annotations": []}]', "a task without image"),
    "an odd annotation": (b'[{"data": {"image": "a"}, "annotations": [{"result": 3}]}]', "cannot be read"),
    "annotations of text": (b'[{"data": {"image": "a"}, "annotations": ["x"]}]', "cannot be read"),
    "data of text": (b'[{"data": ["a"], "annotations": []}]', "cannot be read"),
    "nothing": (b"", "it is empty"),
    "another table": (b"a,b\n1,2\n", "no column file among a, b"),
    "another table, wide": (b"a" * 5000 + b",b\n1,2\n", "^.{0,400}$"),
    "two columns of labels": (b"path,label,Label\n1,2,3\n", "the column label is there twice"),
    "a line without end": (b"path,label\n" + b'"' + b"x" * 200_000, "field larger than field limit"),
    "an image": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "it is a single image"),
    "another file of bytes": (b"\x81\x00\x00\x00\x00" * 9, "it is no text"),
    "a ZIP without labels": (b"PK\x03\x04 no archive", "cannot be read"),
    "a ZIP with a password": (odd_zip(secret=True), "password required"),
    "a ZIP that is damaged": (odd_zip(damaged=True), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_what_no_tool_wrote_is_refused_in_one_sentence(content, said, tmp_path) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_said(tmp_path / "labels")


def test_cut_and_flipped_files_are_labels_or_a_data_error(basket, tmp_path) -> None:
    rng = random.Random(0)
    for writer in WRITERS.values():
        whole = writer(basket)
        for _ in range(40):
            odd = bytearray(whole[: rng.randrange(len(whole))])
            for _ in range(rng.randrange(4)):
                if odd:
                    odd[rng.randrange(len(odd))] = rng.randrange(256)
            (tmp_path / "odd").write_bytes(odd)
            try:
                take_labels(tmp_path / "odd", basket, place=tmp_path / "labels")
            except DataError:
                continue


def test_a_file_without_end_is_no_file_with_labels(basket) -> None:
    with pytest.raises(DataError, match=r"/dev/zero: larger than 200 MB"):
        take_labels(Path("/dev/zero"), basket)


def test_a_file_without_a_single_label_is_said_to_be_that(basket, take) -> None:
    with pytest.raises(DataError, match=r"not one label in it; fill the column label, or make label BASKET="):
        take((basket.folder / "basket.csv").read_bytes())


def test_an_image_that_was_exchanged_gets_no_label(basket, take, tmp_path) -> None:
    (basket.folder / basket.images[1].file).write_bytes((basket.folder / basket.images[2].file).read_bytes())
    with pytest.raises(DataError, match="not the image that was put there"):
        take(table(basket, IN_A_TABLE))
    assert not (tmp_path / "labels").exists()


def test_an_image_that_is_gone_can_be_left_out(basket, take) -> None:
    (basket.folder / basket.images[1].file).unlink()
    with pytest.raises(DataError, match="is not there any more; bring it back, or leave its label empty"):
        take(table(basket, IN_A_TABLE))
    assert take(table(basket, {place: label for place, label in IN_A_TABLE.items() if place != 1})).new == 5


def test_an_image_that_was_changed_beside_its_label_is_named_and_comes_back_with_the_same_file(
    basket, take, tmp_path
) -> None:
    take(table(basket, IN_A_TABLE))
    kept = read_labels(tmp_path / "labels")
    check_images(kept)
    for damage in (lambda path: path.write_bytes(b"another"), lambda path: path.unlink()):
        damage(kept[0].path)
        with pytest.raises(DataError, match=rf"{kept[0].path.name}: not the image that was labelled"):
            check_images(kept)
        assert take(table(basket, IN_A_TABLE)).new == 0
        check_images(kept)


def test_labels_that_are_stopped_halfway_leave_the_earlier_ones_and_no_image(
    basket, take, tmp_path, monkeypatch
) -> None:
    take(table(basket, {0: "down"}))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").rglob("*") if path.is_file()}
    written = labels.write_atomically

    def stop_at_the_lines(path, content):
        if path.name == labels.LINES:
            raise KeyboardInterrupt
        written(path, content)

    monkeypatch.setattr(labels, "write_atomically", stop_at_the_lines)
    with pytest.raises(KeyboardInterrupt):
        take(table(basket, IN_A_TABLE))
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").rglob("*") if path.is_file()}


def test_labels_of_another_basket_of_that_name_are_not_mixed_up(basket, take, tmp_path) -> None:
    take(table(basket, IN_A_TABLE))
    other = fill_basket(tmp_path / "elsewhere" / "one", seed=71)
    with pytest.raises(DataError, match="labels of another basket of that name"):
        take(table(other, IN_A_TABLE), other)


def test_the_true_accuracy_is_of_random_images_alone_with_its_interval(tmp_path) -> None:
    """7 of 8: Wilson's interval is 0.529 to 0.978 (R: binom.confint(7, 8, methods = "wilson"))."""
    estimate = {"accuracy": 0.63, "low": 0.55, "high": 0.71, "known": True, "of": "alarm 7"}
    basket = fill_basket(tmp_path / "one", images=40, random=10, estimate=estimate)
    said = {item.sha256: item.predicted for item in basket.images[:8]}
    said[basket.images[3].sha256] = "?zebra"
    said |= {item.sha256: "?" for item in basket.images[10:]}
    found = truth_of(basket, said)
    assert (found.right, found.labelled, found.unlabelled) == (7, 8, 2)
    assert (found.low, found.high) == (pytest.approx(0.5291, abs=1e-4), pytest.approx(0.9776, abs=1e-4))
    assert truth_words(basket, said) == [
        "True accuracy since request 100: 88 % (95 % interval 53 % to 98 %): 7 of 8 images drawn at random were "
        "labelled correctly.",
        "2 more were drawn and have no label: were all of these wrong, or all right, it would be 70 %, or 90 %.",
        "The estimate without labels, of alarm 7, was 63 % (55 % to 71 %).",
        "Of 30 that were chosen because they carry the change or look strange 0 were labelled correctly; that says "
        "nothing about all others.",
    ]
    assert truth_of(basket, {}) is None and "nothing can be said" in truth_words(basket, {})[0]


def test_every_image_plays_one_part_for_good(tmp_path, take) -> None:
    """Random ones none but the accuracy's, also once they are a carrier of the next basket."""
    one = fill_basket(tmp_path / "baskets" / "first", images=60, random=12)
    two = fill_basket(tmp_path / "baskets" / "two", images=60, random=0)
    take(table(one, dict.fromkeys(range(60), "down")), one)
    train, gate = split_labels(read_labels(tmp_path / "labels"))
    assert len(train) + len(gate) == 48 and abs(len(train) - len(gate)) < 24
    parts = {labelled.sha256: part for part, some in enumerate((train, gate)) for labelled in some}
    take(table(two, dict.fromkeys(range(0, 60, 2), "über fish") | {1: "?", 13: "?", 3: "down"}), two)
    again = read_labels(tmp_path / "labels")
    train, gate = split_labels(again)
    assert {
        labelled.sha256: part for part, some in enumerate((train, gate)) for labelled in some
    }.items() <= parts.items()
    assert len(train) + len(gate) == 47  # one of them shows none of the classes
    assert sum(labelled.chosen == "random" for labelled in again) == 12
    assert {labelled.label for labelled in again if labelled.basket == "two"} == {"über fish", "?", "down"}
    assert [one.at <= other.at for one, other in pairwise(again)] == [True] * 59


def test_small_pictures_are_worth_an_accuracy_and_no_lesson(tmp_path, take) -> None:
    basket = fill_basket(tmp_path / "baskets" / "small")
    small = basket._replace(images=[item._replace(picture="thumbnail") for item in basket.images])
    take(table(small, dict.fromkeys(range(20), "down")), small)
    found = read_labels(tmp_path / "labels")
    assert {one.original for one in found} == {False} and split_labels(found) == ([], [])
    assert truth_of(small, {one.sha256: one.label for one in found}).labelled == 8


def test_a_damaged_line_is_named(basket, take, tmp_path) -> None:
    taken = take(table(basket, IN_A_TABLE))
    path = taken.folder / "labels.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:20], *lines[3:]]))
    with pytest.raises(DataError, match=r"labels\.jsonl: line 3 is damaged"):
        read_labels(tmp_path / "labels")
    whole = json.loads(lines[1])
    for odd in ({"at": "soon"}, {"sha256": ["a"]}, {"file": "../x"}, {"chosen": 3}, {"picture": None}):
        path.write_text("\n".join([lines[0], json.dumps(whole | odd), *lines[2:]]))
        with pytest.raises(DataError, match=r"labels\.jsonl: line 2 is damaged"):
            read_labels(tmp_path / "labels")
    path.write_bytes(b"\xff" + "\n".join(lines).encode())
    with pytest.raises(DataError, match=r"labels\.jsonl: line 1 is damaged"):
        read_labels(tmp_path / "labels")


@pytest.mark.slow
def test_a_kill_while_labels_are_taken_leaves_all_of_a_file_or_nothing(tmp_path) -> None:
    basket = fill_basket(tmp_path / "baskets" / "one", images=200)
    for place in range(2):
        (tmp_path / f"{place}.csv").write_bytes(table(basket, dict.fromkeys(range(200), CLASSES[place])))
    code = f"""
from pathlib import Path
from drift_detector_pipeline.lifecycle.labelling.basket_file import read_basket
from drift_detector_pipeline.lifecycle.labelling.labels import take_labels
place = Path({str(tmp_path)!r})
basket = read_basket(place / "baskets" / "one")
print("ready", flush=True)
for number in range(10_000):
    take_labels(place / f"{{number % 2}}.csv", basket, place=place / "labels")
    print("taken", flush=True)
"""
    rng = random.Random(1)
    for kill in range(8):
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as started:
            assert started.stdout.readline() == b"ready\n"
            if kill == 7:
                assert started.stdout.readline() == b"taken\n"  # however slow the machine
            time.sleep(rng.uniform(0.05, 0.4))
            started.send_signal(signal.SIGKILL)
        found = read_labels(tmp_path / "labels")
        assert len({one.label for one in found}) <= 1 and len(found) in (0, 200)
    assert len(found) == 200


def test_the_command_finds_the_basket_by_its_images_and_says_the_truth(tmp_path, call_main, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        basket = fill_basket(Path("data/baskets") / f"2026-01-0{number}", seed=80 + number)
        if number == 1:
            Path("export.json").write_bytes(studio(basket, dict.fromkeys(range(20), "down")))
    done = call_main("lifecycle.labelling.labels", "export.json", "")
    assert done.returncode == 0, done.stderr
    assert "data/labels/2026-01-01/labels.jsonl: 20 new labels, 0 corrected, 0 known before, 0 images" in done.stdout
    assert "True accuracy since request 100: 75 % (95 % interval 41 % to 93 %): 6 of 8 images" in done.stdout
    done = call_main("lifecycle.labelling.labels", "", "")
    assert done.returncode == 1 and "data/baskets/2026-01-02/basket.csv: not one label in it" in done.stderr
    done = call_main("lifecycle.labelling.labels", "export.json", "data/baskets/2026-01-02")
    assert done.returncode == 1 and "21 images are not of this basket" in done.stderr
    done = call_main("lifecycle.labelling.labels", "none.csv")
    assert done.returncode == 1 and "none.csv: No such file or directory; name a file with labels: FILE=" in done.stderr


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("classes", [], "no classes"),
        ("estimate", dict.fromkeys(("accuracy", "low", "high", "known", "of"), "x"), "an estimate that is no number"),
    ],
)
def test_a_basket_whose_parts_cannot_be_is_refused_before_a_label_is_taken(part, value, said, tmp_path) -> None:
    basket = fill_basket(tmp_path / "one")
    values = json.loads((basket.folder / "basket.json").read_text()) | {part: value}
    (basket.folder / "basket.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=rf"basket\.json: damaged \({said}\)"):
        read_basket(basket.folder)
