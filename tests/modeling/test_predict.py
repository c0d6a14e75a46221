"""`make predict`: anybody's images through a weight file alone, with the probabilities of `make evaluate`."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from conftest import called, make_folder, write_image
from finished_runs import PRECISIONS, finished_run, own_copy

from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, ModelError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.images.decode_many import decode_files
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.modeling.predict import main
from drift_detector_pipeline.networks.weights import pack_tensors, unpack_tensors


@pytest.fixture(scope="module", params=PRECISIONS)
def world(request, made_once, tmp_path_factory):
    """An evaluated run's weights, alone in a folder, its source images, and what the evaluation said about them."""
    finished, alone = finished_run(made_once, request.param), tmp_path_factory.mktemp("alone")
    run = own_copy(finished, tmp_path_factory.mktemp(f"predict_{request.param}") / "run")
    with (evaluate(run) / "predictions.csv").open(encoding="utf-8") as file:
        said = {row["path"]: (row["label"], float(row["probability"]), row["top3"]) for row in csv.DictReader(file)}
    shutil.move(run / "final_model.safetensors", alone / "weights.safetensors")
    shutil.rmtree(run)
    return alone / "weights.safetensors", finished / "animals", said


@pytest.fixture(scope="module")
def weights(made_once, tmp_path_factory):
    """A weight file beside its run; predictions only add to its folder."""
    return (
        own_copy(finished_run(made_once, "fp32"), tmp_path_factory.mktemp("weights") / "run")
        / "final_model.safetensors"
    )


@pytest.fixture
def photos(tmp_path):
    """Three images of two kinds, and three files that are none."""
    for seed, name in enumerate(["a.png", "b.jpg", "deep/c.png"]):
        write_image(tmp_path / "photos" / name, seed, (300, 200))
    (tmp_path / "photos" / "cut.png").write_bytes((tmp_path / "photos" / "a.png").read_bytes()[:200])
    (tmp_path / "photos" / "empty.jpg").touch()
    (tmp_path / "photos" / "text.jpg").write_text("I am no image")
    return tmp_path / "photos"


def rows_of(folder):
    with (folder / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def answers_of(folder, root):
    return {
        os.path.relpath(row["path"], root): (row["label"], float(row["probability"]), row["top3"])
        for row in rows_of(folder)
    }


def test_the_weight_file_alone_gives_the_probabilities_of_the_evaluation_to_the_last_digit(world):
    file, images, said = world
    everything = answers_of(predict(file, [str(images)]).folder, images)
    assert len(everything) == 210
    assert {path: everything[path] for path in said} == said


def test_order_and_number_of_images_change_no_digit(world):
    file, images, said = world
    backwards = sorted(said, reverse=True)
    assert answers_of(predict(file, [str(images / path) for path in backwards]).folder, images) == said
    for path in backwards[:3]:
        assert answers_of(predict(file, [str(images / path)]).folder, images) == {path: said[path]}


def test_images_are_predicted_in_the_order_they_are_named(world):
    file, images, said = world
    named = sorted(said, key=lambda path: path[::-1])
    rows = rows_of(predict(file, [str(images / path) for path in named]).folder)
    assert [row["path"] for row in rows] == [str(images / path) for path in named]


def test_unreadable_files_are_named_and_counted_and_stop_nothing(weights, photos, capsys):
    set_up_logging()
    done = predict(weights, [str(photos), str(photos / "none.png")])
    assert (done.predicted, done.unreadable) == (3, 4)
    assert [row["path"] for row in rows_of(done.folder)] == [
        str(photos / name) for name in ("a.png", "b.jpg", "deep/c.png")
    ]
    said = capsys.readouterr().err
    summary = json.loads((done.folder / "summary.json").read_text())
    assert [Path(image["path"]).name for image in summary["unreadable"]] == [
        "cut.png", "empty.jpg", "text.jpg", "none.png"
    ]  # fmt: skip
    for image in summary["unreadable"]:
        assert f"{image['path']}: {image['reason']}" in said
    assert summary["unreadable"][-1]["reason"] == "No such file or directory"
    assert summary["weights_sha256"] == file_hash(weights)


def test_no_readable_image_at_all_is_an_error_and_leaves_nothing(weights, photos, tmp_path):
    lonely = tmp_path / "weights.safetensors"
    shutil.copy(weights, lonely)
    with pytest.raises(DataError, match=r"no image among 2 files; .*text\.jpg: none of the formats JPEG"):
        predict(lonely, [str(photos / "text.jpg"), str(photos / "cut.png")])
    assert not (tmp_path / "predictions").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no image among 0 files"):
        predict(lonely, [str(tmp_path / "empty")])


def test_lines_table_and_output_say_the_same(weights, photos, capsys):
    folder = predict(weights, [str(photos)]).folder
    printed = capsys.readouterr().out
    assert (folder / "predictions.jsonl").read_text(encoding="utf-8") == printed
    lines = [json.loads(line) for line in printed.splitlines()]
    for line, row in zip(lines, rows_of(folder), strict=True):
        assert (line["path"], line["label"], str(line["probability"])) == (
            row["path"],
            row["label"],
            row["probability"],
        )
        assert line["top3"] == json.loads(row["top3"])
        assert line["top3"][0] == {"label": line["label"], "probability": line["probability"]}
        chances = [one["probability"] for one in line["top3"]]
        assert chances == sorted(chances, reverse=True)
        assert len(chances) == 3


def test_predictions_of_the_same_second_have_folders_of_their_own(weights, photos):
    folders = {predict(weights, [str(photos / "a.png")]).folder for _ in range(3)}
    assert len(folders) == 3
    assert all({path.name for path in folder.iterdir()} == {"predictions.jsonl", "predictions.csv", "summary.json"}
               for folder in folders)  # fmt: skip


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(weights, photos):
    odd = photos / os.fsdecode(b"caf\xe9.png")
    shutil.copy(photos / "a.png", odd)
    folder = predict(weights, [str(odd)]).folder
    assert rows_of(folder)[0]["path"] == str(odd)
    assert json.loads((folder / "predictions.jsonl").read_text())["path"] == str(odd)


def test_weights_from_before_the_header_named_the_precision_still_predict(weights, photos, tmp_path):
    tensors, header = unpack_tensors(weights)
    del header["precision"]
    (old := tmp_path / "old.safetensors").write_bytes(pack_tensors(tensors, header))
    assert predict(old, [str(photos / "a.png")], ["run.precision=fp32"]).predicted == 1
    assert predict(old, [str(photos / "a.png")]).predicted == 1


def test_settings_that_would_change_the_answer_are_refused(weights, photos):
    with pytest.raises(
        ConfigError, match=r"data\.img_size=8: make predict takes only .*; all else comes from the weight file"
    ):
        predict(weights, [str(photos)], ["data.img_size=8"])


def test_a_missing_or_foreign_weight_file_is_an_error(photos, tmp_path):
    with pytest.raises(ModelError, match=r"none\.safetensors: no such weight file"):
        predict(tmp_path / "none.safetensors", [str(photos)])
    with pytest.raises(ModelError, match="not written by this pipeline"):
        predict(photos / "a.png", [str(photos)])


def test_many_files_are_decoded_at_once_to_the_same_pixels(tmp_path):
    """...and an unreadable one among them has its problem."""
    folder = make_folder(tmp_path / "many", 70)
    paths = [*sorted(path for path in folder.rglob("*.*")), tmp_path / "none.png", tmp_path]
    together, alone = list(decode_files(paths, 16)), [next(decode_files([path], 16)) for path in paths]
    assert len(together) == 212
    for one, other in zip(together, alone, strict=True):
        assert one.problem == other.problem
        assert (one.pixels is None) == (other.pixels is None)
        assert one.pixels is None or (one.pixels == other.pixels).all()
    assert [one.problem for one in together[-2:]] == ["No such file or directory", "Is a directory"]


@pytest.fixture
def run(weights, tmp_path):
    """A run folder under outputs/ of a folder of its own, with only what a prediction may need."""
    folder = tmp_path / "outputs" / "2026-01-01" / "00-00-00"
    shutil.copytree(weights.parent, folder, ignore=shutil.ignore_patterns("predictions"))
    return folder


@pytest.mark.slow
def test_the_command_prints_json_lines_only_and_says_the_rest_on_stderr(run, photos, tmp_path):
    done = called("modeling.predict", "", "photos", "weights=best", "run.device=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [
        "photos/a.png", "photos/b.jpg", "photos/deep/c.png"
    ]  # fmt: skip
    [folder] = (run / "predictions").iterdir()
    assert done.stderr.splitlines()[-1] == f"3 predicted, 3 unreadable: {folder.relative_to(tmp_path)}/"
    assert json.loads((folder / "summary.json").read_text())["weights"].endswith("best_model.safetensors")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name images: make predict"),
        (["outputs/2026-01-01/00-00-00"], "name images: make predict"),
        (["", ""], "name images: make predict"),
        (["", "photos/text.jpg"], "photos/text.jpg: no image among 1 files"),
        (["none.safetensors", "photos"], "none.safetensors: no such weight file"),
        (["outputs/2026-01-01/00-00-00/final_model.safetensors", "photos", "weights=best"], "weights=best: chooses"),
        (["", "photos", "run.colour=red"], "run.colour=red: make predict takes only"),
        (["", "nosuch", "engine=ray"], "engine=ray: Ray is not installed here: pip install"),
    ],
)
def test_a_wrong_command_is_one_message_and_exit_status_1(words, said, run, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    monkeypatch.setattr("sys.argv", ["predict", *words])
    assert main() == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"error: {said}")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_a_name_that_a_spreadsheet_would_run_is_text_in_the_table_and_itself_in_the_lines(
    weights, photos, monkeypatch, start
):
    monkeypatch.chdir(photos)
    name = f"{start}1+1,2.png"
    shutil.copy("a.png", name)
    folder = predict(weights, [f"*{name[1:]}"]).folder
    assert rows_of(folder)[0]["path"] == f"'{name}"
    assert json.loads((folder / "predictions.jsonl").read_text())["path"] == name


def test_a_name_acts_on_no_console(weights, photos, capsys):
    """Neither by colour, nor by a line that looks like one of ours, nor by turning the direction of writing."""
    set_up_logging()
    for name in ("red\x1b[31m.png", "good.png\nerror: all is lost", "\u202egnp.exe", os.fsdecode(b"caf\xe9\x9b.png")):
        (photos / name).write_text("I am no image")
    predict(weights, [str(photos)])
    said = capsys.readouterr().err
    assert not {"\x1b", "\x9b", "\u202e"} & set(said)
    assert "red\\x1b[31m.png: none of" in said
    assert "good.png\\nerror: all is lost: none of" in said
    assert "\\u202egnp.exe" in said


def test_an_error_of_one_name_is_one_line(weights, photos, monkeypatch, capsys):
    (photos / "x\nerror: all is lost\x1b[2J").mkdir()
    monkeypatch.setattr("sys.argv", ["predict", str(weights), str(photos / "x\nerror: all is lost\x1b[2J")])
    assert main() == 1
    assert "x\\nerror: all is lost\\x1b[2J: no files there" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["predict.tile_px=64", "predict.threshold=0.4"])
def test_settings_of_boxes_are_refused_where_there_are_none(word, weights):
    with pytest.raises(ConfigError, match=rf"{word}: is for models of boxes; this one is for classification"):
        predict(weights, ["photo.png"], [word])


def test_a_header_that_changed_is_noticed_by_the_receipt_beside_it(weights, photos, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(weights.parent, run, ignore=shutil.ignore_patterns("predictions"))
    content = (run / weights.name).read_bytes()
    (run / weights.name).write_bytes(content.replace(b"cat", b"bat", 1))
    with pytest.raises(ModelError, match=r"final_model\.safetensors: SHA-256 .* not what .*run\.json says"):
        predict(run / weights.name, [str(photos / "a.png")], [])
    (run / "run.json").write_text("{")  # not whole: nothing is known
    assert predict(run / weights.name, [str(photos / "a.png")], []).predicted == 1
