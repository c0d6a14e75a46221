"""What is inside, as a software bill of materials: `python -m drift_detector_pipeline.deploy.sbom FILE|installed`.

In: requirements.txt, which images are made of as well; or the packages of Python and Debian that are installed here,
as in an image. Out: CycloneDX 1.6 as JSON, in the file that is named, or of what is installed on stdout; a component a
pin with its hashes, or a package. The same packages give the same bytes. Licences are what installed packages say.
"""

import json
import re
import sys
import uuid
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Any

from drift_detector_pipeline.console import tell
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import write_json

LOCK = Path(__file__).resolve().parents[2] / "requirements.txt"
DEBIAN = Path("/var/lib/dpkg/status")
_PIN = re.compile(
    r"^([a-z0-9][\w.-]*)(?:\[[^]]+\])?==([^ ;\\]+)(?: ; ([^\\\n]+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.M
)


@exit_status
def main() -> int:
    """Write the bill of the lock to the file that is named, or print that of what is installed."""
    if len(sys.argv) != 2:
        raise ConfigError("name one file: make sbom ARGS=reports/sbom.json")
    if sys.argv[1] == "installed":
        print(json.dumps(bill_of_installed(), indent=2))
        return 0
    path = Path(sys.argv[1])
    try:
        bill = bill_of(LOCK.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{LOCK}: {error.strerror}; the lock lies beside pyproject.toml: make lock") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, bill)
    tell(f"{path}: {len(bill['components'])} components")
    return 0


def bill_of(lock: str) -> dict[str, Any]:
    """The bill of a lock's text. Raises DataError if it pins nothing."""
    components = [_component(*found.groups()) for found in _PIN.finditer(lock)]
    if not components:
        raise DataError(f"{LOCK}: pins nothing with a hash; make it again: make lock")
    return _bill(components)


def bill_of_installed(debian: Path = DEBIAN) -> dict[str, Any]:
    """The bill of all Python packages of this environment, and of Debian's if `debian`, its list of them, is there."""
    python = {(found.metadata["Name"].lower(), found.version) for found in metadata.distributions()}
    packages = [("pypi", name, version, _licence(name, version)) for name, version in sorted(python)]
    if debian.exists():
        packages += [("deb/debian", *found, None) for found in _of_debian(debian.read_text(encoding="utf-8"))]
    return _bill([_installed(*package) for package in packages])


def _of_debian(status: str) -> Iterator[tuple[str, str]]:
    """Names and versions of what dpkg has installed, from its file of paragraphs."""
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields["Status"] == "install ok installed":
            yield fields["Package"], fields["Version"]


def _installed(kind: str, name: str, version: str, licence: str | None) -> dict[str, Any]:
    reference = f"pkg:{kind}/{name}@{version}"
    licences = {"licenses": [{"license": {"name": licence}}]} if licence else {}
    return {"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference} | licences


def _bill(components: list[dict[str, Any]]) -> dict[str, Any]:
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
