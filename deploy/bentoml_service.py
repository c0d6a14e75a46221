"""The engine behind BentoML instead of `make serve`.

    ARTEFACT=models/artefact PORT=8002 python deploy/bentoml_service.py
    curl --form image=@photo.jpg http://127.0.0.1:8002/predict

It answers, and neither logs nor watches for drift. BentoML posts to its maker when it starts and every twelve hours,
unless it is told not to, which the first lines do; start it by this file, so that nothing of it is loaded before them.
"""

import os

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

import time
from pathlib import Path
from typing import Any

import bentoml
import numpy as np

from drift_detector_pipeline.serving.engine import open_engine


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 48})
class DriftDetector:
    """One engine in one process; more than 48 requests at once get 429."""

    def __init__(self) -> None:
        self.engine = open_engine(Path(os.environ.get("ARTEFACT", "models/artefact")))

    @bentoml.api
    def predict(self, image: Path) -> dict[str, Any]:
        """Answer one image file."""
        chances = self.engine.answer(np.stack([self.engine.prepare(image.read_bytes())])).probabilities[0]
        return {"label": self.engine.artefact.classes[int(chances.argmax())], "probability": float(chances.max())}


if __name__ == "__main__":
    place = {
        "working_dir": str(Path(__file__).parent),
        "host": "127.0.0.1",
        "port": int(os.environ.get("PORT", "8002")),
    }
    with bentoml.serve("bentoml_service:DriftDetector", **place):
        while True:
            time.sleep(3600)
