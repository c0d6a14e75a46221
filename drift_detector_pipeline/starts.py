"""Is there what a training starts from? Asked before data is processed and before PyTorch is imported.

In: settings. Out: nothing, or an error. Read by dataset.py, which `make train` asks first.
"""

from pathlib import Path

from drift_detector_pipeline.errors import ModelError, ResumeError
from drift_detector_pipeline.files import is_there
from drift_detector_pipeline.settings import Settings

_WEIGHTS = "expected safetensors, or a .pth state dict"
_FINAL = "final_model.safetensors"


def check_starts(settings: Settings) -> None:
    """Raise ModelError if no weights are where they are said to be, ResumeError if a run to go on with is not there."""
    model, resume = settings.model, settings.run.resume
    if model.pretrained_path is not None and not model.pretrained_path.is_file():
        raise ModelError(f"model.pretrained_path={model.pretrained_path}: no such file; {_WEIGHTS}")
    if (run := model.backbone_run) is not None and not run.is_file() and not is_there(run / _FINAL):
        raise ModelError(f"model.backbone_run={run}: no finished run's folder and no weight file; {_WEIGHTS}")
    if resume is not None and resume != "auto" and not is_there(Path(resume)):
        raise ResumeError(f"run.resume={resume}: no checkpoint there to go on from; start anew: make train")
