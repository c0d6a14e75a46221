"""run.json as one typed object: what it was, is and may become."""

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, DataError, ModelError, ResumeError
from drift_detector_pipeline.files import sealed, write_json
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.runs.receipts import FINAL, newest_finished, read_receipt
from drift_detector_pipeline.settings import Data, Model, Run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny model on digits."""
    root = tmp_path_factory.mktemp("finished")
    overrides = [
        "data=digits", f"data.processed_path={root}/digits", "data.stored_side_px=8", "data.img_size=8",
        "data.dataloader_workers=0", "model.name=mlp", "model.options.width=16", "training.epochs=1",
        "training.batch_size=120", "run.device=cpu", "run.precision=fp32", f"hydra.run.dir={root}/run",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return train(load(overrides)).folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def written(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text()))


def test_what_is_read_is_what_was_written(copy: Path) -> None:
    read = read_receipt(copy).model_dump(mode="json", by_alias=True, exclude={"folder"})
    assert read == written(copy) | {"sources_from": None}  # stands in receipts of clips alone


def write(folder: Path, values: dict[str, Any]) -> None:
    """Write a receipt as another version may have."""
    write_json(folder / "run.json", sealed(values))


def test_keys_of_a_later_version_are_passed_over(copy: Path) -> None:
    values = written(copy)
    write(copy, values | {"task": "boxes", "final": values["final"] | {"val_map": 0.5}})
    assert read_receipt(copy).final.epoch == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threads": "two"}, r"threads: .*integer"),
        ({"settings": {"data": {}}}, "settings: .*no run"),
        ({"final": {"epoch": 1}}, r"final\.step: Field required"),
    ],
)
def test_a_wrong_part_is_named(change: dict[str, Any], said: str, copy: Path) -> None:
    (copy / "run.json").write_text(json.dumps(written(copy) | change))
    with pytest.raises(ResumeError, match=rf"run\.json: no whole receipt \(.*{said}.*make train$"):
        read_receipt(copy)


@pytest.mark.parametrize("content", ["", "null", "[]", "7", '"x"', "{}", '{"start":'])
def test_a_receipt_that_holds_no_facts_is_named_with_what_makes_it_anew(content: str, copy: Path) -> None:
    (copy / "run.json").write_text(content)
    said = r"no whole receipt \(.*\); copy the whole file again, or train anew: make train$"
    with pytest.raises(ResumeError, match=said):
        read_receipt(copy)


def test_a_receipt_with_a_part_of_another_kind_is_refused_in_a_sentence(copy: Path) -> None:
    values = written(copy)
    parts = [(values, name) for name in values if name not in ("task", "headline")]
    parts += [(values["final"], "val_accuracy"), (values["best"], "step"), (values["settings"], "data")]
    parts += [(values["headline"], name) for name in values.get("headline", {})]
    may_be_null: list[str] = []
    for inside, name in parts:
        good = inside[name]
        for odd in (None, 1.5, [[None]], {"x": {"y": None}}):
            inside[name] = odd
            (copy / "run.json").write_text(json.dumps(values))
            try:
                read_receipt(copy)
            except ResumeError as error:
                assert "run.json: no whole receipt (" in str(error)
            else:
                may_be_null += [name] if not isinstance(odd, type(good)) else []
        inside[name] = good
    assert may_be_null == []


def test_a_changed_digit_anywhere_in_a_receipt_is_noticed_and_one_of_an_older_version_is_read(copy: Path) -> None:
    text = (copy / "run.json").read_text()
    own = text.index('"facts_sha256"')
    for place in [found.start() for found in re.finditer("[0-9]", text[:own])]:
        changed = text[:place] + str(9 - int(text[place])) + text[place + 1 :]
        with contextlib.suppress(ValueError):
            if json.loads(changed) == json.loads(text):  # a seventeenth digit is more than a float holds
                continue
        (copy / "run.json").write_text(changed)
        with pytest.raises(ResumeError, match=r"run\.json: no whole receipt \("):
            read_receipt(copy)
    values = json.loads(text)
    del values["facts_sha256"]
    (copy / "run.json").write_text(json.dumps(values))
    assert read_receipt(copy).facts_sha256 is None


@pytest.mark.parametrize("text", ["null", "[]", "3", "", "{", "{}", "[" * 100_000, '{"start": ' * 50_000])
def test_a_file_that_is_no_receipt_is_refused(text: str, copy: Path) -> None:
    (copy / "run.json").write_text(text)
    with pytest.raises(ResumeError, match=r"run\.json: no whole receipt"):
        read_receipt(copy)


def test_a_folder_in_the_place_of_a_receipt_is_refused(copy: Path) -> None:
    (copy / "run.json").unlink()
    (copy / "run.json").mkdir()
    with pytest.raises(ResumeError, match=r"run\.json: no whole receipt"):
        read_receipt(copy)


def test_a_section_is_the_runs_own_changed_by_words(copy: Path) -> None:
    receipt = read_receipt(copy)
    assert receipt.section(Model).options == {"width": 16}
    assert receipt.section(Run, ["run.threads=1", "data.img_size=16"]).model_dump() == (
        receipt.section(Run).model_dump() | {"threads": 1}
    )
    with pytest.raises(ConfigError, match=r"run\.threads: .*got 0 \(given on the command line\)"):
        receipt.section(Run, ["run.threads=0"])


def test_a_section_of_another_version_is_named_with_its_key(copy: Path) -> None:
    values = written(copy)
    values["settings"]["data"]["colour"] = "red"
    write(copy, values)
    with pytest.raises(ResumeError, match=r"run\.json: settings this version does not know \(data\.colour: "):
        read_receipt(copy).section(Data)


def test_settings_to_repeat_a_run_are_its_own_but_for_what_decides_no_bit(copy: Path) -> None:
    today = load(["wandb.project=other", "training.profiler.wait=7", "training.epochs=9", "drift.min_images=99"])
    again = read_receipt(copy).settings(today.settings)
    assert (again.wandb.project, again.training.profiler.wait, again.drift.min_images) == ("other", 7, 99)
    assert (again.training.epochs, again.model.name, again.run.device) == (1, "mlp", "cpu")
    assert again.run.threads == read_receipt(copy).threads


def test_the_data_is_the_runs_own_and_no_other(copy: Path, tmp_path: Path) -> None:
    receipt = read_receipt(copy)
    assert receipt.data().fingerprint == receipt.data_fingerprint
    elsewhere = receipt.section(Data, [f"data.processed_path={tmp_path}/other"])
    with pytest.raises(DataError, match=r'other: no processed data; run: make process_data ARGS="data=digits data\.'):
        receipt.data(elsewhere)
    other = load(["data=digits", f"data.processed_path={tmp_path}/other", "data.stored_side_px=9"]).settings.data
    process(other)
    assert open_processed(other).fingerprint != receipt.data_fingerprint
    with pytest.raises(DataError, match=r"other: not the data that .*run was trained on .*make process_data"):
        receipt.data(other)


def test_a_weight_file_is_the_runs_own_or_refused(copy: Path) -> None:
    receipt = read_receipt(copy)
    receipt.check_weights(copy / FINAL, receipt.weights_sha256[FINAL])
    with pytest.raises(ModelError, match=r"SHA-256 0000.*not what .*run\.json says"):
        receipt.check_weights(copy / FINAL, "0" * 64)


def test_the_newest_finished_run_is_the_one_that_ended_last(copy: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResumeError, match="no finished run under outputs/"):
        newest_finished()
    for name, end in {"a": "2026-01-02", "b": "2026-01-01"}.items():
        (tmp_path / "outputs" / name).mkdir(parents=True)
        write(tmp_path / "outputs" / name, written(copy) | {"end": end})
    assert newest_finished() == Path("outputs/a")


def test_a_file_in_the_place_of_a_runs_folder_is_called_one(copy: Path) -> None:
    with pytest.raises(ResumeError, match=r"run\.json: a file, and the folder of a run is expected; pass RUN="):
        read_receipt(copy / "run.json")
