"""A finished run to the Hugging Face Hub: `python -m drift_detector_pipeline.modeling.hub_push RUN repo=OWNER/NAME`.

In: a finished run, and a token (HF_TOKEN, or `hf auth login`). Out: one commit in a repository of models, private
unless `private=false`: weights, receipt, and the model card with the metadata that the hub shows. Afterwards the hub is
asked for the hash of what it has.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx2
import yaml

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.console import tell
from drift_detector_pipeline.errors import ConfigError, ModelError, exit_status
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.modeling.card import card
from drift_detector_pipeline.modeling.named import check_run
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.runs.receipts import FINAL, Receipt, newest_finished, read_receipt

_TASKS = {"classification": "image-classification", "boxes": "object-detection", "clips": "video-classification"}


@exit_status
def main() -> int:
    """Send the run named on the command line, or the newest finished one, to the repository that `repo=` names."""
    command = read_command(sys.argv[1:], {"private": ("true", "false")})
    refuse_others(command.overrides, ("repo",), "make hub_push", "the run is uploaded as it is")
    named = dict(word.split("=", 1) for word in command.overrides)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", named.get("repo", "")):
        raise ConfigError("hub_push needs a repository of models: repo=OWNER/NAME")
    if command.target:
        check_run(command.target)
    tell(push(command.target or newest_finished(), named["repo"], private=command.own.get("private") != "false"))
    return 0


def push(folder: Path, repo: str, *, private: bool = True) -> str:
    """Send weights, receipt and card of a finished run as one commit of `repo`, which is made; return its address.

    Raises ModelError if the hub refuses, cannot be reached, or has other bytes afterwards.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read when the library is imported
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    receipt, hub = read_receipt(folder), HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    contents: dict[str, bytes | str] = {
        "README.md": hub_card(folder, receipt).encode("utf-8", "backslashreplace"),
        FINAL: str(folder / FINAL),
        RECEIPT: str(folder / RECEIPT),
    }
    receipt.check_weights(folder / FINAL, file_hash(folder / FINAL))
    operations = [CommitOperationAdd(name, content) for name, content in contents.items()]
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        commit = hub.create_commit(repo, operations, commit_message=f"Run {folder.resolve().name}")
        (arrived,) = hub.get_paths_info(repo, FINAL, revision=commit.oid)
    except httpx2.TransportError as error:
        raise ModelError(
            f"{hub.endpoint}: cannot be reached ({_reason(error)}); HF_ENDPOINT names another hub"
        ) from error
    except (HfHubHTTPError, httpx2.HTTPError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{hub.endpoint}: {_reason(error)}; a token that may write: HF_TOKEN=..., or hf auth login"
        ) from error
    sha256 = arrived.lfs.sha256 if arrived.lfs else None  # type: ignore[union-attr]
    if sha256 != receipt.weights_sha256[FINAL]:
        raise ModelError(f"{repo}: {FINAL} has SHA-256 {sha256} there, not the run's; make hub_push RUN={folder}")
    return f"{hub.endpoint}/{repo}"


def hub_card(folder: Path, receipt: Receipt) -> str:
    """The model card of a run with the YAML block before it that the hub reads: task, tags, data, result."""
    recorded: Any = receipt.recorded
    task = _TASKS.get(receipt.task, "image-classification")
    data = str(recorded["data"]["name"])
    metric = {"type": receipt.headline.name, "value": receipt.score}
    facts = {
        "library_name": "drift-detector-pipeline",
        "pipeline_tag": task,
        "tags": [str(recorded["model"]["name"]), data],
        "model-index": [
            {
                "name": folder.resolve().name,
                "results": [{"task": {"type": task}, "dataset": {"name": data, "type": data}, "metrics": [metric]}],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---\n\n{card(folder)}"


def _reason(error: Exception) -> str:
    """The first line of what it says."""
    return (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
