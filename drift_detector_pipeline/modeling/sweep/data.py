"""Process the data of a sweep, before it: `python -m drift_detector_pipeline.modeling.sweep.data WORDS`.

In: the words of `make sweep`. Out: data/processed/<name>/ of every data set that its trials use. Read by the trials.
"""

import sys

from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.modeling.sweep.plan import open_plan
from drift_detector_pipeline.modeling.sweep.search import needed_data


@exit_status
def main() -> int:
    """Bring the processed folders up to date."""
    set_up_logging()
    for data in needed_data(open_plan(sys.argv[1:]).search):
        process(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
