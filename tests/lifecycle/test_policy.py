"""What the policy says: harm and cause decide, budgets hold, nothing is tried twice, and every plan has its reasons."""

import pytest

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.lifecycle.decisions import INTERRUPTED, Decision
from drift_detector_pipeline.lifecycle.policy import plan_for, plan_for_the_rest
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow
from drift_detector_pipeline.settings_in_use import Lifecycle


def settings(*words):
    return load_section(Lifecycle, words)


def alarm(cause="fog", level="alert", severity=3.2, **verdict):
    said = {"level": level, "cause": {"severity": severity}, "accuracy": {"low": 0.5, "accuracy": 0.6, "high": 0.7}}
    return AlarmRow(
        7, 1.7e9, 1, "gate", level, 90, 60, cause, {"alarm": {}, "verdict": said | verdict}, None, None, None
    )


def decided(action, outcome="done", at=0.0, minutes=1.0, **detail):
    return Decision(1, at, at + 60 * minutes, 7, action, outcome, detail)


def plan(one, *words, images=999, tried=(), week=(), former=0):
    return plan_for(one, images, tried, week, settings(*words), former=former)


def test_by_default_people_are_asked() -> None:
    assert plan(alarm()).action == "basket"


def test_what_was_done_is_not_done_again_and_then_a_person_is_needed() -> None:
    found = plan(alarm(), tried=[decided("basket")])
    assert found.action is None and found.reasons[-1] == "nothing is left to do without a person"


def test_steps_follow_each_other_until_one_is_adopted() -> None:
    words = ["lifecycle=retrain"]
    assert plan(alarm(), *words).action == "heal"
    assert plan(alarm(), *words, tried=[decided("heal", "refused: no")]).action == "retrain"
    assert plan(alarm(), *words, tried=[decided("heal"), decided("retrain")]).action == "basket"


def test_what_lacked_images_is_tried_again_once_more_have_come() -> None:
    short, asked = decided("heal", "refused: 0 images", images=300, too_few=True), decided("return", images=556)
    assert plan(alarm(), "lifecycle=heal", tried=[short], images=555).action == "basket"
    assert plan(alarm(), "lifecycle=heal", tried=[short, asked], images=556).action == "heal"
    refused = short._replace(detail={"images": 300})
    assert plan(alarm(), "lifecycle=heal", tried=[refused, asked], images=556).action == "basket"


def rest(*words, left=0.08, images=999, tried=(), week=()):
    healed = decided("heal", version="a-1", adopted=True, of="fog", left=left)
    return plan_for_the_rest(healed, [healed, *tried], images, week, settings("lifecycle=retrain", *words))


def test_what_healing_left_lost_is_trained_for_once_and_within_the_budget() -> None:
    found = rest()
    assert found.action == "retrain" and found.reasons[0] == "a-1, healed of fog, lacks 8 points of accuracy"
    assert rest(left=0.049).action is None and rest("lifecycle.on_alert=[heal]").action is None
    later = decided("retrain", "refused: no")._replace(id=2)
    assert rest(tried=[later]).action is None
    assert rest(tried=[later._replace(outcome=INTERRUPTED)]).action == "retrain"
    waits = rest("lifecycle.wait_images=256", images=255)
    assert waits.action is None and waits.reasons[-1] == "255 of 256 images that it answered are there"
    spent = rest("lifecycle.tries_a_week=1", week=[decided("heal")])
    assert spent.action is None and spent.reasons[-1] == "retrain: lifecycle.tries_a_week=1 are spent"


def test_what_was_interrupted_is_done_again() -> None:
    assert plan(alarm(), "lifecycle=heal", tried=[decided("heal", INTERRUPTED)]).action == "heal"


@pytest.mark.parametrize("cause", ["unknown", "unseen content"])
def test_of_what_nobody_knows_healing_tries_the_inverses_and_then_people_are_asked(cause: str) -> None:
    assert plan(alarm(cause, severity=None), "lifecycle=retrain").action == "heal"
    tried = [decided("heal", "refused: no", cause=cause)]
    assert plan(alarm(cause, severity=None), "lifecycle=retrain", tried=tried).action == "basket"
    assert plan(alarm("fog"), "lifecycle=heal", "lifecycle.tries_a_week=1", week=tried, tried=tried).action == "heal"
    in_vain = [decided("heal", "refused: no", cause="fog")]
    assert plan(alarm("fog"), "lifecycle=heal", "lifecycle.tries_a_week=1", week=in_vain).action == "basket"


@pytest.mark.parametrize("cause", ["class mix", "fog and contrast"])
def test_what_cannot_be_made_is_never_healed_or_trained_for(cause: str) -> None:
    found = plan(alarm(cause, severity=None), "lifecycle=retrain")
    assert found.action == "basket" and any(reason.startswith("heal: ") for reason in found.reasons)


def test_a_turned_image_is_healed_too_as_it_can_be_turned_back() -> None:
    assert plan(alarm("upside_down", severity=1), "lifecycle=retrain").action == "heal"


def test_what_does_no_harm_is_left_alone_once() -> None:
    harmless = alarm(level="notice")
    assert plan(harmless, "lifecycle=retrain").action == "nothing"
    assert plan(harmless, "lifecycle=retrain", tried=[decided("nothing")]).action is None


def test_a_notice_whose_verdict_alerts_is_harmful() -> None:
    one = alarm()._replace(level="notice")
    assert plan(one, "lifecycle=heal").action == "heal"


@pytest.mark.parametrize(("cause", "images"), [(None, 999), ("fog", 255)])
def test_nothing_is_made_before_cause_and_images_are_there(cause: str | None, images: int) -> None:
    assert plan(alarm(cause), "lifecycle=heal", images=images).action is None


@pytest.mark.parametrize(
    ("spent", "words"),
    [(3 * [decided("heal")], ["lifecycle.tries_a_week=3"]),
     ([decided("retrain", minutes=90.0)], ["lifecycle.minutes_a_week=90"])],
)  # fmt: skip
def test_a_spent_budget_leaves_labels(spent: list[Decision], words: list[str]) -> None:
    found = plan(alarm(), "lifecycle=retrain", *words, week=spent)
    assert found.action == "basket" and words[0] in " ".join(found.reasons)


def test_baskets_cost_no_budget() -> None:
    assert plan(alarm(), "lifecycle=heal", "lifecycle.tries_a_week=1", week=9 * [decided("basket")]).action == "heal"


def test_what_passed_its_gate_waits_for_a_person() -> None:
    found = plan(alarm(), "lifecycle=heal", tried=[decided("heal", passed=True, version="net-1")])
    assert found.action is None and "make promote VERSION=net-1" in found.reasons[-1]


def test_former_champions_are_asked_first_but_only_by_a_policy_that_may_promote() -> None:
    assert plan(alarm(), "lifecycle=heal", former=1).action == "return"
    assert plan(alarm(level="notice"), "lifecycle=heal", former=1).action == "return"
    assert plan(alarm(), "lifecycle=heal", images=63, former=1).action is None
    assert plan(alarm(), "lifecycle=heal", images=64, former=1).action == "return"
    assert plan(alarm(), "lifecycle=heal", images=511, former=1, tried=[decided("return", images=256)]).action == "heal"
    assert plan(alarm(), former=1).action == "basket"


def test_former_champions_are_asked_again_with_as_many_new_images() -> None:
    tried = [decided("return", images=256), decided("nothing")]
    harmless = alarm("unknown", level="notice")
    assert plan(harmless, "lifecycle=heal", images=511, former=1, tried=tried).action is None
    assert plan(harmless, "lifecycle=heal", images=512, former=1, tried=tried).action == "return"


def test_a_policy_that_is_none_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"lifecycle=hela: .*choose from heal"):
        settings("lifecycle=hela")


def test_after_all_was_tried_it_is_asked_whether_the_change_is_over_once_there_are_new_images() -> None:
    tried = [decided(one, "refused: no", images=300) for one in ("heal", "retrain", "basket")]
    assert plan(alarm(), "lifecycle=retrain", tried=tried, images=555).action is None
    assert plan(alarm(), "lifecycle=retrain", tried=tried, images=556).action == "return"
    again = [*tried, decided("return", images=556)]
    assert plan(alarm(), "lifecycle=retrain", tried=again, images=811).action is None
    assert plan(alarm(), tried=tried, images=999).action is None  # nobody is left out who settles alarms by hand
