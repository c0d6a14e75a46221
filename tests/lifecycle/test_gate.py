"""`make gate`: who may replace the champion, who may not and why; asked often it does not give way; without PyTorch."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, ci_environment
from halves import CLASSES, artefact, images, opened, processed
from PIL import Image

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.lifecycle.gating.gate import _folder, judge_gate
from drift_detector_pipeline.lifecycle.gating.gate_claims import Answers, calibration_claim
from drift_detector_pipeline.lifecycle.gating.gate_images import World, cause_in, sample_hash, worlds
from drift_detector_pipeline.lifecycle.gating.gate_statistics import alpha_at
from drift_detector_pipeline.lifecycle.labelling.labels import Labelled
from drift_detector_pipeline.release.admitted import identified, objection
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.settings_in_use import Gate


def settings(**changes):
    """Margins for 1,200 images; a busy machine decides nothing here."""
    asked = {"clean_margin": 0.01, "latency": 50} | changes
    return load_section(Gate, [f"gate.{key}={value}" for key, value in asked.items()])


@pytest.fixture(scope="module")
def world(made_once):
    """Data of 1,200 pool images, and a few models."""

    def make(root):
        processed(root / "data")
        processed(root / "few", val=360)
        for name, wrong in (("naive", 0), ("steady", 0), ("steady", 1)):
            artefact(root / f"{name}{wrong}", name, wrong=wrong)
        artefact(root / "healed", "steady", wrong=1, papers={"heal.json": b"{}"})
        artefact(root / "shy", "steady", sure=0.01)

    return made_once("halves", make)


@pytest.fixture
def ask(world, tmp_path):
    """Ask whether one may replace the other."""

    def judge(candidate, champion, *, cause="dark", severity=2.0, labels=(), data="data", **changes):
        both = (read_artefact(world / name) for name in (candidate, champion))
        return judge_gate(
            *both, opened(world / data), cause=cause, severity=severity, labels=labels, settings=settings(**changes),
            place=tmp_path,
        )  # fmt: skip

    return judge


def row(result, name):
    return next(one for one in result.rows if one.name == name)


def test_a_candidate_that_is_better_where_it_should_be_passes_and_promotion_reads_it(ask, world):
    result = ask("steady0", "naive0")
    assert result.passed and not result.reasons and result.look == 1
    gain = row(result, "gain (dark)")
    assert gain.candidate > 0.95 > 0.7 > gain.champion and gain.low > 0.2
    told = json.loads((result.folder / "gate.json").read_text())
    assert told["rows"][0]["name"] == "clean" and told["rows"][0]["needed"]
    both = [identified(world / name) for name in ("steady0", "naive0")]
    assert objection(result.folder / "gate.json", *both, "make gate") == ""


def test_a_champion_that_undoes_a_fault_is_asked_about_images_that_arrive_so(world):
    """Of upright images it is wrong by design, and any candidate would look better."""
    data = opened(world / "data")
    usual, turned = (list(worlds(data, 16, 16, "dark", 2.0, (), arrives=fault)) for fault in (None, "mirrored"))
    assert np.array_equal(turned[0].crops, usual[0].crops[:, :, ::-1])
    assert np.array_equal(turned[0].labels, usual[0].labels) and sample_hash(turned[0]) != sample_hash(usual[0])
    assert [one.name for one in turned] == [one.name for one in usual]
    assert turned[1].crops.mean() < 0.7 * turned[0].crops.mean()  # what is done to them comes on top


def test_a_harmful_candidate_is_refused_with_every_reason(ask):
    result = ask("naive0", "steady0")
    assert not result.passed and [reason.split(":")[0] for reason in result.reasons] == ["gain (dark)", "other kinds"]
    assert "more images would not help" in result.reasons[0]


def test_a_candidate_that_is_the_champion_itself_is_refused_for_lack_of_gain(ask):
    result = ask("naive0", "naive0")
    assert [reason.split(":")[0] for reason in result.reasons] == ["gain (dark)"]
    assert row(result, "clean").passed and row(result, "other kinds").passed


def test_who_is_worse_on_clean_images_is_refused_however_much_it_gains_elsewhere(ask):
    result = ask("steady1", "naive0")
    assert row(result, "gain (dark)").passed and not row(result, "clean").passed
    assert "broken" in result.reasons[0]


def test_who_is_right_as_often_but_never_sure_of_it_is_refused(ask):
    result = ask("shy", "steady0", cause=None)
    assert row(result, "clean").difference == 0
    assert {reason.split(":")[0] for reason in result.reasons} == {"calibration", "gain (clean)"}


def test_to_be_right_more_often_is_no_loss_of_calibration():
    """One that is unsure and nearly always wrong, against one that is right two times in three and says so."""
    images, labels = np.arange(1_000), np.arange(1_000) % 10

    def answers(share_right, sure):
        said = np.where(images % 100 < 100 * share_right, labels, (labels + 1) % 10)
        return Answers(np.where(np.arange(10) == said[:, None], sure, (1 - sure) / 9))

    lost, healed, surer = answers(0.14, 0.35), answers(0.67, 0.67), answers(0.67, 0.999)
    noise = World("noise", images, labels, images, [])
    claim = calibration_claim(noise, lost, healed, 0.05, 0.01)
    assert claim.passed and claim.champion > 0.4 > 0.3 > claim.candidate
    assert not calibration_claim(noise, healed, surer, 0.05, 0.01).passed


def test_of_a_healed_model_is_asked_what_it_does_in_the_world_it_is_for(ask, world):
    refused, healed = ask("steady1", "naive0"), ask("healed", "naive0")
    assert not refused.passed and healed.passed
    clean = row(healed, "clean")
    assert clean.difference < -0.05 and "not asked of a healed model" in clean.words
    assert row(healed, "calibration").champion == pytest.approx(0.25, abs=0.25)  # of the changed world
    assert not ask("healed", "steady0").passed  # it gains nothing over one that light does not disturb


@pytest.mark.parametrize("severity", ["nan", "inf", "much"])
def test_a_severity_that_is_no_number_is_refused(severity):
    with pytest.raises(ConfigError, match=f"severity={severity}: expected a number"):
        cause_in([f"severity={severity}"])


def test_too_few_images_are_said_to_be_too_few_and_how_many_would_do(ask):
    result = ask("steady0", "naive0", data="few", clean_margin=0.005)
    assert not result.passed
    assert "180 images can never show so little: at least 697 are needed" in result.reasons[0]


def test_true_labels_veto_what_twins_promise(ask, tmp_path):
    """Images of a world in which the champion is right and the candidate is not: as if the cause were wrong."""
    pixels, truth = images(40, 5)
    labels = []
    for number, image in enumerate(pixels):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image).save(path)
        sha256, label = f"{number:02}", CLASSES[1 - truth[number]]
        labels.append(Labelled(path, sha256, label, "left", "carrier", "some", 0.0, "somebody"))
    before = ask("steady0", "naive0", labels=labels[:29])
    assert before.passed and all(one.name != "labels" for one in before.rows)
    for label in labels[:12]:
        dark = Image.open(label.path).point(lambda value: value // 2)
        dark.save(label.path)
    after = ask("steady0", "naive0", labels=labels)
    assert not row(after, "labels").passed and "true labels speak against it" in " ".join(after.reasons)


def test_without_a_cause_the_candidate_has_to_be_better_on_clean_images(ask):
    assert ask("steady0", "steady1", cause=None).passed
    assert [reason.split(":")[0] for reason in ask("naive0", "naive0", cause=None).reasons] == ["gain (clean)"]


def test_each_look_at_the_same_images_is_harder_than_the_one_before(ask):
    looks = [ask("steady0", "naive0", severity=severity) for severity in (1.0, 2.0, 3.0)]
    assert [one.look for one in looks] == [1, 2, 3]
    assert [one.alpha for one in looks] == [alpha_at(look, 0.05) for look in (1, 2, 3)]
    assert row(looks[2], "clean").low < row(looks[0], "clean").low
    assert ask("steady0", "naive0", data="few", clean_margin=0.05).look == 1  # other images


def test_the_same_question_has_the_answer_it_had_and_costs_no_look(ask):
    first, again = ask("naive0", "steady0"), ask("naive0", "steady0")
    assert (again.folder, again.look, again.reasons) == (first.folder, 1, first.reasons)
    assert [one.name for one in again.rows] == [one.name for one in first.rows]
    told = first.folder / "gate.json"
    for damaged in (b"{", b"{}", told.read_bytes().replace(b'"look": 1', b'"look": "1"')):
        told.write_bytes(damaged)
        with pytest.raises(DataError, match=r"gate\.json: damaged .* nobody knows how often these images were asked"):
            ask("naive0", "steady0")


def test_images_of_a_gate_do_not_depend_on_who_is_asked_or_in_which_order(ask):
    first = ask("steady0", "naive0", severity=1.0)
    ask("steady1", "naive0")
    assert (
        row(ask("naive0", "steady0", severity=1.0), "gain (dark)").difference == -row(first, "gain (dark)").difference
    )


def test_an_unknown_cause_is_refused_by_name(ask):
    with pytest.raises(ConfigError, match="cause=unseen content: no change that can be made"):
        ask("steady0", "naive0", cause="unseen content")


def test_the_page_shows_the_table_in_words_and_images_that_changed(ask):
    killed = ask("naive0", "steady0").folder
    (killed / "gate.json").unlink()
    assert ask("naive0", "steady0").folder == killed  # not a second one beside half a test
    page = (killed / "gate.html").read_text()
    for text in ("✗ No. 2 claims do not hold", "gain (dark)", "Broken", "data:image/png;base64", "at least"):
        assert text in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_a_test_that_is_stopped_leaves_no_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), _folder(tmp_path, "one_against_other") as folder:
        (folder / "gate.html").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_needs_no_pytorch(world, tmp_path):
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests/lifecycle")!r})
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.lifecycle.gating.gate import judge_gate
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.settings_in_use import Gate
from halves import opened
root = Path({str(world)!r})
both = [read_artefact(root / name) for name in ("steady0", "naive0")]
words = ["gate.clean_margin=0.01", "gate.latency=50"]
result = judge_gate(*both, opened(root / "data"), cause="dark", severity=2.0, settings=load_section(Gate, words),
                    place=Path({str(tmp_path)!r}))
print(result.passed, sorted({{"torch", "sklearn", "timm", "matplotlib", "dvc"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["True []"], done.stderr
