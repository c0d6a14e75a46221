"""The command that measures networks for boxes, on drawn pictures and a network of seconds."""

import json

import pytest
from drawn_boxes import draw_source
from small_detectors import BACKBONE

from drift_detector_pipeline.proof import box_networks, box_rates


def test_a_report_carries_mean_and_spread_over_seeds():
    runs = [{"seed": seed, "map50": 0.8 + seed / 10, "map": 0.5, "map75": 0.5, "cpu_seconds": 9} for seed in (0, 1)]
    both, one = box_networks.over_seeds(runs), box_networks.over_seeds(runs[:1])
    assert both["runs"] == runs and both["over_seeds"]["map"] == {"mean": 0.5, "sd": 0}
    assert both["over_seeds"]["map50"]["mean"] == pytest.approx(0.85)
    assert both["over_seeds"]["map50"]["sd"] == pytest.approx(0.1 / 2**0.5)
    assert one["over_seeds"]["map50"] == {"mean": 0.8, "sd": None}


@pytest.mark.slow
def test_a_network_is_trained_once_and_its_figures_stand_in_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(box_networks, "REPEATS", 1)
    for name, few in {"PAIRS": 1, "STEPS": 2, "WARM_UP": 1}.items():
        monkeypatch.setattr(box_rates, name, few)
    monkeypatch.setattr(box_networks, "BATCH", 4)
    source = draw_source(tmp_path / "source", images=24)
    words = ["yolox", "seed=3", f"data.raw_path={source}", f"data.processed_path={tmp_path}/processed",
             f"model.options.backbone={BACKBONE}", "training.max_steps=2", "data.img_size=64",
             "data.stored_side_px=80"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["box_networks", *words])
    for _ in range(2):
        assert box_networks.main() == 0
        report = json.loads((box_networks.REPORTS / "boxes_bccd.json").read_text())
        (run,) = report["networks"]["yolox"]["runs"]
        assert run["seed"] == 3 and run["steps"] == 2 and run["cpu_seconds"] > 0 and 0 <= run["map50"] <= 1
        assert report["networks"]["yolox"]["step_seconds"] < min(
            report[box_networks._READY_MADE]["step_seconds"].values()
        )
        for ratio in ("loop_vs_bare_step", "evaluation_vs_bare_forward"):
            assert 0 < report["networks"]["yolox"][ratio]["median_ratio"] < 10
    monkeypatch.setattr("sys.argv", ["box_networks", *words, "training.learning_rate=1e-3"])
    assert box_networks.main() == 1 and "was trained with other words" in capsys.readouterr().err
