"""May a candidate replace the champion? `python -m drift_detector_pipeline.lifecycle.gating.gate VERSION cause=fog`.

In: two artefacts, processed data, labelled images. Out: models/gates/<candidate>_against_<champion>/ with gate.json,
which promotion reads, and gate.html. Needs no PyTorch: the files that would serve are asked, in their runtime.

Asked again and again, the same images let a harmful candidate through by chance in the end. So the k-th candidate is
asked at alpha 6 / (pi k)^2: over any number of them the chance stays below alpha.

A healed candidate is for the changed world alone: there it must gain, and what it loses elsewhere is told, not asked.
Where only some cameras have changed it belongs to those alone (serving.canary).
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import exclusive, write_json
from drift_detector_pipeline.json_files import read_json, typed
from drift_detector_pipeline.lifecycle.gating.gate_claims import (
    Answers,
    Asked,
    Claim,
    by_kind,
    claims_of,
    cost_claim,
    reasons,
)
from drift_detector_pipeline.lifecycle.gating.gate_images import (
    CLEAN,
    LABELS,
    OTHERS,
    World,
    cause_in,
    sample_hash,
    worlds,
)
from drift_detector_pipeline.lifecycle.gating.gate_page import Seen, changed_answers, write_gate_page
from drift_detector_pipeline.lifecycle.gating.gate_statistics import alpha_at
from drift_detector_pipeline.lifecycle.gating.origin import data_of, named_artefact
from drift_detector_pipeline.lifecycle.labelling.labels import Labelled, check_images, read_labels, split_labels
from drift_detector_pipeline.lifecycle.labels_of_images import refuse_task
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.release.admitted import GATE, GATES, identified
from drift_detector_pipeline.release.artefact import MODELS, Artefact, read_artefact
from drift_detector_pipeline.release.chronicle import champion
from drift_detector_pipeline.release.executable import Executable, open_executable
from drift_detector_pipeline.release.parity import milliseconds
from drift_detector_pipeline.release.registry import champion_folder
from drift_detector_pipeline.runs.facts import now
from drift_detector_pipeline.settings import valid_keys
from drift_detector_pipeline.settings_in_use import Gate

HEALED = "heal.json"  # a file of artefacts that lifecycle/mending/heal.py has made
_BATCH, _ROUNDS = 16, 5


_OfKind = Annotated[tuple[str, int, float, float], Field(strict=False)]  # a list in JSON


class GateResult(NamedTuple):
    """What a gate came to; gate.json holds it."""

    passed: bool
    reasons: list[str]  # why not
    candidate: dict[str, str]  # version and manifest_sha256
    champion: dict[str, str]
    cause: str | None
    severity: float | None
    look: int  # how many candidates these images have been asked about, this one among them
    alpha: float  # of each claim of this look
    rows: list[Claim]
    kinds: list[_OfKind]  # other kinds: images, accuracy of champion and candidate
    sample: str  # SHA-256 of the clean images
    question: str  # SHA-256 of everything that decides the answer
    at: str
    settings: dict[str, Any]
    folder: Path  # not in the file


@exit_status
def main() -> int:
    """Test the version, or the artefact folder, that is named against the champion."""
    command = read_command(sys.argv[1:])
    cause, severity, others = cause_in(command.overrides)
    refuse_others(others, ["cause", "severity", *valid_keys(Gate, "gate.")], "make gate")
    if command.target is None:
        raise ConfigError("VERSION: name the candidate, a version or an artefact folder; make models lists versions")
    set_up_logging()
    settings = load_section(Gate, others)
    result = run_gate(str(command.target), cause=cause, severity=severity, labels=read_labels(), settings=settings)
    return 0 if result.passed else 2


def run_gate(
    version: str, *, cause: str | None = None, severity: float | None = None, labels: Sequence[Labelled] = (),
    settings: Gate, place: Path = MODELS,
) -> GateResult:  # fmt: skip
    """Test a version, or an artefact folder, against the champion on the images of the champion's run.

    Of `labels` the half that is for gates is asked about. Raises ConfigError without a champion, DataError if
    something is missing.
    """
    standing, named = champion(place), named_artefact(Path(version), place)
    if standing is None:
        raise ConfigError(
            f'{version}: there is no champion to test against; make promote VERSION={version} WHY="first"'
        )
    candidate = read_artefact(named)
    against = read_artefact(champion_folder(standing, place))
    _, own = split_labels(labels)
    check_images(own)
    return judge_gate(
        candidate, against, data_of(against), cause=cause, severity=severity, labels=own, settings=settings,
        place=place,
    )  # fmt: skip


def judge_gate(
    candidate: Artefact, champion: Artefact, data: Processed, *, cause: str | None, severity: float | None,
    labels: Sequence[Labelled] = (), settings: Gate, place: Path = MODELS,
) -> GateResult:  # fmt: skip
    """Ask both about the same images and write what came of it; the same question again has the answer it had.

    Raises ConfigError if the two cannot be compared, as those that find boxes, or the cause is no change that can be
    made.
    """
    for one in (candidate, champion):
        refuse_task(one.task, one.folder, "a gate")
    if (candidate.classes, candidate.side_px) != (champion.classes, champion.side_px):
        raise ConfigError(f"{candidate.folder}: other classes or another input than {champion.folder}; not comparable")
    about = identified(candidate.folder), identified(champion.folder)
    given = (champion.side_px, champion.stored_side_px, cause, severity, labels)
    asked = worlds(data, *given, arrives=champion.facts.get("undoes"))
    clean = next(asked)
    sample = sample_hash(clean)
    question = _hash(
        [*about, cause, severity, sorted((one.sha256, one.label) for one in labels), sample, settings.model_dump()]
    )
    (place / GATES).mkdir(parents=True, exist_ok=True)
    with exclusive(place / GATES / ".lock"):
        earlier = _earlier(place, sample)
        if before := next((one for one in earlier if one.question == question), None):
            log.info("%s: asked before, with the same images and settings; the answer stands", before.folder)
            return before
        look = len(earlier) + 1
        alpha, both = alpha_at(look, settings.alpha), (champion, candidate)
        must_gain = _must_gain(cause, labels, champion.classes, settings.least_labels)
        rules = Asked(settings, alpha, must_gain, HEALED in candidate.sha256)
        told = _tell([open_executable(one) for one in both], chain([clean], asked), rules)
        claims = [*told[0], cost_claim("megabytes", _megabytes(champion), _megabytes(candidate), settings.size)]
        with _folder(place / GATES, f"{about[0]['version']}_against_{about[1]['version']}") as folder:
            result = GateResult(
                not reasons(claims), reasons(claims), *about, cause, severity, look, alpha, claims,
                told[1], sample, question, now(), settings.model_dump(), folder,
            )  # fmt: skip
            write_gate_page(folder, result._asdict(), told[2], champion.classes)
            facts = {name: _plain(value) for name, value in result._asdict().items() if name != "folder"}
            write_json(folder / GATE, facts)
    _say(result)
    return result


@contextmanager
def _folder(gates: Path, name: str) -> Iterator[Path]:
    """Give a test's folder, under the lock: without gate.json nothing is left, and what a kill left is filled anew."""
    names = (gates / (name if number == 1 else f"{name}_{number}") for number in count(1))
    folder = next(one for one in names if not (one / GATE).exists())
    try:
        folder.mkdir(exist_ok=True)
        yield folder
    finally:
        if not (folder / GATE).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _tell(
    ways: Sequence[Executable], worlds_asked: Iterator[World], asked: Asked
) -> tuple[list[Claim], list[tuple[str, int, float, float]], list[Seen]]:
    """What champion and candidate say, world by world: claims, single kinds and pictures."""
    claims, kinds, pictures = list[Claim](), list[tuple[str, int, float, float]](), list[Seen]()
    for world in worlds_asked:
        before, after = (answers_of(way, world.crops) for way in ways)
        claims += claims_of(world, before, after, asked)
        pictures += changed_answers(world, before, after)
        if world.name == OTHERS:
            kinds = by_kind(world, before, after)
        if world.name == CLEAN:
            costs = [_latency_claim(ways, world, asked.settings.latency)]
    return claims + costs, kinds, pictures


def _latency_claim(ways: Sequence[Executable], world: World, most: float) -> Claim:
    """Processor time an image of both, by turns until it fits: what else the machine does only ever adds."""
    spent = np.full(2, np.inf)
    for _ in range(_ROUNDS):
        spent = np.minimum(spent, [milliseconds(way.say, world.crops, 1) for way in ways])
        if spent[1] <= most * spent[0]:
            break
    return cost_claim("milliseconds", float(spent[0]), float(spent[1]), most)


def _megabytes(artefact: Artefact) -> float:
    return (artefact.folder / artefact.file).stat().st_size / 1e6


def _must_gain(cause: str | None, labels: Sequence[Labelled], classes: Sequence[str], least: int) -> str:
    """The world in which a candidate has to be better: what it was made for."""
    if cause is not None:
        return cause
    return LABELS if sum(one.label in classes for one in labels) >= least else CLEAN


def answers_of(executable: Executable, crops: np.ndarray) -> Answers:
    """What a model says of uint8 (N, S, S, 3)."""
    parts = [executable.say(crops[start : start + _BATCH]).probabilities for start in range(0, len(crops), _BATCH)]
    said = np.concatenate(parts).astype(np.float64) if parts else np.zeros((0, 1))
    return Answers(said)


def _earlier(place: Path, sample: str) -> list[GateResult]:
    """Every gate that asked about these images, whoever the candidate was."""
    found = list[GateResult]()
    for path in sorted((place / GATES).glob(f"*/{GATE}")):
        try:
            values = read_json(path)
            if isinstance(values, dict) and values.get("sample", sample) != sample:
                continue  # about other images
            found.append(typed(GateResult, values | {"folder": path.parent} if isinstance(values, dict) else values))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: damaged ({error}), so nobody knows how often these images were asked; restore it, or move "
                "its folder away"
            ) from error
    return found


def _hash(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return [one._asdict() if isinstance(one, Claim) else one for one in value] if isinstance(value, list) else value


def _say(result: GateResult) -> None:
    log.info("%s\n%s\n", result.folder / "gate.html", "\n".join(map(_line, result.rows)))
    name = result.candidate["version"]
    if result.passed:
        log.info('%s passed. Next: make promote VERSION=%s WHY="..."', name, name)
        return
    for reason in result.reasons:
        log.warning("%s", reason)
    log.warning("%s is refused; the champion stays", name)


def _line(claim: Claim) -> str:
    bound = "" if claim.low is None else f" at least {claim.low:+.4f}, asked above {claim.asked:+.4f}"
    return (
        f"  {'yes' if claim.passed else 'NO ':3} {claim.name:15} {claim.n:6} images  {claim.champion:8.4f} -> "
        f"{claim.candidate:8.4f}{bound}  {claim.words}"
    )


if __name__ == "__main__":
    sys.exit(main())
