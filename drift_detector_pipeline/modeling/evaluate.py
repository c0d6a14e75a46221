"""`python -m drift_detector_pipeline.modeling.evaluate RUN split=val`: what a finished run's model is worth.

In: words. Out: what evaluation.py writes. A run that is not there and a wrong word are said at once: PyTorch, which
takes seconds to import, comes after that.
"""

import sys

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.modeling.named import VIEWS, WEIGHTS, check_run
from drift_detector_pipeline.processed.splits import SPLITS
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.stopped import loading
from drift_detector_pipeline.takes import EVALUATE


@exit_status
def main() -> int:
    """Evaluate the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:], {"split": SPLITS, "weights": WEIGHTS, "views": VIEWS})
    if command.target:
        check_run(command.target)
    folder = command.target or newest_finished()
    load_section(Predict, read_receipt(folder).changed_by(command.overrides, EVALUATE))
    with loading():
        from drift_detector_pipeline.modeling.evaluation import evaluate

    set_up_logging()
    evaluate(folder, overrides=command.overrides, **command.own)
    return 0


if __name__ == "__main__":
    sys.exit(main())
