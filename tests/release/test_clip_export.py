"""A network of clips, exported: the file looks at frames, and its mean over them is what the network says of a clip."""

import json

import pytest
from clip_runs import make_run

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.networks.clips import create_over_time, frame_of
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.clip_export import PURPOSE
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.release.verified import _answers
from drift_detector_pipeline.settings_in_use import Export


@pytest.fixture(scope="module")
def exported(made_once):
    """A folder with processed/, run/ and artefact/; read only."""

    def make(root):
        make_run(root)
        export_run(root / "run", load_section(Export, [f"export.path={root}/artefact"]))

    return made_once("clips_exported", make)


@pytest.mark.slow
def test_the_folder_says_how_clips_are_cut_and_is_as_good_as_the_run(exported):
    artefact = read_artefact(exported / "artefact")
    assert (artefact.task, artefact.clip) == ("clips", (2.0, 32, 4))
    evaluation = json.loads((evaluate(exported / "run") / "metrics.json").read_text())
    own, served = artefact.facts["table"][:2]
    assert own["accuracy"] == served["accuracy"] == evaluation["accuracy"]
    assert served["parity"] < 1e-4 and served["labels_changed"] == 0
    assert "images alone as together" in _answers(artefact)


@pytest.mark.slow
def test_whatever_does_not_belong_to_clips_is_damage(exported):
    artefact = read_artefact(exported / "artefact")
    import json

    path = artefact.folder / "artefact.json"
    whole = path.read_text()
    for change in ({"k_frames": None}, {"k_frames": 513}, {"clip_seconds": -1}, {"task": None}):
        try:
            path.write_text(json.dumps(json.loads(whole) | change))
            with pytest.raises(DataError, match="impossible"):
                read_artefact(artefact.folder)
        finally:
            path.write_text(whole)


def test_what_is_no_mean_over_frames_is_refused():
    module = create_over_time("mlp", 2, 16, {"width": 8, "pooling": "mean_and_deviation"})
    with pytest.raises(ModelError, match="pooling=mean to serve it"):
        frame_of(module, PURPOSE)
    assert frame_of(create_over_time("mlp", 2, 16, {"width": 8}), PURPOSE) is not None
