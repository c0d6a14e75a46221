"""Where an artefact comes from: the run whose weights it holds, and the images that run was trained on.

In: a version, an artefact's folder, or nothing. Out: the artefact; a run's folder; its processed data. Read by the
gate, healing and retraining. Needs no PyTorch, so a receipt is read here as plain JSON.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.processed.manifest import Processed, open_processed
from drift_detector_pipeline.release.artefact import MANIFEST, MODELS, Artefact, newest_artefact
from drift_detector_pipeline.release.chronicle import champion
from drift_detector_pipeline.release.registry import champion_folder, open_version
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.settings import Data

_OUTPUTS = Path("outputs")


def named_artefact(named: Path | None, place: Path = MODELS) -> Path:
    """The folder of a version or of an artefact that is named; of None the champion's, else the one exported last.

    Raises DataError if there is none.
    """
    if named is None:
        standing = champion(place)
        return champion_folder(standing, place) if standing else newest_artefact(place)
    return named if (named / MANIFEST).is_file() else open_version(str(named), place).folder


def run_of(artefact: Artefact) -> Path:
    """The folder of the finished run an artefact was exported from, or healed from: as it says, else of that receipt.

    Raises DataError if it is not here.
    """
    named = artefact.facts.get("run")
    near = [Path(named) / RECEIPT] if isinstance(named, str) else []
    for receipt in [*near, *sorted(_OUTPUTS.glob(f"**/{RECEIPT}"))]:
        if receipt.is_file() and file_hash(receipt) == artefact.receipt_sha256:
            return receipt.parent
    raise DataError(
        f"{artefact.folder}: its run is not here ({named or 'unnamed'}, run.json of SHA-256 "
        f"{artefact.receipt_sha256[:12]}); copy the run's folder below {_OUTPUTS}/"
    )


def data_of(artefact: Artefact) -> Processed:
    """The processed data of an artefact's run, every byte checked.

    Raises DataError if run or data are not here or the data is another.
    """
    run = run_of(artefact)
    try:
        values: dict[str, Any] = read_json(run / RECEIPT)
        data = Data.model_validate(values["settings"]["data"], strict=False)
    except (OSError, ValueError, LookupError, TypeError, ValidationError) as error:
        raise DataError(f"{run / RECEIPT}: no whole receipt ({type(error).__name__}); export another run") from error
    words = [word for word in values.get("overrides", []) if word.startswith(("data", "+experiment="))]
    processed = open_processed(data, f"run: make process_data {for_make(words)}")
    if processed.fingerprint != artefact.facts.get("data_fingerprint"):
        raise DataError(f"{processed.folder}: not the data that {run} was trained on; make process_data with its words")
    return processed
