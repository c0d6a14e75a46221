"""Which settings the commands take that import PyTorch: a word that is none of them is refused before those seconds.

In: the words of a command. Out: nothing, or a ConfigError. Read by the commands themselves and by cli.py, so both say
the same sentence.
"""

from collections.abc import Sequence
from typing import NamedTuple

from drift_detector_pipeline.commands import refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.settings import Drift, Settings, Watch, valid_keys
from drift_detector_pipeline.settings_in_use import Export, Heal, Retrain

_RECEIPT = "all else comes from the run's receipt"
_REFERENCE = "all else comes from the drift reference"
_WEIGHTS = "all else comes from the weight file"
OF_THE_MACHINE = ("run.device", "run.precision", "run.threads")


class Takes(NamedTuple):
    """The arguments of `refuse_others` behind the words."""

    keys: tuple[str, ...]
    command: str  # as people type it
    why: str = ""


DRIFT = Takes(("run.device", "run.threads", *valid_keys(Drift, "drift.")), "make drift", _REFERENCE)
WATCH = Takes(("run.device", "run.threads", *valid_keys(Watch, "watch.")), "make watch", _REFERENCE)
DRIFT_REFERENCE = Takes(("run.device", "run.threads"), "make drift_reference", _RECEIPT)
DRIFT_DEMO = Takes(("run.device", "run.threads"), "make drift_demo", _RECEIPT)
EVALUATE = Takes(
    (*OF_THE_MACHINE, "data.processed_path", "data.dataloader_workers", "predict.threshold"), "make evaluate", _RECEIPT
)
PREDICT = Takes((*OF_THE_MACHINE, "predict.threshold", "predict.tile_px", "predict.pictures"), "make predict", _WEIGHTS)
VIDEO = Takes(
    (*OF_THE_MACHINE, "predict.threshold", "predict.tile_px", "predict.codec"), "make predict VIDEO=", _WEIGHTS
)
REPRODUCE = Takes((), "make reproduce", "a run is repeated exactly as its receipt says")
CORRUPTIONS = Takes((), "make corruptions", "all of it comes from the run's receipt")  # if a run is named
EXPORT = Takes(tuple(valid_keys(Export, "export.")), "make export", _RECEIPT)
HEAL = Takes(
    ("alarm", "cause", "severity", "serving.database", "serving.keep_images", *valid_keys(Heal, "heal.")), "make heal"
)
RETRAIN = Takes(
    ("cause", "severity", *valid_keys(Retrain, "retrain.")), "make retrain", "all else comes from the champion's run"
)
OF_COMMAND = {  # those that cli.py asks for, by their names there
    "drift": DRIFT, "watch": WATCH, "drift-reference": DRIFT_REFERENCE, "drift-demo": DRIFT_DEMO, "export": EXPORT,
    "reproduce": REPRODUCE, "corruptions": CORRUPTIONS, "heal": HEAL, "retrain": RETRAIN,
}  # fmt: skip


def check_settings(overrides: Sequence[str], takes: Takes) -> None:
    """Raise ConfigError if a word sets what a command does not take, or a value that is not allowed."""
    refuse_others(overrides, *takes)
    for name in sorted({key.partition(".")[0] for key in takes.keys} & Settings.model_fields.keys()):
        if words := [word for word in overrides if word.startswith(f"{name}.")]:
            section = Settings.model_fields[name].annotation
            assert isinstance(section, type)
            load_section(section, words)
