"""Which bits the quick start has on which processors: what is said of a run, and how its row is kept."""

import json

import pytest
from finished_runs import finished_run

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.runs import known_bits
from drift_detector_pipeline.runs.facts import processor
from drift_detector_pipeline.runs.known_bits import known, main, row_of, standing
from drift_detector_pipeline.runs.receipts import FINAL, read_receipt


@pytest.fixture
def receipt(made_once):
    return read_receipt(finished_run(made_once, "fp32") / "run")


@pytest.fixture
def keep(monkeypatch, tmp_path):
    """Puts rows where the known ones are looked for."""
    monkeypatch.setattr(known_bits, "KNOWN", tmp_path / "known_bits.json")

    def put(*rows):
        (tmp_path / "known_bits.json").write_text(json.dumps([row._asdict() for row in rows]))
        return tmp_path / "known_bits.json"

    return put


def test_a_row_says_on_what_and_to_which_bits(receipt):
    row = row_of(receipt)
    assert row.weights_sha256 == receipt.weights_sha256[FINAL]
    assert (row.bits, row.precision, row.threads, row.processor) == ("default", "fp32", receipt.threads, processor())


def test_equal_other_and_new_are_told_apart(receipt, keep):
    row = row_of(receipt)
    elsewhere = row._replace(processor="another", instruction_set="x86_64 AVX2")
    keep()
    assert standing(receipt).startswith("no known run is like this one")
    keep(elsewhere._replace(weights_sha256="0" * 64))
    assert "its bits are its own" in standing(receipt)
    keep(elsewhere)
    assert "its bits are those of another" in standing(receipt)
    keep(elsewhere, row)
    assert standing(receipt).startswith("the same bits as on")
    keep(elsewhere, row._replace(weights_sha256="0" * 64))
    assert standing(receipt).startswith("other bits than 0000000000000000...")


@pytest.mark.parametrize("change", [{"settings": "0"}, {"torch": "0"}, {"threads": 99}, {"bits": "portable"}])
def test_runs_that_were_told_otherwise_are_not_compared(change, receipt, keep):
    keep(row_of(receipt)._replace(**change))
    assert standing(receipt).startswith("no known run is like this one")


def test_the_command_adds_a_row_once(receipt, keep, monkeypatch, capsys):
    path = keep()
    monkeypatch.setattr("sys.argv", ["known_bits", str(receipt.folder)])
    assert main() == main() == 0
    assert known() == [row_of(receipt)]
    assert row_of(receipt).weights_sha256 in capsys.readouterr().out
    path.write_text("[{}]")
    with pytest.raises(DataError, match="not whole"):
        known()


def test_the_file_in_reports_can_be_read():
    assert known()
