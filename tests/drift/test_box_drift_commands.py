"""make drift_reference and make drift on a run whose task is boxes, from a training of seconds."""

import json
import shutil

import pytest
from box_runs import ROLES, make_run_with_reference, words

from drift_detector_pipeline.config import load
from drift_detector_pipeline.drift.__main__ import judge_images
from drift_detector_pipeline.drift.watch import watch_folder
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling.card import card
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import roles_of


@pytest.fixture(scope="module")
def run(made_once):
    """A run with a reference; images of its val beside it, as they are and pale."""
    return made_once("boxes_with_reference", make_run_with_reference)


@pytest.mark.slow
def test_clean_images_are_quiet_and_pale_ones_are_not(run):
    assert judge_images(run / "run", [str(run / "clean")], []).level == "quiet"
    verdict = judge_images(run / "run", [str(run / "pale")], [])
    assert verdict.level in ("notice", "alert")
    [folder] = [one.parent for one in (run / "run" / "drift").glob("*/verdict.json") if "pale" in one.read_text()]
    said = json.loads((folder / "verdict.json").read_text())
    assert said["level"] == verdict.level and said["map50"]["value"] == verdict.map50.accuracy
    page = (folder / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 2 * len(verdict.carriers) and "mAP50" in page
    assert "mAP50 in the training world" in card(run / "run")


@pytest.mark.slow
def test_twenty_images_will_do_for_boxes_and_not_for_labels(run):
    processed = open_processed(load(words(run, **ROLES)).settings.data)
    roles = roles_of(processed, 20)
    assert set(roles.ref) == set(processed.images.indices("val")) and not len(roles.pool)
    with pytest.raises(DataError, match="at least 100 of each"):
        roles_of(processed)


@pytest.mark.slow
def test_a_folder_that_fills_with_pale_images_is_noticed_and_goes_on_where_it_was(run, tmp_path, capsys):
    images = tmp_path / "inbox"
    shutil.copytree(run / "pale", images)
    words = ["watch.follow=false", "watch.horizon=1000"]
    assert watch_folder(run / "run", images, words) in (3, 4)
    said = capsys.readouterr().out
    assert "mAP50 is about" in said and "notice" in said
    seen = len((run / "run" / "watch" / "inbox" / "seen.jsonl").read_text().splitlines())
    assert watch_folder(run / "run", images, words) in (3, 4)  # the alarm stands, and nothing is counted twice
    assert seen == len((run / "run" / "watch" / "inbox" / "seen.jsonl").read_text().splitlines())
    assert seen == len(list(images.iterdir()))
