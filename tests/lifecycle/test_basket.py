"""Baskets: which images are chosen, where their bytes come from, what a person and other tools find in the folder."""

import csv
import hashlib
import json
import os
import resource
import shutil

import httpx
import numpy as np
import pytest
from changed import CHANGED, USUAL, answered, change_a_world, settle, write_all
from conftest import new_database
from running import running
from small_artefact import CLASSES, png, world

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.lifecycle.labelling.basket import make_basket, make_basket_of
from drift_detector_pipeline.lifecycle.labelling.basket_file import baskets, read_basket
from drift_detector_pipeline.lifecycle.labelling.choosing import choose
from drift_detector_pipeline.lifecycle.labelling.label_formats import write_table
from drift_detector_pipeline.lifecycle.labelling.labels import read_labels, take_labels
from drift_detector_pipeline.lifecycle.labelling.pictures import images_by_hash
from drift_detector_pipeline.lifecycle.labelling.stretch import Stretch
from drift_detector_pipeline.lifecycle.labelling.truth import truth_of
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.kept import KeptImages
from drift_detector_pipeline.settings_in_use import Basket as Limits


@pytest.fixture
def changed(request, models, tmp_path):
    thumbnails = getattr(request, "param", ())
    made = change_a_world(f"sqlite:///{tmp_path}/log.sqlite", models, thumbnails)
    yield made
    made.log.close()


def make(changed, photos, place, alarm=None, **settings):
    folder = make_basket(
        changed.log, alarm or changed.alarm, photos, Limits(**settings), place=place, models=changed.models
    )
    return read_basket(folder)


def test_a_basket_holds_random_images_carriers_and_strangers_of_the_change_alone(changed, tmp_path) -> None:
    basket = make(changed, write_all(changed.contents, tmp_path / "photos"), tmp_path / "baskets")
    chosen = [item.chosen for item in basket.images]
    assert [chosen.count(why) for why in ("random", "carrier", "stranger")] == [12, 24, 24]
    assert min(item.request for item in basket.images) > USUAL
    assert basket.rows == {"first": USUAL + 1, "last": USUAL + CHANGED, "images": CHANGED, "without_picture": 0}
    assert basket.alarm == {"id": changed.alarm.id, "level": "alert", "since": USUAL + 1, "cause": "brightness"}
    for item in basket.images:
        content = (basket.folder / item.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == item.sha256 == item.file_sha256
        assert content in changed.contents and item.picture == "original" and item.file.endswith(".png")


def test_carriers_carry_the_change(changed, tmp_path) -> None:
    """The brighter an image of a brighter world, the further along the change."""
    basket = make(changed, write_all(changed.contents, tmp_path / "photos"), tmp_path / "baskets", images=40)
    crops = {hashlib.sha256(png(one)).hexdigest(): one.mean() for one in world(CHANGED, 61, light=190.0)[0]}
    mean = {
        why: np.mean([crops[item.sha256] for item in basket.images if item.chosen == why])
        for why in ("random", "carrier")
    }
    assert mean["carrier"] > mean["random"] + 5


def test_random_images_tell_the_accuracy_without_bias(changed) -> None:
    """Over many draws each image is drawn as often as any other, whatever else is chosen: |z| of counts stays small."""
    scores = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    counts = np.zeros(50)
    reference = _reference(changed)
    wide = np.repeat(scores[:, :1], reference.scores.shape[1], 1)
    for seed in range(400):
        counts[[one.place for one in choose(wide, reference, 50, 20, 0.25, seed=seed) if one.why == "random"]] += 1
    assert counts.sum() == 400 * 5
    assert abs(counts - 40).max() < 4.5 * np.sqrt(400 * 0.1 * 0.9)


def _reference(changed):
    return open_engine(changed.models / "first").detector.reference


def test_a_scene_of_many_frames_does_not_fill_the_basket(changed) -> None:
    reference = _reference(changed)
    scores = reference.scores[np.zeros(400, int)] + np.random.default_rng(1).normal(
        0, 0.01, (400, reference.scores.shape[1])
    )
    scores = scores.astype(np.float32)
    scores[100:150] += 5.0 * reference.scores.std(axis=0)  # fifty frames of the same thing, by far the furthest
    carriers = [one.place for one in choose(scores, reference, 400, 20, 0.2, seed=0) if one.why == "carrier"]
    assert len(carriers) == 8 and sum(100 <= place < 150 for place in carriers) <= 5
    assert min(np.diff(sorted(carriers))) > 0


def test_the_next_basket_asks_about_others(changed, tmp_path) -> None:
    photos = write_all(changed.contents, tmp_path / "photos")
    first, second = (make(changed, photos, tmp_path / "baskets", images=30) for _ in range(2))
    meant = [{item.sha256 for item in one.images if item.chosen != "random"} for one in (first, second)]
    assert meant[0] & meant[1] == set() and first.seed != second.seed
    assert (
        baskets(tmp_path / "baskets") == sorted(baskets(tmp_path / "baskets"))
        and len(baskets(tmp_path / "baskets")) == 2
    )


@pytest.mark.parametrize("changed", [range(USUAL, USUAL + 50)], indirect=True)
def test_pictures_of_the_log_stand_in_for_files_and_the_rest_is_said_to_be_missing(changed, tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    basket = make(changed, None, tmp_path / "baskets", images=40)
    assert {item.picture for item in basket.images} == {"thumbnail"} and len(basket.images) == 40
    assert all(
        item.file_sha256 == hashlib.sha256((basket.folder / item.file).read_bytes()).hexdigest()
        for item in basket.images
    )
    assert basket.rows["without_picture"] == CHANGED - 50
    assert f"{CHANGED - 50} of these images have no picture anywhere" in caplog.text
    photos = write_all(changed.contents[USUAL + 40 :], tmp_path / "photos")
    both = make(changed, photos, tmp_path / "others", images=150, random=1.0)
    assert sorted({item.picture for item in both.images}) == ["original", "thumbnail"]
    assert both.rows["without_picture"] == 0


def test_without_any_picture_it_is_said_what_to_do(changed, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    for images in (None, tmp_path / "empty"):
        with pytest.raises(DataError, match=r"no picture of 200 images: .*IMAGES=FOLDER.*serving\.keep_images=FOLDER"):
            make(changed, images, tmp_path / "baskets")
    with pytest.raises(DataError, match="no such folder"):
        make(changed, tmp_path / "none", tmp_path / "baskets")
    assert not (tmp_path / "baskets").exists()


def test_images_that_the_service_kept_are_found_and_one_that_was_damaged_is_left_out(changed, tmp_path, caplog) -> None:
    kept = KeptImages(tmp_path / "kept", 10**9)
    for content in changed.contents:
        kept.put(hashlib.sha256(content).digest(), content)
    kept.close()
    first = make(changed, tmp_path / "kept", tmp_path / "baskets", images=20, random=1.0)
    for item in first.images:
        (tmp_path / "kept" / item.sha256[:2] / f"{item.sha256}.png").write_bytes(b"damaged")
    shutil.rmtree(tmp_path / "baskets")
    with pytest.raises(DataError, match="none of 20 images could be read any more"):
        make(changed, tmp_path / "kept", tmp_path / "baskets", images=20, random=1.0)
    assert "changed since it was found; left out" in caplog.text


def test_rows_after_an_alarm_was_settled_and_answers_on_trial_are_left_out(changed, tmp_path) -> None:
    photos = write_all(changed.contents, tmp_path / "photos")
    settled = settle(changed, 1.7e9 + USUAL + 100)
    basket = make(changed, photos, tmp_path / "baskets", settled, images=150, random=1.0)
    assert max(item.request for item in basket.images) <= USUAL + 100
    engine, images = open_engine(changed.models / "first"), world(30, 90)[0]
    trial = [png(one) for one in images]
    for row in answered(engine, trial, images, 1000, shadow=True):
        changed.log.put(changed.alarm.model_id, row)
    changed.log.flush()
    write_all(trial, tmp_path / "photos", "trial {}.png")
    basket = make(changed, photos, tmp_path / "baskets", images=230, random=1.0)
    assert len(basket.images) == CHANGED


def test_an_image_that_was_asked_often_is_one_image(changed, tmp_path) -> None:
    engine, images = open_engine(changed.models / "first"), world(CHANGED, 61, light=190.0)[0][:1]
    for number in range(100):
        changed.log.put(
            changed.alarm.model_id, answered(engine, changed.contents[USUAL : USUAL + 1], images, number)[0]
        )
    changed.log.flush()
    basket = make(changed, write_all(changed.contents, tmp_path / "photos"), tmp_path / "b", images=220, random=1.0)
    assert basket.rows["images"] == CHANGED == len({item.sha256 for item in basket.images})


def test_without_the_artefact_all_images_are_drawn_at_random(changed, tmp_path, caplog) -> None:
    photos = write_all(changed.contents, tmp_path / "photos")
    folder = make_basket(changed.log, changed.alarm, photos, Limits(), place=tmp_path / "b", models=tmp_path / "none")
    assert {item.chosen for item in read_basket(folder).images} == {"random"}
    assert "all images are drawn at random, since what carries the change cannot be told" in caplog.text


def test_other_tools_find_what_they_read_and_nobody_sees_what_was_said_of_random_images(changed, tmp_path) -> None:
    basket = make(changed, write_all(changed.contents, tmp_path / "photos"), tmp_path / "baskets")
    with (basket.folder / "basket.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["path"] for row in table] == [item.file for item in basket.images]
    shown = ["" if item.chosen == "random" else item.predicted for item in basket.images]
    assert [row["predicted"] for row in table] == shown and {row["label"] for row in table} == {""}
    tasks = json.loads((basket.folder / "label_studio.json").read_text())
    assert tasks[0]["data"]["image"] == f"/data/local-files/?d={basket.name}/{basket.images[0].file}"
    said = [task.get("predictions", [{"result": [{"value": {"choices": [""]}}]}])[0] for task in tasks]
    assert [one["result"][0]["value"]["choices"][0] for one in said] == shown
    labels = json.loads((basket.folder / "cvat_labels.json").read_text())
    assert [one["name"] for one in labels] == [*CLASSES, "?"] and {one["type"] for one in labels} == {"tag"}
    assert '<Choice value="down" hotkey="1"/>' in (basket.folder / "label_studio.xml").read_text()


@pytest.mark.parametrize("request_database", ["sqlite", "postgresql"])
def test_it_works_on_both_databases(request_database, request, models, tmp_path) -> None:
    request.param = request_database
    made = change_a_world(new_database(request, tmp_path), models, range(USUAL, USUAL + CHANGED))
    try:
        basket = make(made, None, tmp_path / "baskets", images=10)
        model = made.alarm.model_id
        newest = make_basket_of(made.log, Stretch(model, last=30), None, Limits(), place=tmp_path / "b", models=models)
    finally:
        made.log.close()
    assert len(basket.images) == 10
    assert min(item.request for item in read_basket(newest).images) > USUAL + CHANGED - 30


def test_the_command_says_what_it_did_and_refuses_what_it_does_not_know(
    changed, tmp_path, call_main, monkeypatch
) -> None:
    photos = write_all(changed.contents, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(changed.models)
    words = [f"serving.database={changed.address}", "basket.images=20"]
    done = call_main("lifecycle.labelling.basket", str(photos), f"alarm={changed.alarm.id}", *words)
    assert done.returncode == 0
    assert (
        "20 images of 200 different ones since request 61: 4 at random, 8 that carry the change, 8 likely"
        in done.stdout
    )
    [folder] = baskets(tmp_path / "data" / "baskets")
    assert str(folder.relative_to(tmp_path)) in done.stdout and "make labels FILE=" in done.stdout
    assert call_main("lifecycle.labelling.basket", str(photos), *words).returncode == 0
    assert "200 different" in call_main("lifecycle.labelling.basket", str(photos), *words).stdout
    assert (
        "60 different" in call_main("lifecycle.labelling.basket", str(photos), "source=gate", "last=60", *words).stdout
    )
    for word, said in (("alarm=x", "expected a whole number"), ("alarm=99", "alarm 99: not in this log"),
                       ("source=door", "no request of source door"), ("basket.image=3", "basket.images=")):  # fmt: skip
        done = call_main("lifecycle.labelling.basket", str(photos), word, *words)
        assert done.returncode == 1 and said in done.stderr


def test_from_a_request_to_the_true_accuracy(models, tmp_path) -> None:
    """A real service that keeps its images; a basket of all of them; labels: the share that is counted by hand."""
    images, labels = world(40, 62, light=190.0)
    truth = {hashlib.sha256(png(one)).hexdigest(): CLASSES[label] for one, label in zip(images, labels, strict=True)}
    with running(models / "first", tmp_path, keep_images=tmp_path / "kept") as service:
        said = [httpx.post(f"{service.address}/predict", content=png(one)).json()["answers"][0] for one in images]
        model, log = service.service.engine.log_id, service.service.log
        log.flush()
        service.service.kept.close()  # all that was answered lies on the disk
        folder = make_basket_of(
            log, Stretch(model), tmp_path / "kept", Limits(images=40, random=1.0), place=tmp_path / "b", models=models
        )
    basket = read_basket(folder)
    right = sum(one["label"] == CLASSES[label] for one, label in zip(said, labels, strict=True))
    write_table(basket.images, {item.file: truth[item.sha256] for item in basket.images}, folder / "basket.csv")
    take_labels(folder / "basket.csv", basket, place=tmp_path / "labels")
    found = truth_of(basket, {one.sha256: one.label for one in read_labels(tmp_path / "labels")})
    assert (found.right, found.labelled) == (right, 40) and 0 < found.low < found.accuracy <= found.high <= 1


def test_files_of_a_large_folder_are_looked_for_in_bounded_memory(tmp_path) -> None:
    """Ten times the files: no megabyte more."""
    names = [hashlib.sha256(b"%d" % number).digest() for number in (3, 2999)]

    def peak(count, folder):
        (tmp_path / folder).mkdir()
        for number in range(count):
            (tmp_path / folder / str(number)).write_bytes(b"%d" % number)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = images_by_hash(tmp_path / folder, {*names, b"\x00" * 32})
        return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    peak(300, "few")
    found, kilobytes = peak(3000, "many")
    assert found == {sha256: tmp_path / "many" / name for sha256, name in zip(names, ("3", "2999"), strict=True)}
    assert kilobytes < 1024


def test_pipes_and_what_may_not_be_read_are_passed_over(tmp_path, caplog) -> None:
    (tmp_path / "image").write_bytes(b"1")
    os.mkfifo(tmp_path / "a pipe")
    (tmp_path / "leads nowhere").symlink_to(tmp_path / "none")
    wanted = hashlib.sha256(b"1").digest()
    assert images_by_hash(tmp_path, {wanted, b"\x00" * 32}) == {wanted: tmp_path / "image"}
    assert "2 files could not be read" in caplog.text


def test_a_basket_that_names_files_elsewhere_is_refused(changed, tmp_path) -> None:
    basket = make(changed, write_all(changed.contents, tmp_path / "photos"), tmp_path / "baskets")
    values = json.loads((basket.folder / "basket.json").read_text())
    for name in ("../../etc/passwd", "/etc/passwd", "images/../basket.json", "images/.hidden", "images/a/b"):
        values["images"][0]["file"] = name
        (basket.folder / "basket.json").write_text(json.dumps(values))
        with pytest.raises(DataError, match=r"basket\.json: damaged \(a file outside of images/\)"):
            read_basket(basket.folder)
