"""What the study is made of: every cell draws its own images."""

import numpy as np

from drift_detector_pipeline.proof.study_material import drawn_for


def test_cells_share_no_more_images_than_chance_has_them_share():
    one, other = (drawn_for(number, 8000, 400, seed=0) for number in (0, 1))
    assert len(set(one.tolist())) == len(set(other.tolist())) == 400
    assert len(np.intersect1d(one, other)) < 60  # 20 expected
    assert one.tolist() == drawn_for(0, 8000, 400, seed=0).tolist()
    assert len(drawn_for(0, 100, 400, seed=0)) == 100
