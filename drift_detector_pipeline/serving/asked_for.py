"""Which model the environment asks for, by the names that services of this kind have elsewhere.

In: MODEL_CHECKPOINT and MODEL_NAME. Out: the folder of an exported model, or a sentence. Read by __main__.py.
"""

from pathlib import Path

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.release.artefact import MANIFEST
from drift_detector_pipeline.serving.engine import Engine

_OF_RUNS = (".safetensors", ".pt", ".pth", ".ckpt")


def checkpoint_of(value: str) -> Path:
    """The folder of MODEL_CHECKPOINT, which names it or a file in it. Raises ConfigError if it is no exported model."""
    path = Path(value)
    folder = path.parent if path.is_file() else path
    if (folder / MANIFEST).is_file():
        return folder
    if path.suffix in _OF_RUNS or (folder / "run.json").is_file():
        run = path.parent if path.suffix in _OF_RUNS else folder
        raise ConfigError(
            f"MODEL_CHECKPOINT={value}: weights of a training; a service has no PyTorch and answers from an exported "
            f"folder: make export RUN={run}, then MODEL_CHECKPOINT=models/artefact"
        )
    raise ConfigError(f"MODEL_CHECKPOINT={value}: no exported model; make export writes models/artefact, name that")


def check_name(name: str, engine: Engine) -> None:
    """Raise ConfigError if MODEL_NAME is another model's; "": any will do."""
    if name and name not in (engine.artefact.name, engine.version):
        raise ConfigError(
            f"MODEL_NAME={name}: the model that would answer is {engine.artefact.name}, version {engine.version}; name "
            "that one, or another MODEL_CHECKPOINT"
        )
