"""The picture of a timeline can be drawn of any number of classes, also where no frame can be shown."""

import io

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.video.strip import Second, strip_png


@pytest.mark.parametrize("classes", [["fight", "no_fight"], ["run", "sit", "$walk", "走る"]])
def test_any_number_of_classes_is_drawn_the_same_each_time(classes):
    top3 = [{"label": name, "probability": 0.6 / 2**place} for place, name in enumerate(classes[:3])]
    said = [
        Second(float(start), start + 2.0, {**top3[start % 2], "top3": top3}, np.full((9, 16, 3), 40 * start, np.uint8))
        for start in range(3)
    ]
    png = strip_png(said, classes, 0.4)
    assert png == strip_png(said, classes, 0.4)
    bare = strip_png([one._replace(picture=None) for one in said[:1]], classes, None)
    for drawn in (png, bare):
        assert Image.open(io.BytesIO(drawn)).width > 600
