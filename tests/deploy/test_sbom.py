"""The bill of materials names every pin of the lock with all its hashes, in the shape that CycloneDX gives it."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT

from drift_detector_pipeline.deploy.sbom import bill_of, bill_of_installed
from drift_detector_pipeline.errors import DataError

LOCK = (ROOT / "requirements.txt").read_text()


def test_every_pin_and_every_hash_of_the_lock_is_in_the_bill() -> None:
    bill = bill_of(LOCK)
    found = {(one["name"], one["version"]) for one in bill["components"]}
    assert found == set(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==([^ ;\\]+)", LOCK, re.MULTILINE))
    hashes = [part["hashes"][0]["content"] for one in bill["components"] for part in one["externalReferences"]]
    assert hashes == re.findall(r"sha256:([0-9a-f]{64})", LOCK)
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(references) == len(set(references))


def test_the_bill_says_what_it_is_and_is_the_same_again() -> None:
    bill = bill_of(LOCK)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    assert json.dumps(bill) == json.dumps(bill_of(LOCK))
    assert "/simple" not in json.dumps(bill)


def test_licences_and_markers_are_told() -> None:
    components = {one["purl"]: one for one in bill_of(LOCK)["components"]}
    assert any("BSD" in str(one.get("licenses")) or "MIT" in str(one.get("licenses")) for one in components.values())
    [marked] = [one for one in components.values() if one["name"] == "numpy" and one["version"].startswith("2.4")]
    assert marked["properties"] == [{"name": "environment-marker", "value": "python_full_version < '3.12'"}]


def test_a_lock_that_pins_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="pins nothing"):
        bill_of("numpy>=2\n")


def test_what_is_installed_is_listed_debian_included_and_what_was_removed_is_not(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nDescription: C\n more: words\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    bill = bill_of_installed(status)
    references = [one["purl"] for one in bill["components"]]
    assert f"pkg:pypi/numpy@{version('numpy')}" in references
    assert [one for one in references if "deb/" in one] == ["pkg:deb/debian/libc6@2.36-9"]
    assert len(references) == len(set(references))
    assert bill == bill_of_installed(status)
    assert not [one for one in bill_of_installed(tmp_path / "no Debian")["components"] if "deb/" in one["purl"]]
