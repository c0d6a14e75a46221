"""`make retrain`: an ordinary run that goes on from the champion's weights; labelled images join by rule."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_image
from finished_runs import finished_run

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.files import file_hash, sealed
from drift_detector_pipeline.lifecycle.labelling.labels import Labelled
from drift_detector_pipeline.lifecycle.mending.joined import FROM_LABELS, join_labels
from drift_detector_pipeline.lifecycle.mending.retrain import composed, retrain, twins_of
from drift_detector_pipeline.modeling.reproduce import reproduce
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.settings import Twins
from drift_detector_pipeline.settings_in_use import Export, Retrain


def settings(**changes):
    words = {"further_epochs": 2} | changes
    return load_section(Retrain, [f"retrain.{name}={value}" for name, value in words.items()])


@pytest.fixture
def run(made_once, tmp_path, monkeypatch):
    """A finished run and its data, copied: whoever joins labels writes beside the data."""
    monkeypatch.chdir(tmp_path)
    made = finished_run(made_once, "fp32")
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.copytree(made / "processed", tmp_path / "processed")
    receipt = tmp_path / "run/run.json"
    values = json.loads(receipt.read_text())
    values["settings"]["data"]["processed_path"] = values["processed_path"] = str(tmp_path / "processed")
    receipt.write_text(json.dumps(sealed(values)))
    return read_receipt(tmp_path / "run")


@pytest.fixture
def labels(tmp_path):
    """Five labelled images that are to be learned from, and one that shows no class."""
    found = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        write_image(path, seed=9000 + number)
        while int(file_hash(path)[:2], 16) % 2 != number % 2:  # the even ones are for training
            path.write_bytes(path.read_bytes() + b"x")
        label = "?zebra" if number == 5 else ("dog", "cat")[number % 2]
        found.append(Labelled(path, file_hash(path), label, "cat", "carrier", "monday", 0.0, "somebody"))
    return found


def joined(run, labels, **changes):
    given = {"share": 0.2, "most_repeats": 20} | changes
    return join_labels(run.data(), labels, **given)


@pytest.mark.slow
def test_labelled_images_join_the_training_images_and_nothing_else_changes(run, labels):
    found = joined(run, labels)
    before, data = (
        run.data(),
        run.section(type(load([]).settings.data)).model_copy(update={"processed_path": found.folder}),
    )
    after = open_processed(data)
    places = [place for place, path in enumerate(after.images.paths) if path.startswith(FROM_LABELS)]
    assert len(found.labelled) == 5 and len(places) == 5 * found.repeats
    assert {after.images.splits[place] for place in places} == {"train"}
    share = len(places) / len(after.images.indices("train"))
    assert 0.15 < share < 0.25
    for split in ("val", "fit"):
        for one, other in zip(before.images.indices(split), after.images.indices(split), strict=True):
            assert np.array_equal(before.images[int(one)], after.images[int(other)])
            assert before.images.paths[one] == after.images.paths[other]


def test_the_same_labels_are_the_same_folder_and_others_another(run, labels):
    first = joined(run, labels)
    stamp = (first.folder / "manifest.json").stat().st_mtime_ns
    again = joined(run, list(reversed(labels)))
    assert again.folder == first.folder and (again.folder / "manifest.json").stat().st_mtime_ns == stamp
    other = joined(run, [labels[0]._replace(label="cat"), *labels[1:]])
    assert other.folder != first.folder


def test_a_labelled_image_that_measures_is_not_learned_from(run, labels, tmp_path):
    from PIL import Image

    data = run.data()
    pixels = data.images[int(data.images.indices("val")[0])]
    Image.fromarray(np.ascontiguousarray(pixels)).save(labels[0].path)
    found = joined(run, labels)
    assert found.left_out == 1 and labels[0].sha256 not in found.labelled


def test_a_labelled_image_that_is_gone_is_named(run, labels):
    labels[1].path.unlink()
    with pytest.raises(DataError, match=r"1\.png.*labelled images must stay"):
        joined(run, labels)


def test_without_labels_the_data_is_the_runs_own(run):
    assert joined(run, []).folder == run.data().folder


def test_a_cause_that_cannot_be_made_teaches_nothing_and_without_labels_is_refused(run, tmp_path):
    assert twins_of("unseen content", None, settings()) == Twins()
    assert twins_of("fog", 3.4, settings()).levels == [2, 3, 4]
    assert twins_of("dark", None, settings()).levels == [1, 2, 3]


def test_what_is_off_leaves_no_trace_in_what_identifies_a_run(run):
    assert not [key for key in run.identity if "twins" in key]
    went_on = composed(run, Twins(kind="fog", levels=[3]), joined(run, []), settings())
    assert [word for word in went_on.overrides if "twins" in word] == [
        "data.augmentation.twins.kind=fog", "data.augmentation.twins.levels=[3]", "data.augmentation.twins.share=0.5",
    ]  # fmt: skip
    assert load(went_on.overrides).settings.data.augmentation == went_on.settings.data.augmentation


class Killed(BaseException):
    """As if the process were gone."""


@pytest.mark.slow
def test_it_is_an_ordinary_run_resumed_to_the_same_bits_and_done_again(run, labels):
    def once(after_step=lambda step: None):
        changed = composed(run, Twins(kind="fog", levels=[2, 3]), joined(run, labels), settings())
        run_settings = changed.settings.run.model_copy(update={"device": "cpu", "checkpoint_every": 2})
        return changed._replace(settings=changed.settings.model_copy(update={"run": run_settings})), after_step

    def die(step):
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        train(*once(die))
    resumed = train(*once())
    assert "from step 2" in (resumed.folder / "train.log").read_text() and resumed.exit_status == 0
    receipt = read_receipt(resumed.folder)
    assert receipt.identity["data.augmentation.twins.kind"] == "fog"
    assert receipt.identity["model.pretrained_sha256"] == file_hash(run.folder / "final_model.safetensors")
    assert receipt.data_fingerprint != run.data_fingerprint
    assert reproduce(resumed.folder)


@pytest.mark.slow
def test_a_candidate_is_registered_and_says_what_it_learned_from(run, labels, tmp_path):
    export_run(tmp_path / "run", load_section(Export, [f"export.path={tmp_path}/models/artefact"]))
    champion = tmp_path / "models/artefact"
    version = retrain(
        champion, cause="fog", severity=2.0, labels=labels, settings=settings(), place=tmp_path / "models"
    )
    made = read_artefact(tmp_path / "models/versions" / version)
    told = json.loads((made.folder / "retrain.json").read_text())
    assert told["twins"]["levels"] == [1, 2, 3] and len(told["labelled"]) == 3  # of six the even ones, by rule
    receipt = read_receipt(Path(made.facts["run"]))
    assert receipt.settings(load([]).settings).training.epochs == 2
    assert made.receipt_sha256 == file_hash(receipt.file)
    assert not list((tmp_path / "models").glob(".retrain-*"))
    with pytest.raises(ConfigError, match="no change that can be made, and there are no labels"):
        retrain(champion, cause="unknown", severity=None, settings=settings(), place=tmp_path / "models")


@pytest.mark.parametrize("command", ["heal", "retrain"])
def test_recent_images_that_are_not_there_are_said_and_nothing_is_trained_without_them(command, call_main, tmp_path):
    done = call_main(f"lifecycle.mending.{command}", "", f"{tmp_path}/nosuch", "cause=fog")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/nosuch: no files there; name a folder, a pattern, files or an archive\n"
