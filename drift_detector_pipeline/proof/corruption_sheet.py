"""What the corruptions look like and cost: `python -m drift_detector_pipeline.proof.corruption_sheet [RUN]`.

In: processed data and, if a run is named, its model. Out: a contact sheet, a table of SSIM, speed and accuracy, and the
same as JSON: in reports/ and outputs/corruptions/ for a data set, in the run's folder for a run.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.corruptions.corrupt import BENIGN, KINDS, SEVERITIES, change_benignly, corrupt
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.files import write_atomically, write_json
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.pages import image_png
from drift_detector_pipeline.processed.manifest import Processed, open_processed
from drift_detector_pipeline.proof.corruption_table import COMPARED, JUDGED, Chosen, as_text, measure_corruptions
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import instruction_set, prepared
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.settings import Data, Run
from drift_detector_pipeline.takes import CORRUPTIONS, check_settings

TILE_PX, LABEL_PX, ROW_GAP_PX = 128, 110, 4


@exit_status
def main() -> int:
    """Draw and measure for the run or the data set named on the command line."""
    command = read_command(sys.argv[1:])
    run = command.target
    set_up_logging()
    processed, data, machine_settings = _opened(run, command.overrides)
    sheet = (run or Path("outputs/corruptions")) / f"corruptions_{data.name}_{data.img_size}px.png"
    report = (run or Path("reports")) / sheet.with_suffix(".json").name
    chosen = _choose(processed, data.img_size, JUDGED if run else COMPARED)
    with prepared(machine_settings) as machine:
        trained = open_trained(run / "final_model.safetensors", machine) if run else None
        found = measure_corruptions(chosen, trained, machine) | _surroundings(processed, data.img_size)
    for path in (sheet, report):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(sheet, image_png(draw_sheet(chosen)))
    write_json(report, found)
    log.info("%s\n\n%s\n%s", as_text(found), sheet, report)
    return 0


def draw_sheet(chosen: Chosen) -> Pixels:
    """The contact sheet: a row per kind, clean and severities 1 to 5; then the benign changes. Pixels (H, W, 3)."""
    side = chosen.images.shape[1]
    tile = max(side, TILE_PX // side * side)
    canvas = Image.new("RGB", (LABEL_PX + 6 * tile, (len(KINDS) + 1) * (tile + ROW_GAP_PX)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for row, kind in enumerate((*KINDS, "benign")):
        place = row % len(chosen.images)
        clean, key = chosen.images[place : place + 1], chosen.keys[place : place + 1]
        changed = (
            [change_benignly(clean, change) for change in BENIGN] if kind == "benign"
            else [clean, *(corrupt(clean, kind, severity, keys=key) for severity in SEVERITIES)]
        )  # fmt: skip
        top = row * (tile + ROW_GAP_PX)
        words = [kind.replace("_", " ")] if kind != "benign" else ["benign:", *BENIGN]
        pen.multiline_text((4, top + 4), "\n".join(words), fill="black", font=font)
        for column, image in enumerate(changed):
            view = Image.fromarray(image[0]).resize((tile, tile), Image.Resampling.NEAREST)
            canvas.paste(view, (LABEL_PX + column * tile, top))
    return np.array(canvas)


def _opened(run: Path | None, overrides: Sequence[str]) -> tuple[Processed, Data, Run]:
    """The data of a run, or those that the overrides name, and with which settings."""
    if run is None:
        settings = load(overrides).settings
        return open_processed(settings.data), settings.data, settings.run
    check_settings(overrides, CORRUPTIONS)
    receipt = read_receipt(run)
    return receipt.data(), receipt.section(Data), receipt.section(Run, ["run.resume=null"])


def _surroundings(processed: Processed, side_px: int) -> dict[str, object]:
    return {
        "side_px": side_px,
        "data": str(processed.folder),
        "data_fingerprint": processed.fingerprint,
        "command": this_command(),
        "when": now(),
        "instruction_set": instruction_set(torch.device("cpu")),
        "packages": package_versions(),
    }


def _choose(processed: Processed, side_px: int, count: int) -> Chosen:
    indices = processed.images.indices("val")
    if not len(indices):
        raise DataError(f"{processed.folder}: no images in the split val to corrupt")
    keys = indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(int)]
    keys = np.random.default_rng(0).permutation(keys)
    images = np.stack([inference_crop(processed.images[int(key)], side_px) for key in keys])
    return Chosen(images, processed.images.labels[keys], keys.tolist())


if __name__ == "__main__":
    sys.exit(main())
