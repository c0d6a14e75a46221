"""Which model the environment asks for, by the names that services of this kind have elsewhere, and what fits it.

In: MODEL_CHECKPOINT, MODEL_NAME, export.path, and settings that are about some models only. Out: the folder of an
exported model, or a sentence. Read by __main__.py.
"""

import difflib
from pathlib import Path

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.release.artefact import MANIFEST, artefacts_in
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.settings_in_use import Serving

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


def check_no_slip(folder: Path, place: Path) -> None:
    """Raise DataError if no artefact is in `folder`, which was typed, but others are beside it or in `place`."""
    others = {str(other) for near in (folder.parent, place) for other in artefacts_in(near)}
    if not (folder / MANIFEST).exists() and others:
        nearest = difflib.get_close_matches(str(folder), sorted(others), n=3, cutoff=0.0)
        raise DataError(
            f"{folder}: no exported model in it; did you mean {' or '.join(nearest)}? To export one there: make export "
            f"{for_make([f'export.path={folder}'])}"
        )


def check_name(name: str, engine: Engine) -> None:
    """Raise ConfigError if MODEL_NAME is another model's; "": any will do."""
    if name and name not in (engine.artefact.name, engine.version):
        raise ConfigError(
            f"MODEL_NAME={name}: the model that would answer is {engine.artefact.name}, version {engine.version}; name "
            "that one, or another MODEL_CHECKPOINT"
        )


def check_useful(settings: Serving, engine: Engine) -> None:
    """Raise ConfigError if frames or a threshold were asked for of a model whose answers they could not change."""
    name, classes = engine.artefact.name, engine.artefact.classes
    if settings.k_frames is not None and not engine.looks_at_clips:
        raise ConfigError(
            f"serving.k_frames={settings.k_frames} (or K_FRAMES): how many frames of a clip are looked at, and {name} "
            "looks at images; leave it out"
        )
    if settings.threshold is None or engine.finds_boxes or (engine.looks_at_clips and len(classes) == 2):
        return
    what = "clips" if engine.looks_at_clips else "images"
    raise ConfigError(
        f"serving.threshold={settings.threshold:g} (or THRESHOLD): of two classes of clips, or of boxes in a "
        f"video, and {name} tells {len(classes)} classes of {what}; leave it out"
    )
