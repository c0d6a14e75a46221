"""The engine behind LitServe instead of `make serve`.

    ARTEFACT=models/artefact PORT=8001 python deploy/litserve_server.py
    curl --form content=@photo.jpg http://127.0.0.1:8001/predict

It answers, and neither logs nor watches for drift. LitServe (0.2.19) bounds neither its queue nor an image's pixels;
its workers outlive a SIGTERM that only their parent gets: stop its process group. It sends nothing to its maker.
"""

import os
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from fastapi import Request

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.serving.engine import MOST, open_engine


class DriftDetectorAPI(litserve.LitAPI):
    """One engine a worker; what waits is answered together."""

    def setup(self, device: str) -> None:
        """Open the artefact."""
        self.engine = open_engine(Path(os.environ.get("ARTEFACT", "models/artefact")))

    def decode_request(self, request: Request) -> Pixels:
        """Decode the form's file."""
        return self.engine.prepare(request["content"].file.read())

    def batch(self, inputs: list[Pixels]) -> Pixels:
        """Put crops together."""
        return np.stack(inputs)

    def predict(self, crops: Pixels) -> list[tuple[str, float]]:
        """Answer the crops."""
        chances, classes = self.engine.answer(crops).probabilities, self.engine.artefact.classes
        return [(classes[int(row.argmax())], float(row.max())) for row in chances]

    def unbatch(self, output: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """Take answers apart."""
        return output

    def encode_response(self, output: tuple[str, float]) -> dict[str, Any]:
        """Say it as `make serve` does."""
        return dict(zip(("label", "probability"), output, strict=True))


if __name__ == "__main__":
    server = litserve.LitServer(DriftDetectorAPI(max_batch_size=MOST, batch_timeout=0.0), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(os.environ.get("PORT", "8001")), generate_client_file=False)
