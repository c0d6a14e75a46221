"""Hydra's composed configuration as typed, checked settings.

In: conf/*.yaml and overrides such as `training.epochs=5`. Out: a frozen `Settings`, or a `ConfigError` that
names the key, the nearest valid one and the file. Every command of the package starts here.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drift_detector_pipeline.errors import ConfigError

CONF = Path(__file__).resolve().parents[1] / "conf"

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
FilePath = Annotated[Path, Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Augmentation(_Section):
    """How a stored image becomes a training image; see `transforms.augment`."""

    min_area: Annotated[float, Field(gt=0, le=1)]  # smallest share of the image a random resized crop keeps; 1: off
    shift_px: Annotated[int, Field(ge=0)]  # largest shift in each direction, at the training size; 0: off
    flip: bool  # mirror left and right, half of the time


class Data(_Section):
    """Where images come from and how they are stored."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    raw_path: FilePath | None  # archive or folder; null only for the embedded digits
    source_url: str | None  # public address of the archive
    processed_path: FilePath
    stored_side_px: Annotated[int, Field(ge=8, le=2048)]  # shorter side of packed images
    img_size: Annotated[int, Field(ge=8, le=2048)]  # side of the model input
    dataloader_workers: Annotated[int, Field(ge=0, le=256)]
    val_fraction: Fraction
    fit_fraction: Fraction
    max_bad_images: Annotated[int, Field(ge=0)]
    augmentation: Augmentation

    @model_validator(mode="after")
    def _has_a_source(self) -> "Data":
        if self.raw_path is None and self.name != "digits":
            raise ValueError("data.raw_path may be null only for the embedded digits; pass data.raw_path=PATH")
        return self


class Model(_Section):
    """Which network, and what it starts from."""

    name: str
    pretrained: bool
    pretrained_path: FilePath | None
    num_classes: Annotated[int, Field(ge=2)] | None
    frozen_stages: Annotated[int, Field(ge=0)]
    options: dict[str, Any]


class Training(_Section):
    """How it learns. All of it decides the bits of the weights."""

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    optimizer: str
    optimizer_options: dict[str, Any]
    scheduler: Literal["CosineAnnealingLR", "StepLR", "OneCycleLR", "none"]
    warmup_fraction: Fraction
    label_smoothing: Fraction
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    early_stopping_patience: Positive | None
    sizes_px: list[Annotated[int, Field(ge=8, le=2048)]] | None

    @model_validator(mode="after")
    def _one_size_per_epoch(self) -> "Training":
        if self.sizes_px is not None and len(self.sizes_px) != self.epochs:
            raise ValueError(
                f"training.sizes_px has {len(self.sizes_px)} sizes, training.epochs={self.epochs}; one each"
            )
        return self


class Run(_Section):
    """Where and how a run happens."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    precision: Literal["auto", "fp32", "bf16"]
    threads: Positive | Literal["auto"]
    resume: str | None
    checkpoint_every: Positive


class Settings(_Section):
    """All settings of a command, checked."""

    data: Data
    model: Model
    training: Training
    run: Run


class Composed(NamedTuple):
    """A command's settings and where they came from."""

    settings: Settings
    overrides: list[str]  # as given on the command line
    config_yaml: str  # the composed configuration, for people
    run_folder: Path  # where Hydra would put a new run
    run_folder_chosen: bool  # hydra.run.dir was given on the command line


def load(overrides: Sequence[str]) -> Composed:
    """Compose and check the configuration.

    Raises ConfigError before anything else happens if a key, group choice, type or value is wrong.
    """
    parsed = _parse(overrides)
    for override in parsed:
        _check_name(override)
    composed = _compose(overrides)
    values = {name: value for name, value in _plain(composed).items() if name != "hydra"}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, overrides, composed)) from error
    return Composed(
        settings,
        list(overrides),
        OmegaConf.to_yaml(OmegaConf.create(values)),
        Path(composed.hydra.run.dir),
        any(override.key_or_group == "hydra.run.dir" for override in parsed),
    )


def valid_keys(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """All dotted keys of the schema, such as `training.epochs`."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from valid_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def group_choices() -> dict[str, list[str]]:
    """The configuration groups, each with the names of its files."""
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml") if not file.stem.startswith("_"))
        for folder in sorted(CONF.iterdir())
        if folder.is_dir()
    }


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(
            f"cannot read the overrides {' '.join(overrides)!r}; expected words such as training.epochs=5 ({error})"
        ) from error


def _check_name(override: Override) -> None:
    """Refuse a key or a group choice that does not exist, naming the nearest that does."""
    key, groups = override.key_or_group, group_choices()
    if key in groups:
        if override.value() not in groups[key]:
            choices = _nearest_first(str(override.value()), groups[key])
            raise ConfigError(f"{key}={override.value()}: no such file in conf/{key}/; choose from {choices}")
        if key == "experiment" and not override.is_add():
            raise ConfigError(f"experiments are added with a plus: +experiment={override.value()}")
        return
    if key.split(".")[0] == "hydra" or _is_valid_key(key):
        return
    section = key.split(".")[0]
    here = [name for name in valid_keys() if name.startswith(f"{section}.")] or [*groups, "hydra.run.dir"]
    where = f"conf/{section}/" if section in groups else "conf/config.yaml"
    raise ConfigError(f"{key}: no such key in {where}; valid keys, the nearest first: {_nearest_first(key, here)}")


def _is_valid_key(key: str) -> bool:
    free_form = ("model.options.", "training.optimizer_options.")
    return key in set(valid_keys()) or key.startswith(free_form) or key == "data.augmentation"


def _compose(overrides: Sequence[str]) -> DictConfig:
    free_form = ("model.options.", "training.optimizer_options.")
    added = [f"++{text}" if text.startswith(free_form) else text for text in overrides]
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", added, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"cannot compose conf/config.yaml: {str(error).strip()}") from error


def _plain(composed: DictConfig) -> dict[str, Any]:
    """Nested dictionaries with interpolations resolved; hydra's own part stays unresolved."""
    plain: dict[str, Any] = {}
    for name in map(str, composed):
        try:
            plain[name] = OmegaConf.to_container(composed[name], resolve=name != "hydra")
        except (OmegaConfBaseException, ValueError) as error:
            raise ConfigError(f"conf/{name}: {str(error).strip()}") from error
    return plain


def _explain(error: ValidationError, overrides: Sequence[str], composed: DictConfig) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(_known_part(problem["loc"]))
        if problem["type"] == "extra_forbidden":
            section = key.rsplit(".", 1)[0]
            here = [name for name in valid_keys() if name.startswith(f"{section}.")]
            text = f"{key}: no such key; valid keys, the nearest first: {_nearest_first(key, here)}"
        elif problem["type"] == "missing" or problem.get("input") == "???":
            text = f"{key}: a value is needed; pass {key}=VALUE"
        else:
            text = f"{key}: {problem['msg'].removeprefix('Value error, ')}, got {problem['input']!r}"
            if problem["type"] == "value_error":
                text = problem["msg"].removeprefix("Value error, ")
        line = f"{text} ({_origin(key, overrides, composed)})"
        if line not in lines:
            lines.append(line)
    return "\n       ".join(lines)


def _known_part(location: tuple[int | str, ...]) -> list[str]:
    """The dotted key of a problem, without the names pydantic adds for the branches of a union."""
    parts: list[str] = []
    for part in location:
        if ".".join(parts) in set(valid_keys()):
            break
        parts.append(str(part))
    return parts


def _origin(key: str, overrides: Sequence[str], composed: DictConfig) -> str:
    """The place a value came from: the command line or a file below conf/."""
    if any(text.lstrip("+~").startswith(f"{key}=") for text in overrides):
        return "given on the command line"
    choices, section = composed.hydra.runtime.choices, key.split(".")[0]
    files = [f"{group}/{choices[group]}.yaml" for group in ("experiment", section) if choices.get(group)]
    name = key.rsplit(".", 1)[-1]
    naming = [file for file in files if f"{name}:" in (CONF / file).read_text(encoding="utf-8")]
    return "in conf/" + (naming or files or ["config.yaml"])[0]


def _nearest_first(word: str, candidates: Sequence[str]) -> str:
    return ", ".join(difflib.get_close_matches(word, candidates, n=max(1, len(candidates)), cutoff=0.0))
