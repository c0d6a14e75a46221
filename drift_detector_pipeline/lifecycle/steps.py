"""The steps that follow from a plan, taken as people take them: a basket, a version that is tested and adopted.

In: an alarm, the log, versions in models/, labels, recent images. Out: what was made, in a sentence and as facts. Read
by the autopilot.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.lifecycle.decisions import Action, Decision
from drift_detector_pipeline.lifecycle.gating.gate import GateResult, run_gate
from drift_detector_pipeline.lifecycle.gating.gate_claims import gain_in
from drift_detector_pipeline.lifecycle.gating.gate_images import CLEAN
from drift_detector_pipeline.lifecycle.labelling.basket import basket_about, make_basket
from drift_detector_pipeline.lifecycle.labelling.basket_file import BASKETS
from drift_detector_pipeline.lifecycle.labelling.labels import LABELS, read_labels, split_labels
from drift_detector_pipeline.lifecycle.labelling.stretch import Stretch, images_of, since_alarm
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, severity_of
from drift_detector_pipeline.release.admitted import GATE
from drift_detector_pipeline.release.artefact import MODELS, VERSIONS
from drift_detector_pipeline.release.registry import champion, champion_folder, history, promote
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Basket, Gate, Heal, Lifecycle, Retrain

WHO = "autopilot"
_MOST = 256  # images that former champions are asked about


class Steps(NamedTuple):
    """How each step is taken, and where."""

    basket: Basket
    heal: Heal
    retrain: Retrain
    gate: Gate
    images: Path | None  # a folder that holds recent images
    place: Path = MODELS
    baskets: Path = BASKETS
    labels: Path = LABELS


def take(
    log: RequestLog, action: Action, alarm: AlarmRow, settings: Lifecycle, steps: Steps
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Take one step about an alarm; return a sentence on what came of it, and facts. Raises what the step raises."""
    if action == "basket":
        folder = basket_about(log, alarm, steps.baskets) or make_basket(
            log, alarm, steps.images, steps.basket, place=steps.baskets, models=steps.place
        )
        return f"{folder} waits for labels: make label, make labels", {"basket": str(folder)}
    if action == "return":
        return _returned(log, alarm, settings.wait_images, steps)
    if action in ("heal", "retrain"):
        version, cause = _made(log, action, alarm, steps)
        return _judged(version, action, cause, severity_of(alarm), settings, steps)
    return "left alone", {}


def _made(log: RequestLog, action: Action, alarm: AlarmRow, steps: Steps) -> tuple[str, str]:
    """A version that was healed of, or trained for, the cause of an alarm; that cause."""
    standing = champion(steps.place)
    assert standing is not None  # `look` asked
    folder = champion_folder(standing, steps.place)
    cause, severity = str(alarm.cause), severity_of(alarm)
    if action == "retrain":
        images = _recent(log, alarm, steps) if steps.images else []
        return _trained(folder, cause, severity, steps, images), cause
    from drift_detector_pipeline.lifecycle.mending.heal import heal  # PyTorch, which nothing else here needs

    paths = _recent(log, alarm, steps)
    return heal(folder, paths, cause=cause, severity=severity, settings=steps.heal, place=steps.place)


def _recent(log: RequestLog, alarm: AlarmRow, steps: Steps) -> list[Path]:
    """Files of the images since an alarm's change, the newest last. Raises ConfigError if nothing keeps them."""
    if steps.images is None:
        raise ConfigError("no recent images; serving.keep_images=FOLDER keeps them, lifecycle.images=FOLDER names them")
    return images_of(log, since_alarm(alarm), steps.images)


def _returned(log: RequestLog, alarm: AlarmRow, newest: int, steps: Steps) -> tuple[str, dict[str, Any]]:
    """Settle an alarm whose `newest` images look usual to the champion, or let a former one to whom they do answer.

    The champion is asked once as many others came before these, or else they are what it alarmed about. No gate is
    asked: what labelled images say of a former one is known from when it was adopted for this world.
    """
    since, standing = _recent(log, alarm, steps), champion(steps.place)
    paths = since[-min(newest, _MOST) :]
    own = [standing.version] if standing and len(since) >= 2 * len(paths) else []
    for version in [*own, *former_champions(steps.place)]:
        folder = steps.place / VERSIONS / version
        detector = open_engine(folder).detector if folder.is_dir() else None
        if detector is None:
            continue
        verdict = detector.check(paths)
        if verdict.level != "quiet" or verdict.p is None:
            continue
        if version in own:
            return f"the change is over: {verdict.images} images look usual", {"over": True, "p": verdict.p}
        why = f"its world is back: {verdict.images} images since alarm {alarm.id} look usual to it, p {verdict.p:.2f}"
        promote(version, who=WHO, why=why, force=True, place=steps.place)
        return f"{version} answers again", {"version": version, "adopted": True, "p": verdict.p}
    return f"{len(paths)} images look usual to no champion there was", {}


def former_champions(place: Path) -> list[str]:
    """Versions that answered before the champion, each once, the newest first."""
    standing = champion(place)
    names = [one.version for one in reversed(history(place))]
    return [name for name in dict.fromkeys(names) if standing is None or name != standing.version]


def _trained(
    folder: Path, cause: str | None, severity: float | None, steps: Steps, images: Sequence[Path] = ()
) -> str:  # fmt: skip
    from drift_detector_pipeline.lifecycle.mending.retrain import retrain

    labels, _ = split_labels(read_labels(steps.labels))
    return retrain(
        folder, cause=cause, severity=severity, labels=labels, images=images, settings=steps.retrain, place=steps.place
    )


def _judged(
    version: str, action: Action, cause: str | None, severity: float | None, settings: Lifecycle, steps: Steps
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Ask the gate about a version, and adopt it if that may be."""
    _, labels = split_labels(read_labels(steps.labels))
    gate = run_gate(version, cause=cause, severity=severity, labels=labels, settings=steps.gate, place=steps.place)
    facts: dict[str, Any] = {"version": version, "passed": gate.passed, "gate": str(gate.folder)}
    if action == "heal" and cause is not None:
        facts |= {"of": cause, "left": _left(gate, cause)}
    if not gate.passed:
        return f"{version} was refused by its gate: {'; '.join(gate.reasons)}", facts
    if not settings.promote:
        return f"{version} passed its gate and waits for a person: make promote VERSION={version}", facts
    why = f"{action} for {cause or 'labels'}"
    promote(version, who=WHO, why=why, gate=gate.folder / GATE, action=action, place=steps.place)  # type: ignore[arg-type]
    return f"{version} answers now", facts | {"adopted": True}


def _left(gate: GateResult, cause: str) -> float:
    """How much less accurate a candidate is on changed images than the champion on clean ones, in 0 to 1."""
    by_name = {one.name: one for one in gate.rows}
    return by_name[CLEAN].champion - by_name[gain_in(cause)].candidate


def train_for_the_rest(
    log: RequestLog, healed: Decision, alarm: AlarmRow, stretch: Stretch, settings: Lifecycle, steps: Steps
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Train for what the champion was healed of; its drift is measured from images the healed one answered."""
    standing = champion(steps.place)
    assert standing is not None  # `look` asked
    cause, severity = str(healed.detail["of"]), severity_of(alarm)
    images = images_of(log, stretch, steps.images) if steps.images else []  # they may have been kept only then
    version = _trained(champion_folder(standing, steps.place), cause, severity, steps, images)
    return _judged(version, "retrain", cause, severity, settings, steps)


def train_on_labels(folder: Path, settings: Lifecycle, steps: Steps) -> tuple[str, dict[str, Any]]:
    """Train the champion in `folder` on labels that came back; as `take`."""
    return _judged(_trained(folder, None, None, steps), "retrain", None, None, settings, steps)
