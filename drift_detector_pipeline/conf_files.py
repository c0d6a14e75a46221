"""The files below conf/ as they stand, which people edit: composed, or one of them read.

In: the folder and words. Out: Hydra's configuration, or a `ConfigError` that names the file which cannot be read and
what stands there. Read by config.py, and by whoever has a file there that is in no group.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from drift_detector_pipeline.errors import ConfigError

# What YAML, Hydra or OmegaConf raise at a file that is not as they want it.
_UNREADABLE = (OSError, ValueError, TypeError, AssertionError, RecursionError, yaml.YAMLError, OmegaConfBaseException)


def composed(conf: Path, words: Sequence[str]) -> DictConfig:
    """config.yaml with all that it names, changed by `words`. Raises ConfigError where that cannot be composed."""
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            return compose("config", list(words), return_hydra_config=True)
    except HydraException as error:
        said = str(error).strip()
        if said.startswith("Could not override "):  # also where there is no such list
            said = f"{said.splitlines()[0]} The list `defaults` in that file has every group; git has it as it was"
        raise ConfigError(f"cannot compose conf/config.yaml: {said}" if said else _which(conf, error)) from error
    except _UNREADABLE as error:
        raise ConfigError(_which(conf, error)) from error


def conf_file(conf: Path, name: str) -> Any:
    """What one file says, as OmegaConf has it: `model/default.yaml`. Raises ConfigError if it is no mapping of keys."""
    try:
        found = OmegaConf.load(conf / name)
    except _UNREADABLE as error:
        if not conf.is_dir():
            raise ConfigError(
                f"{conf}: no settings there; they lie in a clone, beside the package: pip install -e . in it"
            ) from error
        raise ConfigError(f"cannot read conf/{name}: {_reason(error)}") from error
    if not isinstance(found, DictConfig):
        raise ConfigError(f"cannot read conf/{name}: expected lines such as `key: value`")
    return found


def with_defaults(conf: Path, file: str) -> list[str]:
    """A file of a group, and those that it takes its other values from: `model/mlp.yaml`, `model/default.yaml`."""
    group = file.partition("/")[0]
    named = [f"{group}/{name}.yaml" for name in conf_file(conf, file).get("defaults") or ()]
    return [file, *(one for name in named if (conf / name).is_file() for one in with_defaults(conf, name))]


def groups_in(conf: Path) -> dict[str, list[str]]:
    """The configuration groups, each with the names of its files."""
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml") if not file.stem.startswith("_"))
        for folder in sorted(conf.iterdir())
        if folder.is_dir()
    }


def _which(conf: Path, error: BaseException) -> str:
    """The first file that cannot be read; where each can, what was said."""
    for file in sorted(conf.rglob("*.yaml")):
        try:
            conf_file(conf, file.relative_to(conf).as_posix())
        except ConfigError as named:
            return str(named)
    return f"cannot compose conf/: {_reason(error)}; no file there may name itself, and `defaults` is a list"


def _reason(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return f"line {line} is no UTF-8 (byte {error.object[error.start]:#x}); save the file as UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip() or type(error).__name__
