"""A network of clips, exported: the file looks at frames, and what is said of a clip is computed from theirs."""

import json
import shutil

import numpy as np
import pytest
import torch
from clip_runs import make_moving, make_run

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.networks.clips import deviation_of, frame_of
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.release.artefact import DEVIATION, read_artefact, write_artefact
from drift_detector_pipeline.release.executable import read_deviation
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.release.source import one_core
from drift_detector_pipeline.release.verified import _answers
from drift_detector_pipeline.serving.batcher import each_of
from drift_detector_pipeline.serving.clips import of_frames
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.settings_in_use import Export
from drift_detector_pipeline.tasks.clips.frames import looked_at, padded


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


@pytest.mark.slow
def test_of_a_mean_over_frames_nothing_is_kept_beside_the_graph(exported):
    artefact = read_artefact(exported / "artefact")
    assert read_deviation(artefact) is None and DEVIATION not in artefact.sha256
    assert artefact.identity == f"{artefact.sha256[artefact.file]}:onnxruntime:fp32"


@pytest.fixture(scope="module")
def moving(made_once):
    """The same of a network whose deviation over time counts, with a reference; read only."""
    return made_once("clips_moving", make_moving)


@pytest.mark.slow
def test_where_the_deviation_counts_the_file_says_what_the_network_says(moving):
    artefact = read_artefact(moving / "artefact")
    evaluation = json.loads((evaluate(moving / "run") / "metrics.json").read_text())
    own, served = artefact.facts["table"][:2]
    assert own["accuracy"] == served["accuracy"] == evaluation["accuracy"]
    assert served["parity"] < 1e-4 and served["labels_changed"] == 0
    weights = read_deviation(artefact)
    assert weights is not None and np.abs(weights).max() > 0.01
    assert artefact.identity.endswith(artefact.sha256[DEVIATION])


@pytest.mark.slow
def test_short_clips_are_answered_as_the_network_answers_them_filled_up(moving):
    engine, stored = open_engine(moving / "artefact"), PackedImages(moving / "processed")[0]
    k, side = engine.artefact.clip.k_frames, engine.artefact.side_px
    unlike_the_mean = 0.0
    with one_core() as machine:
        trained = open_trained(moving / "run" / "final_model.safetensors", machine)
    for frames in (1, 2, 3, k, len(stored)):
        crops = looked_at(stored[:frames], k, side)
        said = of_frames(each_of(engine, engine.answer(crops)))
        clip = normalize(torch.from_numpy(padded(crops, k)).permute(0, 3, 1, 2), *trained.network[1:3])[None]
        with torch.inference_mode():
            logits = trained.network.module.eval()(clip, torch.tensor([len(crops)]))
            mean = frame_of(trained.network.module)(clip[0, : len(crops)]).mean(0).softmax(0).numpy()
        np.testing.assert_allclose(said.probabilities, logits.softmax(1)[0].numpy(), atol=1e-4)
        unlike_the_mean = max(unlike_the_mean, np.abs(said.probabilities - mean).max())
    assert unlike_the_mean > 1e-2
    assert np.array_equal(read_deviation(engine.artefact), deviation_of(trained.network.module))


@pytest.mark.slow
def test_weights_of_the_deviation_that_cannot_be_are_an_error_with_their_file(moving, tmp_path):
    folder = shutil.copytree(moving / "artefact", tmp_path / "artefact")
    whole, weights = read_artefact(folder), np.load(folder / DEVIATION)
    for other in (weights[:1], weights.astype(np.float64), weights * np.nan):
        np.save(folder / DEVIATION, other)
        with pytest.raises(DataError, match=r"deviation\.npy: damaged or exchanged"):
            read_artefact(folder)
        with pytest.raises(DataError, match=r"deviation\.npy: expected finite float32 \(2, D\).*make export"):
            read_deviation(write_artefact(whole))
    with (folder / DEVIATION).open("wb") as file:  # its header promises a petabyte
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2, 1 << 47)})
    header = (folder / DEVIATION).read_bytes()
    for content in (b"none", header):
        (folder / DEVIATION).write_bytes(content)
        with pytest.raises(DataError, match=r"deviation\.npy: cannot be read"):
            read_deviation(write_artefact(whole))
