"""The bench of growth, on data so small that only its arithmetic and its commands are proven."""

import json

import pytest

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.proof import scale


@pytest.mark.slow
def test_every_stage_is_measured(tmp_path):
    found = scale.measure((100,), tmp_path)
    assert tuple(found["stages"]) == scale.STAGES
    for [row] in found["stages"].values():
        assert row["images"] == 100 and row["ms_an_image"] > 0 and row["peak_mb"] > 0
        assert row["time_growth"] is None and row["memory_growth"] is None
    assert 0 < found["checksums"][100]["share_of_training"] < 0.5
    assert len(scale.table(found).splitlines()) == 1 + len(scale.STAGES) + 1
    json.dumps(found)


def test_growth_is_against_the_size_before():
    small, large = scale._rows({100: scale.Spent(1.0, 2.0, 50), 200: scale.Spent(1.5, 3.0, 60)})
    assert (small["ms_an_image"], small["time_growth"], small["memory_growth"]) == (20, None, None)
    assert (large["ms_an_image"], large["ms_each_more"]) == (15, 10)
    assert (large["time_growth"], large["memory_growth"]) == (0.75, 1.2)


def test_the_picture_shows_every_stage_at_every_size():
    rows = scale._rows({100: scale.Spent(1.0, 2.0, 50), 200: scale.Spent(1.5, 3.0, 60)})
    figure = scale.curves({"stages": dict.fromkeys(scale.STAGES, rows)})
    for axes, values in zip(figure.axes, ([20, 15], [50, 60]), strict=True):
        assert [line.get_label() for line in axes.lines] == list(scale.STAGES)
        assert all(list(line.get_xdata()) == [100, 200] and list(line.get_ydata()) == values for line in axes.lines)


@pytest.mark.parametrize("words", [["200", "100"], ["1e3"], ["-5"], ["100", "100"]])
def test_sizes_that_do_not_grow_are_refused(words):
    with pytest.raises(ConfigError, match="expected numbers of images that grow"):
        scale._sizes(words)


def test_images_of_every_class_are_made(tmp_path):
    scale.make_images(tmp_path, 25)
    counts = [len(list(folder.iterdir())) for folder in sorted(tmp_path.iterdir())]
    assert sum(counts) == 25 and len(counts) == 10 and min(counts) >= 2
