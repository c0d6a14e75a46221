"""The command that measures networks for boxes, on drawn pictures and a network of seconds."""

import json

import pytest
from drawn_boxes import draw_source
from small_detectors import BACKBONE

from drift_detector_pipeline.proof import box_networks


@pytest.mark.slow
def test_a_network_is_trained_once_and_its_figures_stand_in_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(box_networks, "REPEATS", 1)
    monkeypatch.setattr(box_networks, "BATCH", 4)
    source = draw_source(tmp_path / "source", images=24)
    words = ["yolox", "seed=3", f"data.raw_path={source}", f"data.processed_path={tmp_path}/processed",
             f"model.options.backbone={BACKBONE}", "training.max_steps=2", "data.img_size=64",
             "data.stored_side_px=80"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["box_networks", *words])
    for _ in range(2):
        assert box_networks.main() == 0
        report = json.loads(box_networks.REPORT.read_text())
        (run,) = report["networks"]["yolox"]["runs"]
        assert run["seed"] == 3 and run["steps"] == 2 and run["cpu_seconds"] > 0 and 0 <= run["map50"] <= 1
        assert report["networks"]["yolox"]["step_seconds"] < min(
            report[box_networks._READY_MADE]["step_seconds"].values()
        )
