"""A service that is asked, watched and mended, a day at a time.

In: a folder with a champion, days of images. Out: what was answered, as `Asked` a day; the log has the rest. Read by
the command. Whoever labels gets baskets back after some days, with the truth.
"""

import base64
import contextlib
import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Labels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import ending_of
from drift_detector_pipeline.lifecycle.autopilot import look
from drift_detector_pipeline.lifecycle.labelling.basket_file import baskets, read_basket
from drift_detector_pipeline.lifecycle.labelling.label_formats import NONE_OF_THESE, Said
from drift_detector_pipeline.lifecycle.labelling.labels import take_labels
from drift_detector_pipeline.lifecycle.steps import Steps
from drift_detector_pipeline.lifecycle.watching.gauges import Gauges
from drift_detector_pipeline.lifecycle.watching.notify import Notifier
from drift_detector_pipeline.lifecycle.watching.watcher import Watcher
from drift_detector_pipeline.pages import image_png
from drift_detector_pipeline.proof.servers import asked, free_port, started
from drift_detector_pipeline.proof.year.world import NOBODY, Day
from drift_detector_pipeline.release.artefact import MODELS, read_artefact
from drift_detector_pipeline.release.registry import champion, champion_folder
from drift_detector_pipeline.serving.kept import kept_path
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Lifecycle, Monitor

KEPT = Path("data/kept")  # images that the service was asked about
_AT_ONCE = 16
_SWAP_S = 30.0  # until a new champion answers
_LABELLED_AFTER_DAYS = 7


class Asked(NamedTuple):
    """What was answered on a day."""

    number: int
    said: Labels  # places of classes
    right: Labels  # 0 or 1
    version: str  # that answered


class Life:
    """A running service, a monitor and an autopilot over one log, in the folder that is the current one."""

    def __init__(self, address: str, log: RequestLog, monitor: Monitor, policy: Lifecycle, steps: Steps) -> None:
        self._address, self._log, self._policy, self._steps = address, log, policy, steps
        stop = threading.Event()
        self._watcher = Watcher(log, monitor, Notifier(log, monitor, ""), Gauges(), stop)
        self._truth = dict[str, str]()  # of every image that came, by the SHA-256 of its file
        self._due = dict[Path, int]()  # baskets, and the day on which their labels come back

    def live(self, day: Day, classes: Sequence[str]) -> Asked:
        """Ask about a day's images, watch, act; labels that are due come back."""
        files = [image_png(image) for image in day.images]
        names = [NONE_OF_THESE if label == NOBODY else classes[label] for label in day.labels.tolist()]
        self._truth |= {hashlib.sha256(file).hexdigest(): name for file, name in zip(files, names, strict=True)}
        standing = champion(MODELS)
        batches = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
        said = [label for batch in batches for label in self._ask(batch)]
        self._wait_for_the_log(len(files))
        self._wait_for_the_images(files)
        self._watcher.follow(lambda: None)
        look(self._log, self._policy, self._steps)
        self._label(day.number)
        self._wait_for_the_champion()
        places = np.array([classes.index(label) for label in said])
        right = (places == day.labels).astype(np.int64)
        return Asked(day.number, places, right, standing.version if standing else "")

    def _ask(self, files: Sequence[bytes]) -> list[str]:
        body = json.dumps({"images": [base64.b64encode(file).decode() for file in files]}).encode()
        return [str(one["label"]) for one in asked(f"{self._address}/predict", body)["answers"]]

    def _wait_for_the_log(self, more: int) -> None:
        """Until the day's rows are in the log, which they are within a quarter of a second."""
        self._rows = getattr(self, "_rows", 0) + more
        until = time.monotonic() + _SWAP_S
        while sum(self._log.count(model) for model in self._log.models()) < self._rows:
            if time.monotonic() > until:
                raise DataError(f"{self._address}: its request log lacks rows after {_SWAP_S:.0f} s")
            time.sleep(0.02)

    def _wait_for_the_images(self, files: Sequence[bytes]) -> None:
        """Until the day's images lie in the service's folder: another thread writes them."""
        names = [hashlib.sha256(file).hexdigest() for file in files]
        until = time.monotonic() + _SWAP_S
        while not all(kept_path(KEPT, name, ending_of(file)).exists() for name, file in zip(names, files, strict=True)):
            if time.monotonic() > until:
                raise DataError(f"{KEPT}: lacks images of today after {_SWAP_S:.0f} s")
            time.sleep(0.02)

    def _wait_for_the_champion(self) -> None:
        """Until the one that was promoted last answers."""
        standing = champion(MODELS)
        assert standing is not None
        artefact = read_artefact(champion_folder(standing))
        wanted, until = artefact.sha256[artefact.file], time.monotonic() + _SWAP_S
        while self._model()["sha256"] != wanted:
            if time.monotonic() > until:
                raise DataError(f"{self._address}: does not follow {standing.version}")
            time.sleep(0.1)

    def _model(self) -> dict[str, Any]:
        return asked(f"{self._address}/model")

    def _label(self, day: int) -> None:
        """New baskets go to people, older ones come back."""
        for folder in baskets(self._steps.baskets):
            self._due.setdefault(folder, day + _LABELLED_AFTER_DAYS)
            if self._due[folder] == day:
                basket = read_basket(folder)
                said = [Said(Path(one.file).name, self._truth[one.sha256], "a person") for one in basket.images]
                take_labels(folder / "basket.csv", basket, said, self._steps.labels)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A service of the champion in the current folder, a process of its own, that keeps what it is asked about."""
    port = free_port()
    words = [f"serving.port={port}", f"serving.keep_images={KEPT}", "serving.keep_images_gb=4", "serving.in_flight=64"]
    command = [sys.executable, "-m", "drift_detector_pipeline.serving", *words]
    with started(command, port, "/ready", {}) as server:
        yield server.address
