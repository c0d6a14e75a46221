"""Is there what a training starts from? Asked before data is processed and before PyTorch is imported.

In: settings. Out: nothing, or an error. Read by dataset.py, which `make train` asks first; what is said of weights of
others is the same when networks/pretrained.py reads them.
"""

from pathlib import Path

from drift_detector_pipeline.errors import ModelError, ResumeError
from drift_detector_pipeline.files import is_there
from drift_detector_pipeline.first_bytes import first_bytes, what_unpacked
from drift_detector_pipeline.settings import Settings

FROM_OTHERS, FROM_A_RUN = "model.pretrained_path", "model.backbone_run"  # the settings that name weights
_WEIGHTS = "expected safetensors, or a .pth state dict"
_FINAL = "final_model.safetensors"


def check_starts(settings: Settings) -> None:
    """Raise ModelError if no weights are where they are said to be, ResumeError if a run to go on with is not there."""
    model, resume = settings.model, settings.run.resume
    if model.pretrained_path is not None:
        _check_weights(FROM_OTHERS, model.pretrained_path)
    if (run := model.backbone_run) is not None:
        if not run.is_file() and not is_there(run / _FINAL):
            raise ModelError(f"{FROM_A_RUN}={run}: no finished run's folder and no weight file; {_WEIGHTS}")
        _check_weights(FROM_A_RUN, weight_file(run))
    if resume is not None and resume != "auto" and not is_there(Path(resume)):
        raise no_run(resume)


def no_run(resume: str | Path) -> ResumeError:
    """The error for a run to go on with that is not there; true and on are taken for folders, too."""
    ways = "name a run's, run.resume=outputs/DATE/TIME, let run.resume=auto find it, or start anew: make train"
    return ResumeError(f"run.resume={resume}: no such folder; {ways}")


def weight_file(run: Path) -> Path:
    """The final weights of a run, if `run` is a run's folder; else `run`, a weight file itself."""
    return run / _FINAL if run.is_dir() else run


def missing_weights(key: str, path: Path) -> ModelError:
    """The error for a weight file that is not there; `key` is the setting that names it."""
    return ModelError(f"{key}={path}: no such file; {_WEIGHTS}")


def no_weights(key: str, path: Path, why: str) -> ModelError:
    """The error for a file that is something else than weights."""
    return ModelError(
        f"{key}={path}: no safetensors or .pth file with nothing but weights; pickled code is never run ({why})"
    )


def _check_weights(key: str, path: Path) -> None:
    if not path.is_file():
        raise missing_weights(key, path)
    if foreign := what_unpacked(first_bytes(path)):
        raise no_weights(key, path, foreign)
