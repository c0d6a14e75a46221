"""The bench of growth, on data so small that only its arithmetic and its commands are proven."""

import json

import pytest

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.proof import scale


@pytest.mark.slow
def test_every_stage_is_measured_at_every_size(tmp_path):
    found = scale.measure((100, 200), tmp_path)
    assert tuple(found["stages"]) == scale.STAGES
    for rows in found["stages"].values():
        small, large = rows
        assert (small["images"], large["images"]) == (100, 200)
        assert small["time_growth"] is None and small["memory_growth"] is None
        assert large["memory_growth"] == pytest.approx(large["peak_mb"] / small["peak_mb"], abs=1e-3)
        assert large["time_growth"] == pytest.approx(large["ms_an_image"] / small["ms_an_image"], abs=0.02)
    assert 0 < found["checksums"][200]["share_of_training"] < 0.5
    assert len(scale.table(found).splitlines()) == 1 + 2 * len(scale.STAGES) + 2
    json.dumps(found)


@pytest.mark.parametrize("words", [["200", "100"], ["1e3"], ["-5"], ["100", "100"]])
def test_sizes_that_do_not_grow_are_refused(words):
    with pytest.raises(ConfigError, match="expected numbers of images that grow"):
        scale._sizes(words)


def test_images_of_every_class_are_made(tmp_path):
    scale.make_images(tmp_path, 25)
    counts = [len(list(folder.iterdir())) for folder in sorted(tmp_path.iterdir())]
    assert sum(counts) == 25 and len(counts) == 10 and min(counts) >= 2
