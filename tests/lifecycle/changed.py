"""Not a test: a log whose world has changed, the images of it, and what is on them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from small_artefact import CLASSES, png, world
from sqlalchemy import insert

from drift_detector_pipeline.lifecycle.alarms import AlarmRow, alarm_of
from drift_detector_pipeline.serving.database import LOOP_LOCK, writing
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, Row
from drift_detector_pipeline.serving.tables import alarm

USUAL, CHANGED = 60, 200


@dataclass
class Changed:
    """What there is to choose from."""

    log: RequestLog
    alarm: AlarmRow
    models: Path  # with the artefact that answered
    contents: list[bytes]  # of all images, in the order of their rows; the first USUAL came before the change
    truth: dict[str, str]  # by SHA-256
    address: str


def answered(engine, contents, crops, first=1, source="gate", shadow=False):
    """Rows as the service would log them."""
    said = engine.answer(crops)
    return [
        Row(
            1.7e9 + first + place, f"r{first + place}", source, hashlib.sha256(content).digest(),
            int(said.probabilities[place].argmax()), float(said.probabilities[place].max()), 2.5,
            said.phi[place].astype("<f4").tobytes(), shadow,
        )
        for place, content in enumerate(contents)
    ]  # fmt: skip


def change_a_world(database, models, thumbnails=()) -> Changed:
    """Rows of the artefact `first`, then of a brighter world, and an alarm; `thumbnails`: places with a picture."""
    engine, log = open_engine(models / "first"), RequestLog(database)
    artefact = engine.artefact
    hashes = artefact.sha256[artefact.file], artefact.sha256["reference.npz"]
    facts = ModelFacts(*hashes, "onnxruntime", "fp32", "stripes", CLASSES, [one.name for one in engine.scores])
    model = log.register(facts)
    (usual, before), (bright, after) = world(USUAL, 60), world(CHANGED, 61, light=190.0)
    crops, labels = np.concatenate([usual, bright]), np.concatenate([before, after])
    contents = [png(one) for one in crops]
    for place, row in enumerate(answered(engine, contents, crops)):
        log.put(model, row, png(crops[place]) if place in thumbnails else None)
    assert log.flush()
    raised = {"at": 1.7e9, "model_id": model, "source": "gate", "level": "alert", "request": USUAL + 40,
              "since": USUAL + 1, "cause": "brightness", "detail": {}}  # fmt: skip
    with writing(log.engine, LOOP_LOCK) as connection:
        number = connection.execute(insert(alarm).values(raised).returning(alarm.c.id)).scalar_one()
    truth = {hashlib.sha256(one).hexdigest(): CLASSES[label] for one, label in zip(contents, labels, strict=True)}
    return Changed(log, alarm_of(log, number), models, contents, truth, database)


def write_all(contents, folder: Path, name="photo {}.png") -> Path:
    """The images as files with names that say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (folder / name.format(number)).write_bytes(content)
    return folder


def settle(changed: Changed, at: float) -> AlarmRow:
    """The alarm as if somebody had acknowledged it at that time."""
    return changed.alarm._replace(acknowledged_at=at, acknowledged_by="somebody", note="mended")
