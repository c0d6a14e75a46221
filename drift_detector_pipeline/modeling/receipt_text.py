"""A finished run as a few lines of Markdown: `python -m drift_detector_pipeline.modeling.receipt_text [RUN]`.

In: a run's receipt. Out: text on stdout, which a workflow shows as its summary or as a comment.
"""

import sys
from pathlib import Path
from typing import Any

from drift_detector_pipeline.errors import ResumeError, exit_status
from drift_detector_pipeline.runs.receipts import RECEIPT, newest_finished, read_receipt


@exit_status
def main() -> int:
    """Describe the run named on the command line, or the newest finished one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1] else newest_finished()
    receipt = read_receipt(folder)
    try:
        print(describe(receipt))
    except (KeyError, TypeError) as error:
        raise ResumeError(f"{folder / RECEIPT}: no whole receipt ({type(error).__name__}: {error})") from error
    return 0


def describe(receipt: dict[str, Any]) -> str:
    """Return accuracy, speed and what decided them, as a heading and a table."""
    final, best, identity = receipt["final"], receipt["best"], receipt["identity"]
    rows = {
        "accuracy": f"**{final['val_accuracy']:.2%}** after epoch {final['epoch']} (best {best['val_accuracy']:.2%})",
        "loss": f"{final['train_loss']:.4f} train, {final['val_loss']:.4f} val",
        "speed": f"{final['images_per_second']:.0f} images/s in training, {final['seconds']:.1f} s the last epoch",
        "machine": f"{receipt['instruction_set']}, {receipt['device']}, {receipt['precision']}, "
        f"{receipt['threads']} threads, {receipt['processes']} process(es)",
        "where": receipt["where"],
        "commit": f"{receipt['git']['commit']}{' with changes' if receipt['git']['dirty'] else ''}",
        "data": f"`{receipt['data_fingerprint'][:16]}`",
        "weights": f"`{receipt['weights_sha256']['final_model.safetensors']}`",
        "overrides": f"`{' '.join(receipt['overrides'])}`",
    }
    title = f"### {receipt['settings']['data']['name']}, {identity['model.name']}\n\n| | |\n|---|---|\n"
    return title + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


if __name__ == "__main__":
    sys.exit(main())
