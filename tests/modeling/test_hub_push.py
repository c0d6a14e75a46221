"""A run on the hub, a small one on loopback: private, one commit, and what arrived is asked for."""

import hub_server
import pytest
import yaml
from finished_runs import finished_run, own_copy

from drift_detector_pipeline.modeling.hub_push import hub_card
from drift_detector_pipeline.runs.receipts import read_receipt


@pytest.fixture
def run(made_once, tmp_path):
    return own_copy(finished_run(made_once, "fp32"), tmp_path / "run")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that is asked instead of the public one, by the plain protocol of large files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with hub_server.serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        yield running


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the hub's library, about httpx


def test_weights_receipt_and_card_are_one_private_commit_whose_bytes_are_the_runs(hub, run, call_main):
    done = call_main("modeling.hub_push", str(run), "repo=me/cats")
    assert (done.returncode, done.stdout) == (0, f"{hub.url}/me/cats\n")
    there = hub.repositories["me/cats"]
    assert there["private"] is True
    assert there["files"].keys() == {"README.md", "final_model.safetensors", "run.json"}
    for name in ("final_model.safetensors", "run.json"):
        assert there["files"][name] == (run / name).read_bytes()
    assert there["files"]["README.md"].decode() == hub_card(run, read_receipt(run))
    assert hub.unknown == []


def test_a_wrong_token_and_bytes_that_changed_on_their_way_are_errors_with_a_remedy(hub, run, monkeypatch, call_main):
    hub.spoils = True
    spoilt = call_main("modeling.hub_push", str(run), "repo=me/cats", "private=false")
    assert (spoilt.returncode, "not the run's" in spoilt.stderr) == (1, True)
    assert hub.repositories["me/cats"]["private"] is False
    monkeypatch.setenv("HF_TOKEN", "hf_" + "b" * 30)
    refused = call_main("modeling.hub_push", str(run), "repo=me/cats")
    assert (refused.returncode, "HF_TOKEN=" in refused.stderr) == (1, True)


def test_the_card_begins_with_what_the_hub_reads(run):
    text, receipt = hub_card(run, read_receipt(run)), read_receipt(run)
    _, facts, rest = text.split("---\n", 2)
    read = yaml.safe_load(facts)
    (result,) = read["model-index"][0]["results"]
    assert (read["pipeline_tag"], result["dataset"]["type"]) == ("image-classification", "folder")
    assert result["metrics"] == [{"type": "accuracy", "value": receipt.score}]
    assert rest.startswith("\n# Model card: ")


@pytest.mark.parametrize("words", [[], ["repo=cats"]])
def test_without_an_owner_and_a_name_nothing_is_sent(words, run, call_main):
    done = call_main("modeling.hub_push", str(run), *words)
    assert (done.returncode, "repo=OWNER/NAME" in done.stderr) == (1, True)


def test_a_hub_that_cannot_be_reached_is_one_sentence(run, monkeypatch, call_main):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    done = call_main("modeling.hub_push", str(run), "repo=me/cats")
    assert (
        done.returncode == 1
        and "http://127.0.0.1:9: cannot be reached" in done.stderr
        and "Traceback" not in done.stderr
    )
