"""Not a test: a log as a service writes it, whose small model has an artefact; the usual, and haze."""

import hashlib

import numpy as np
from small_artefact import CLASSES, make_artefact, world

from drift_detector_pipeline.lifecycle.watching.streams import Kept
from drift_detector_pipeline.lifecycle.watching.watched import Stream, kept_of
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.rows import ModelFacts, Row
from drift_detector_pipeline.settings_in_use import Monitor

HAZE = 0.2  # of the contrast is left: a notice after 6 images, an alert after some 25
MONITOR = {
    "models_path": "models", "alpha": 0.01, "horizon": 1_000_000, "tolerated_loss": 0.05, "cause_images": 64,
    "max_sources": 1000, "poll_s": 0.05, "webhook": None, "command": [], "metrics_host": "127.0.0.1",
    "metrics_port": None, "once": True,
}  # fmt: skip


def monitor_settings(database, models, **changes):
    """As conf/monitor has them, but for a short poll, and once."""
    return Monitor(**MONITOR | {"database": database, "models_path": models} | changes)


def make_models(place):
    """A folder of artefacts with one in it."""
    make_artefact(place / "first")


class Answering:
    """What the small model of a folder of artefacts answers, as rows."""

    def __init__(self, models, name="first"):
        self.models, self.engine = models, open_engine(models / name)
        facts = self.engine.facts()
        self.facts = ModelFacts(
            facts["sha256"], facts["reference_sha256"], facts["runtime"], facts["precision"], "stripes", CLASSES,
            facts["scores"],
        )  # fmt: skip

    def rows(self, count, seed, source="", *, contrast=1.0, at=1.7e9):
        """Rows of so many images; other seeds are other images."""
        plain, _ = world(count, seed)
        images = (120 + contrast * (plain.astype(float) - 120)).round().astype(np.uint8)
        parts = [self.engine.answer(images[start : start + 16]) for start in range(0, count, 16)]
        scores = np.concatenate([part.phi for part in parts]).astype("<f4")
        chances = np.concatenate([part.probabilities for part in parts])
        hashes = [hashlib.sha256(image.tobytes()).digest() for image in images]
        return [
            Row(at + number, f"{seed}-{number}", source, hashes[number], int(chances[number].argmax()),
                float(chances[number].max()), 2.5, scores[number].tobytes())
            for number in range(count)
        ]  # fmt: skip


def put(log, model, rows):
    """Into the log, at once."""
    for row in rows:
        log.put(model, row)
    assert log.flush()


def standing(log, model, source="") -> Kept:
    """What is known of a stream."""
    return kept_of(log, Stream(model, source))


def plain(alarm):
    """All of an alarm but its number, which differs between two logs."""
    return alarm._replace(id=0, model_id=0)
