"""Run folders: which one a command continues, and what identifies a run.

    outputs/<date>/<time>/   .hydra/ train.log metrics.jsonl tensorboard/ checkpoints/ *_model.safetensors run.json

Read by modeling/session.py; the receipt is for everybody.
"""

import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from drift_detector_pipeline.config import Composed
from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.files import disk_full_explained, held_alone, is_utf8, make_folder, write_atomically
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.runs.checkpoints import NAMES, load_checkpoint, read_identity
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.runs.machine import Machine
from drift_detector_pipeline.runs.receipts import OUTPUTS, compare_facts
from drift_detector_pipeline.settings import Data, Settings
from drift_detector_pipeline.starts import no_run

_LOCK = ".training.lock"


def identify(settings: Settings, data: Processed, machine: Machine, pretrained_sha256: str | None) -> dict[str, object]:
    """Everything that decides the bits of the weights, as flat JSON: equal identities may continue each other.

    What has a default in settings.py came later than the first runs; at its default it leaves no trace here, so that
    those go on and are compared as ever.
    """
    sections = {
        "data": _deciding_data(settings.data),
        "model": settings.model.model_dump(mode="json", exclude_defaults=True),
        "training": settings.training.model_dump(mode="json", exclude={"profiler"}, exclude_defaults=True),
    }
    return _flat(sections) | {
        "data.fingerprint": data.fingerprint,
        "model.pretrained_sha256": pretrained_sha256,
        "run.seed": settings.run.seed,
        "run.device": machine.device.type,
        "run.precision": machine.precision,
        "run.threads": machine.threads,
        "processes": machine.processes,
        **({"run.bits": settings.run.bits} if settings.run.bits != "default" else {}),
    }


@contextmanager
def run_folder(composed: Composed, identity: dict[str, object]) -> Iterator[tuple[Path, bool]]:
    """Give the run's folder and whether a run is continued there, as `run.resume` says; no other process trains there.

    A new run's folder holds the composed configuration in .hydra/, as Hydra's own runs have it. If nobody named it and
    it is there already, it is another one. Raises ResumeError if the run is finished, not there, was another one, has
    another folder or goes on in another process, or if a named folder holds a run. A new folder in which an error comes
    before the first checkpoint is removed.
    """
    folder, resumed = _choose(composed, identity)
    if not is_utf8(str(folder.absolute())):
        raise ResumeError(f"{folder}: weights are read only where all names are UTF-8; choose another hydra.run.dir")
    new = not folder.exists()
    if resumed or composed.run_folder_chosen:
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder, new = make_folder(folder), True
    with _nothing_half(folder, new, composed.run_folder_chosen), held_alone(folder / _LOCK) as alone:
        if not alone:
            raise ResumeError(f"{folder}: another process trains there; wait for it, or choose another hydra.run.dir")
        if resumed:
            _refuse_finished(folder)  # it may have ended since it was chosen
        else:
            _refuse_used_folder(folder)
            _write_composed(folder, composed)
        yield folder, resumed


def remove_made(folder: Path) -> None:
    """Remove a folder <date>/<time> that came to nothing, and the date's if nothing else is there."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


@contextmanager
def _nothing_half(folder: Path, new: bool, chosen: bool) -> Iterator[None]:
    try:
        with disk_full_explained(folder):  # TensorBoard does not tell where it wrote
            yield
    except BaseException:
        if new and not any((folder / "checkpoints" / name).exists() for name in NAMES):
            shutil.rmtree(folder, ignore_errors=True) if chosen else remove_made(folder)
        raise


def _choose(composed: Composed, identity: dict[str, object]) -> tuple[Path, bool]:
    wanted = composed.settings.run.resume
    if wanted is None:
        if composed.run_folder_chosen:
            _refuse_used_folder(composed.run_folder)
        return composed.run_folder, False
    if wanted == "auto":
        found = _newest_unfinished(identity)
        return (found, True) if found else (composed.run_folder, False)
    folder = Path(wanted)
    if not folder.is_dir():
        raise no_run(folder)
    if composed.run_folder_chosen and composed.run_folder.resolve() != folder.resolve():
        raise ResumeError(f"a run continues in its own folder {folder}: leave out hydra.run.dir={composed.run_folder}")
    _refuse_finished(folder)
    before = read_identity(folder / "checkpoints")
    if before is None:
        state = "no readable checkpoint" if (folder / "checkpoints").exists() else "no checkpoint"
        raise ResumeError(f"run.resume={folder}: {state} there to go on from; start anew: make train")
    if differences := compare_facts(before, identity):
        raise ResumeError(
            f"run.resume={folder}: the run had different settings that decide its weights: {', '.join(differences)}. "
            "Give the same ones, or start a new run without run.resume"
        )
    return folder, True


def _write_composed(folder: Path, composed: Composed) -> None:
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True, exist_ok=True)
    write_atomically(hydra / "config.yaml", composed.config_yaml.encode("utf-8", "backslashreplace"))
    overrides = "".join(f"- {text}\n" for text in composed.overrides) or "[]\n"
    write_atomically(hydra / "overrides.yaml", overrides.encode("utf-8", "backslashreplace"))


def _deciding_data(data: Data) -> dict[str, object]:
    """What of `data` decides the bits of the weights; `cutout_px` has been noted from its first day."""
    later: dict[str, Any] = data.model_dump(
        mode="json", include={"img_size", "augmentation", "balance", "limit", "k_frames"}, exclude_defaults=True
    )
    return later | {"augmentation": later["augmentation"] | {"cutout_px": data.augmentation.cutout_px}}


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _refuse_finished(folder: Path) -> None:
    if (folder / RECEIPT).exists():
        raise ResumeError(f"run.resume={folder}: this run is finished; nothing is left to do (see {folder / RECEIPT})")


def _refuse_used_folder(folder: Path) -> None:
    """Refuse to start over a run, with advice that leads on; one that was gone before its first checkpoint is none."""
    if (folder / RECEIPT).exists():
        raise ResumeError(f"{folder}: holds a run already, a finished one. Choose another hydra.run.dir")
    if not any((folder / "checkpoints" / name).exists() for name in NAMES):
        return
    try:
        load_checkpoint(folder / "checkpoints")
    except ResumeError as error:
        raise ResumeError(
            f"{folder}: holds a run already, and none of its checkpoints is whole. Choose another hydra.run.dir, or "
            f"remove this one: rm -r {shlex.quote(str(folder))}"
        ) from error
    raise ResumeError(
        f"{folder}: holds a run already. Continue it with run.resume={folder}, or choose another hydra.run.dir"
    )


def _newest_unfinished(identity: dict[str, object]) -> Path | None:
    checkpoints = sorted(OUTPUTS.glob("**/checkpoints"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in checkpoints:
        if not (folder.parent / RECEIPT).exists() and read_identity(folder) == identity:
            return folder.parent
    return None
