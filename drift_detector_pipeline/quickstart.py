"""The first two minutes: `make quickstart` trains on digits, evaluates, and says what came out and what is next.

In: nothing but the package. Out: a processed folder, a run folder with a picture of predictions, and a page of text.
"""

import os
import sys
import time

from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.known_bits import standing
from drift_detector_pipeline.runs.receipts import FINAL, read_receipt


@exit_status
def main() -> int:
    """Run the quick start with the overrides on the command line."""
    started = time.monotonic()
    composed = load(["+experiment=quickstart", *sys.argv[1:]])
    set_up_logging()
    data = process(composed.settings.data)
    outcome = train(composed)
    if outcome.exit_status:
        return outcome.exit_status
    outcome.stop_if_asked()
    report = evaluate(outcome.folder)
    receipt = read_receipt(outcome.folder)
    install, training = int(os.environ.get("INSTALL_SECONDS", 0)), time.monotonic() - started
    print(f"""
  Look       {report}/predictions.png   what it says about twelve images
             {report}/report.html       everything measured, as one page for a browser

  {receipt.headline.name.capitalize():<9}  {receipt.headline.text(receipt.score)} on validation images never trained on
  Time       {install} s to install, {training:.0f} s to process the data, train and evaluate
  Data       {data}/manifest.json  counts, classes, fingerprint
  Run        {outcome.folder}/
               run.json                 which exact bytes, settings and machine made this model
               final_model.safetensors  the weights, sha256 {receipt.weights_sha256[FINAL][:16]}...
                                        {standing(receipt)}
               metrics.jsonl            one line per epoch
               train.log, tensorboard/, checkpoints/

  Next
    make reproduce RUN={outcome.folder}   train again and compare the weights
    make train ARGS="data=folder data.raw_path=PATH"   your own images, one folder per class
    make predict IMAGES=PATH                           images without labels, with the newest run
    make drift_demo                                    drift in one picture: changed digits noticed (two minutes)
    make drift_reference, then make drift IMAGES=PATH  do they look like what it was trained for?
    make train ARGS="+experiment=imagenette_fast"      real photographs, 99 MB to download
    make                                               all commands
""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
