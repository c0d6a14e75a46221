"""The program that writes a run to MLflow: a server, or a database that the settings name.

Started by mirror.py as mlflow_tracking.py says; writer.py feeds it. MLflow gives a run its own id, so a run that goes
on is found by a tag.
"""

import io
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from PIL import Image

from drift_detector_pipeline.files import exclusive
from drift_detector_pipeline.runs.tracking.writer import CaptionedImage, Parent, Start, write_run

_TAG = "drift_detector_pipeline.run"
_PARAMS_AT_ONCE, _LONGEST_PARAM = 100, 500  # MLflow's limits; older servers take no more than 500 letters


class MlflowWriter:
    """Writes through MLflow's client."""

    def __init__(self, start: Start, parent: Parent) -> None:
        uri, file = start.options["tracking_uri"], database_file(start.options["tracking_uri"])
        self._start, self._client = start, MlflowClient(uri, registry_uri=uri)
        # Two that make the tables of one new file at the same time would be in each other's way.
        with nullcontext() if file is None else exclusive(file.with_name(f".{file.name}.lock")):
            self._run = self._open(file)
        self._id: str = self._run.info.run_id
        self._there = {name: self._last_step(name) for name in self._run.data.metrics}
        self._write_params()
        parent.info(f"{uri}, run {self._id} of the experiment {start.options['project']}")

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Add the values of a step, unless they are there."""
        now = round(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value in metrics.items() if step > self._there.get(name, -1)]
        if new:
            self._client.log_batch(self._id, metrics=new, synchronous=True)

    def samples(self, pictures: list[CaptionedImage], step: int) -> None:
        """Add the pictures as artifacts whose names are their captions."""
        for number, one in enumerate(pictures):
            name = re.sub(r"[^\w.%-]+", "_", one.caption).strip("_")
            self._client.log_image(self._id, Image.open(io.BytesIO(one.png)), f"samples/{number:02}_{name}.png")

    def model(self, path: Path, name: str, about: dict[str, Any]) -> None:
        """Add the file as an artifact and, if that was asked for, as a model's new version."""
        self._client.log_artifact(self._id, str(path), "model")
        wanted = self._start.options["registered_model"]
        if wanted is not None:
            self._register(wanted, {"model": name, **about})

    def close(self, exit_code: int) -> list[str]:
        """Say how the run ended."""
        self._client.set_terminated(self._id, "FINISHED" if exit_code == 0 else "KILLED")
        return []

    def send_later(self) -> str:
        """Nothing is kept back that could be sent."""
        return ""

    def _open(self, file: Path | None) -> Run:
        """The run of this id, made if it is not there; of a database the artifacts lie beside it."""
        wanted = self._start.options["project"]
        found = self._client.get_experiment_by_name(wanted)
        beside = None if file is None else (file.with_suffix("") / wanted).resolve().as_uri()
        experiment = found.experiment_id if found else self._client.create_experiment(wanted, beside)
        runs = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{self._start.run_id}'", max_results=1)
        if not runs:
            name = self._start.options["run_name"] or self._start.name
            return self._client.create_run(experiment, run_name=name, tags={_TAG: self._start.run_id})
        self._client.update_run(runs[0].info.run_id, status="RUNNING")
        return runs[0]

    def _last_step(self, metric: str) -> int:
        return max((one.step for one in self._client.get_metric_history(self._id, metric)), default=-1)

    def _write_params(self) -> None:
        """Write the settings; MLflow lets none be changed, so what a run had before stays."""
        texts = {name: str(value)[:_LONGEST_PARAM] for name, value in _flat(self._start.config)}
        new = [Param(name, text) for name, text in texts.items() if name not in self._run.data.params]
        for first in range(0, len(new), _PARAMS_AT_ONCE):
            self._client.log_batch(self._id, params=new[first : first + _PARAMS_AT_ONCE], synchronous=True)

    def _register(self, name: str, about: dict[str, Any]) -> None:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {key: str(value) for key, value in about.items()}
        self._client.create_model_version(name, f"{self._run.info.artifact_uri}/model", self._id, tags)


def database_file(tracking_uri: str) -> Path | None:
    """The file of a SQLite database; None of anything else."""
    found = re.fullmatch(r"sqlite:///(.+)", tracking_uri)
    return Path(found[1]) if found else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


if __name__ == "__main__":
    sys.exit(write_run(MlflowWriter))
