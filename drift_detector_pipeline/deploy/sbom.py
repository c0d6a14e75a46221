"""What the lock pins, as a software bill of materials: `python -m drift_detector_pipeline.deploy.sbom FILE`.

In: requirements.txt, which the image is made of as well. Out: CycloneDX 1.6 as JSON, a component a pin with its hashes;
the same lock and packages give the same bytes. Licences are what the packages that are installed here say.
"""

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import write_json

LOCK = Path(__file__).resolve().parents[2] / "requirements.txt"
_PIN = re.compile(
    r"^([a-z0-9][\w.-]*)(?:\[[^]]+\])?==([^ ;\\]+)(?: ; ([^\\\n]+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.M
)


@exit_status
def main() -> int:
    """Write the bill of the lock to the file that is named."""
    if len(sys.argv) != 2:
        raise ConfigError("name one file: make sbom ARGS=reports/sbom.json")
    path = Path(sys.argv[1])
    try:
        bill = bill_of(LOCK.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{LOCK}: {error.strerror}; the lock lies beside pyproject.toml: make lock") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, bill)
    print(f"{path}: {len(bill['components'])} components")
    return 0


def bill_of(lock: str) -> dict[str, Any]:
    """The bill of a lock's text. Raises DataError if it pins nothing."""
    components = [_component(*found.groups()) for found in _PIN.finditer(lock)]
    if not components:
        raise DataError(f"{LOCK}: pins nothing with a hash; make it again: make lock")
    name = "drift_detector_pipeline"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(components))}",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": name, "version": metadata.version(name)}},
        "components": components,
    }


def _component(name: str, version: str, marker: str | None, hashes: str) -> dict[str, Any]:
    """One pin; each of its hashes is of a file that pip may choose, so they stand as its distributions."""
    reference = f"pkg:pypi/{name}@{version}"
    files = re.findall(r"sha256:([0-9a-f]{64})", hashes)
    references = [
        {"type": "distribution", "url": reference, "hashes": [{"alg": "SHA-256", "content": one}]} for one in files
    ]
    component: dict[str, Any] = {
        "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference,
        "externalReferences": references,
    }  # fmt: skip
    if licence := _licence(name, version):
        component["licenses"] = [{"license": {"name": licence}}]
    if marker:
        component["properties"] = [{"name": "environment-marker", "value": marker.strip()}]
    return component


def _licence(name: str, version: str) -> str | None:
    """What the installed package says of its licence, if it is the pinned version."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    said = [*(about.get_all("License-Expression") or []), *(about.get_all("License") or [])]
    lines = [line.strip() for text in said for line in text.splitlines() if line.strip()]
    return lines[0] if lines and about["Version"] == version else None


if __name__ == "__main__":
    sys.exit(main())
