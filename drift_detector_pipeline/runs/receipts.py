"""The receipt of a finished run, run.json: which code, data, settings and machine made which weights.

Written by modeling/train.py as the last file of a run, read by everybody who asks a run anything: parsed and checked
once, here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from drift_detector_pipeline.commands import refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError, ModelError, ResumeError
from drift_detector_pipeline.files import file_hash, is_as_sealed, sealed, write_json
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.processed.manifest import Processed, open_processed
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.settings import Data, Run, Settings
from drift_detector_pipeline.takes import Takes
from drift_detector_pipeline.tasks.headline import ACCURACY, Headline

OUTPUTS = Path("outputs")
FINAL, BEST = WEIGHT_FILES = ("final_model.safetensors", "best_model.safetensors")
UNSEALED = "no hash of its own, as in receipts of older versions: a changed value in it would go unnoticed"
# Sections that decide no bit of the weights.
_FREE = tuple(name for name in Settings.model_fields if name not in ("data", "model", "training", "run"))
_Model = TypeVar("_Model", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)  # what a later version adds is passed over


class Epoch(_Part):
    """A row of metrics.jsonl: an epoch and what it came to, the value of the task's headline among it."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    epoch: int
    step: int
    train_loss: float
    val_loss: float
    learning_rate: float
    images_per_second: float
    seconds: float

    def value(self, headline: Headline) -> float:
        """What the headline came to on `val`."""
        return float((self.model_extra or {})[headline.column])


class Commit(_Part):
    """The state of the code; None where neither git nor the image knows it."""

    commit: str | None
    dirty: bool | None


class Receipt(_Part):
    """What a finished run says of itself."""

    folder: Path  # the run's; not in the file
    start: str  # ISO 8601, UTC
    end: str
    command: list[str]
    git: Commit
    where: str  # host, container, or the image's name
    processed_path: str
    data_fingerprint: str
    stored_as: str = "raw"  # or jpeg: the form in which the images that it learned from are stored
    sources_from: str | None = None  # of clips: "listed", "named" or "unknown"; the last may leak
    packages: dict[str, str]
    python: str
    seed: int
    device: str
    instruction_set: str
    threads: int
    precision: str  # as computed: bf16 or fp32
    processes: int
    task: str = "classification"  # of runs from before there were others
    headline: Headline = ACCURACY
    final: Epoch
    best: Epoch
    identity: dict[str, object]  # the settings that decide the bits, flat
    overrides: list[str]
    recorded: dict[str, dict[str, object]] = Field(alias="settings")  # as written: an older version had fewer
    weights_sha256: dict[str, str]  # of WEIGHT_FILES
    facts_sha256: str | None = None  # of all the rest; None in runs from before there was one

    @field_validator("recorded")
    @classmethod
    def _has_what_all_versions_had(cls, recorded: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        if missing := sorted({"data", "run"} - recorded.keys()):
            raise ValueError(f"no {' and no '.join(missing)}")
        return recorded

    @field_validator("headline", mode="before")
    @classmethod
    def _by_name(cls, headline: object) -> object:
        return Headline(**headline) if isinstance(headline, dict) else headline

    @field_serializer("headline")
    def _as_it_is_written(self, headline: Headline) -> dict[str, object]:
        return headline._asdict()

    @model_validator(mode="after")
    def _has_its_headline(self) -> "Receipt":
        for row in (self.final, self.best):
            if not isinstance((row.model_extra or {}).get(self.headline.column), float | int):
                raise ValueError(f"no {self.headline.column} in final and best")
        return self

    @property
    def score(self) -> float:
        """What decides: the headline's value of the final weights."""
        return self.final.value(self.headline)

    @property
    def items(self) -> str:
        """What was counted, for people."""
        return "clips" if self.task == "clips" else "images"

    @property
    def file(self) -> Path:
        """Where it is written."""
        return self.folder / RECEIPT

    def section(self, section: type[_Model], words: Sequence[str] = ()) -> _Model:
        """The run's own settings of one section, such as `Data`, changed by `words`.

        Raises ResumeError if this version does not know them as they stand there, ConfigError if a word is wrong.
        """
        name = section.__name__.lower()
        recorded = self._rebuilt(section, self.recorded.get(name, {}), f"{name}.")
        return load_section(section, words, recorded.model_dump(mode="json")) if words else recorded

    def changed_by(self, words: Sequence[str], takes: Takes) -> list[str]:
        """Those of `words` that say something else than the run was trained with.

        Raises ConfigError if one of them sets what `takes` has not, or a value that is not allowed.
        """
        given = [word for word in words if word not in self.overrides]
        refuse_others(given, *takes)
        for section in (Data, Run):
            self.section(section, given)
        return given

    def settings(self, today: Settings) -> Settings:
        """All of the run's settings, with the device, precision and threads it had; it may be done again with them.

        What decides no bit is as `today` has it: where a run is tracked, what is profiled, what is done with it later.
        Raises ResumeError if the receipt was written by a version with other settings.
        """
        free = today.model_dump(mode="json", include=dict.fromkeys(_FREE, True) | {"training": {"profiler"}})
        values = {**self.recorded, **{name: free[name] for name in _FREE}}
        resolved = {"device": self.device, "precision": self.precision, "threads": self.threads, "resume": None}
        values["run"] = self.recorded.get("run", {}) | resolved
        values["training"] = self.recorded.get("training", {}) | free["training"]
        return self._rebuilt(Settings, values)

    def data(self, settings: Data | None = None) -> Processed:
        """The processed data the run was trained on, and no other, where `settings` say, or as the run had it.

        Raises ResumeError if the receipt has other settings than this version, DataError if the data is missing or not
        the same, with the command that makes it.
        """
        words = [word for word in self.overrides if word.startswith(("data=", "data.", "+experiment="))]
        remedy = "run: make process_data" + f" {for_make(words)}" * bool(words)
        processed = open_processed(settings or self.section(Data), remedy)
        if processed.fingerprint != self.data_fingerprint:
            raise DataError(
                f"{processed.folder}: not the data that {self.folder} was trained on (fingerprint "
                f"{processed.fingerprint[:12]}, the receipt has {self.data_fingerprint[:12]}); with the source as it "
                f"was then, {remedy}"
            )
        return processed

    def check_weights(self, file: Path, sha256: str) -> None:
        """Raise ModelError if a weight file, of this SHA-256, is not the one of that name the run has written."""
        if sha256 != self.weights_sha256.get(file.name):
            raise ModelError(
                f"{file}: SHA-256 {sha256[:12]}..., not what {self.file} says; this file is damaged or of another run. "
                "Train again: make reproduce RUN=..."
            )

    def _rebuilt(self, model: type[_Model], values: Mapping[str, object], prefix: str = "") -> _Model:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise ResumeError(
                f"{self.file}: settings this version does not know ({_problems(error, prefix)})"
            ) from error


def sources_words(sources_from: str) -> str:
    """How it is known which clips belong together, for people."""
    known = {"listed": "listed in clips.csv", "named": "told by names of folders and files"}
    return known.get(sources_from, "unknown: figures may leak")


def write_receipt(folder: Path, facts: Mapping[str, object]) -> None:
    """Write run.json, the last file of a finished run."""
    hashes = {name: file_hash(folder / name) for name in WEIGHT_FILES}
    write_json(folder / RECEIPT, sealed({**facts, "weights_sha256": hashes}))


def read_receipt(folder: Path) -> Receipt:
    """Read the receipt of a finished run. Raises ResumeError if there is none, or it is not whole or not as written."""
    path = folder / RECEIPT
    if folder.is_file():
        raise ResumeError(f"{folder}: a file, and the folder of a run is expected; pass RUN=outputs/DATE/TIME")
    try:
        values = read_json(path)
        if not isinstance(values, dict):
            raise _no_receipt(path, "it holds no facts")
        receipt = Receipt.model_validate({**values, "folder": folder})
        if not is_as_sealed(values):
            raise _no_receipt(path, "changed since it was written, as facts_sha256 shows")
        return receipt
    except FileNotFoundError as error:
        raise ResumeError(f"{folder}: no {RECEIPT}, so no finished run; pass RUN=outputs/DATE/TIME") from error
    except ValidationError as error:
        raise _no_receipt(path, _problems(error)) from error
    except (OSError, ValueError, TypeError) as error:
        raise _no_receipt(path, f"{type(error).__name__}: {error}") from error


def _no_receipt(path: Path, why: str) -> ResumeError:
    return ResumeError(f"{path}: no whole receipt ({why}); copy the whole file again, or train anew: make train")


def check_beside(file: Path, sha256: str) -> None:
    """Raise ModelError if a run's receipt lies beside a weight file of this SHA-256 and names another.

    Where there is none, or it does not know the file, nothing is known; one that is damaged is named.
    """
    if not (file.parent / RECEIPT).exists():
        return
    try:
        receipt = read_receipt(file.parent)
    except ResumeError as error:
        log.warning("%s; %s is used without it", error, file.name)
        return
    if file.name in receipt.weights_sha256:
        receipt.check_weights(file, sha256)


def newest_finished() -> Path:
    """The finished run under outputs/ that ended last. Raises ResumeError if there is none."""
    finished = [path.parent for path in OUTPUTS.glob(f"**/{RECEIPT}")]
    if not finished:
        raise ResumeError(f"no finished run under {OUTPUTS}/; train one first: make train")
    return max(finished, key=lambda folder: read_receipt(folder).end)


def compare_facts(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Describe each value that differs between two flat dictionaries."""
    return [
        f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def _problems(error: ValidationError, prefix: str = "") -> str:
    return "; ".join(f"{prefix}{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
