"""The same scenario for Locust: one image after another from each client.

    IMAGES=FOLDER locust --locustfile deploy/load/locustfile.py --host http://127.0.0.1:8000 --headless --users 8

Locust itself costs about 2 ms of a core a request; where both share a machine, `make load_test` (k6) measures better.
"""

import os
import random
from pathlib import Path

import gevent
import locust

IMAGES = [path.read_bytes() for path in sorted(Path(os.environ["IMAGES"]).glob("*.jpg"))]


class Client(locust.FastHttpUser):
    """Asks again once it is answered, and later if it is told so."""

    @locust.task
    def predict(self) -> None:
        """Label one image."""
        headers = {"Content-Type": "application/octet-stream"}
        with self.client.post("/predict", data=random.choice(IMAGES), headers=headers, catch_response=True) as said:
            if said.status_code in (429, 503):
                said.success()  # a refusal is an answer: come again, not all at once
                gevent.sleep(float(said.headers.get("Retry-After", 1)) * (1 + random.random()))
