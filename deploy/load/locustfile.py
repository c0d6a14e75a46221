"""The same scenario for Locust: one image, or one clip, after another from each client.

    IMAGES=FOLDER locust --locustfile deploy/load/locustfile.py --host http://127.0.0.1:8000 --headless --users 8
    NPZ_PATH=clip.npz locust --locustfile deploy/load/locustfile.py --host http://127.0.0.1:8000 --headless --users 2

Locust itself costs about 2 ms of a core a request; where both share a machine, `make load_test` (k6) measures better.
"""

import os
import random
from pathlib import Path

import gevent
import locust

CLIP = os.environ.get("NPZ_PATH")  # an .npz of frames, or a short video
PATHS = [Path(CLIP)] if CLIP else sorted(Path(os.environ["IMAGES"]).glob("*.jpg"))
FILES = [path.read_bytes() for path in PATHS]


class Client(locust.FastHttpUser):
    """Asks again once it is answered, and later if it is told so."""

    @locust.task
    def predict(self) -> None:
        """Ask about one image or clip."""
        headers = {"Content-Type": "application/octet-stream"}
        with self.client.post("/predict", data=random.choice(FILES), headers=headers, catch_response=True) as said:
            if said.status_code in (429, 503):
                said.success()  # a refusal is an answer: come again, not all at once
                gevent.sleep(float(said.headers.get("Retry-After", 1)) * (1 + random.random()))
