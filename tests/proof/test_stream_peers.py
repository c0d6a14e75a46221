"""Methods beside each other on streams: one limit for each, set on the same clean images."""

import numpy as np
import pytest

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.proof.alibi_streams import first_over, limit_for, mean_run
from drift_detector_pipeline.proof.stream_peers import LONGEST, Watched, compare, streams_of


def test_a_limit_is_exceeded_once_in_so_many_images_of_other_clean_streams() -> None:
    rng = np.random.default_rng(0)
    limit = limit_for([*rng.normal(size=(40, 500))], images=200)
    others = [first_over(values, limit) for values in rng.normal(size=(200, 1000))]
    assert mean_run(others, 1000) == pytest.approx(200, rel=0.25)


def test_a_larger_change_is_found_sooner_by_every_method() -> None:
    rng = np.random.default_rng(1)
    reference, pool, *cells = (
        Watched(values, values) for values in np.float32([rng.normal(off, 1, (600, 3)) for off in (0, 0, 1, 4)])
    )
    named = {"faint": cells[0], "strong": cells[1]}
    streams = streams_of(600, [600, 600], runs=3)
    found = compare(reference, pool, named, streams._replace(clean=streams.clean[:8, :1000]))
    for method in ("ours", "EWMA chart"):
        delays = found[method]["delays"]
        assert np.median(delays["strong"]["delays"]) < np.median(delays["faint"]["delays"]) < LONGEST / 10


def test_a_python_without_alibi_detect_is_told_how_to_get_one() -> None:
    images = Watched(*np.zeros((2, 300, 1), np.float32))
    with pytest.raises(ConfigError, match=r"alibi=false: .*pip install alibi-detect==0\.11\.4"):
        compare(images, images, {"cell": images}, streams_of(300, [300], runs=1), alibi="false")
