"""The notebook runs from top to bottom, and what it asserts on the way holds."""

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT, needs_clone

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@needs_clone
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own start-up, not of ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path: Path, tmp_path: Path) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    by_hand, by_command = (re.search(rf"by {way}: (\d)", said) for way in ("hand", "command"))
    assert by_hand and by_command
    assert by_hand[1] == by_command[1] == "7"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_its_results_and_no_place_of_the_machine_it_ran_on(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r'["\s]/(home|root|tmp|work|Users)/', text)
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert sum(bool(cell["outputs"]) for cell in cells) > len(cells) / 2
