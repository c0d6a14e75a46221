"""config.py: what is wrong is said before anything starts, with the key, the nearest valid one and the place."""

import math
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, run_module
from omegaconf import OmegaConf

from drift_detector_pipeline import config, settings
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.settings import Run, Wandb

OWN = (["data=folder"], ["data=boxes"], ["data=clips"])  # which name no source of their own


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(overrides)
    return str(caught.value)


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ that a test may spoil, in use."""
    monkeypatch.setattr(config, "CONF", Path(shutil.copytree(config.CONF, tmp_path / "conf")))
    return config.CONF


def spoil(file: Path, line: str) -> None:
    file.write_text(f"{file.read_text()}\n{line}\n")


@pytest.mark.parametrize("key", sorted(settings.valid_keys()))
def test_a_slip_in_any_key_names_that_key_first(key: str) -> None:
    slip = key[:-2] + key[-1]  # one letter is lost
    said = refusal(f"{slip}=1")
    assert said.startswith(f"{slip}: no such key; did you mean {key}? Type ")
    assert f"{key}=" in said.partition("Type ")[2]


def test_all_keys_of_the_section_are_listed() -> None:
    said = refusal("training.foo=1")
    assert all(key in said for key in settings.valid_keys() if key.startswith("training."))


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("dta", "data"), ("name", "data.name"), ("enabled", "wandb.enabled")],
)
def test_a_key_in_no_section_that_may_mean_several_names_the_nearest_of_all(wrong: str, nearest: str) -> None:
    assert f"nearest valid keys: {nearest}," in refusal(f"{wrong}=1")


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("lr=0.1", "training.learning_rate=0.1"),
        ("learning_rate=1e-3", "training.learning_rate=1e-3"),
        ("training.lr=1", "training.learning_rate=1"),
        ("run.learning_rate=1", "training.learning_rate=1"),
        ("lerning_rate=1", "training.learning_rate=1"),
        ("num_workers=4", "data.dataloader_workers=4"),
        ("epochs=5", "training.epochs=5"),
        ("trainig.epochs=5", "training.epochs=5"),
        ("trainer.max_epochs=5", "training.epochs=5"),
        ("batch=32", "training.batch_size=32"),
        ("batchsize=32", "training.batch_size=32"),
        ("data.batch_size=32", "training.batch_size=32"),
        ("device=gpu", "run.device=cuda"),
        ("gpu=1", "run.device=cuda"),
        ("seed=3", "run.seed=3"),
        ("optimizer=adam", "training.optimizer=adam"),
        ("amp=true", "run.precision=bf16"),
        ("amp=false", "run.precision=fp32"),
        ("fp16=0", "run.precision=fp32"),
        ("use_gpu=false", "run.device=cpu"),
        ("no_cuda=true", "run.device=cpu"),
        ("no_cuda=0", "run.device=auto"),
        ("num_gpus=0", "run.device=cpu"),
        ("use_gpu=0", "run.device=cpu"),
        ("gpus=0", "run.device=cuda"),
        ("trainer.devices=1", "run.device=cuda"),
        ("mixup=0.2", "data.augmentation.mix=mixup"),
        ("mixup=0.0", "data.augmentation.mix=null"),
        ("fliplr=0.5", "data.augmentation.flip=true"),
        ("hflip=0", "data.augmentation.flip=false"),
        ("flipud=0.5", "data.augmentation.flip_down=true"),
        ("resume=true", "run.resume=auto"),
        ("early_stopping=true", "training.early_stopping_patience=5"),
        ("ema=true", "training.ema_decay=0.999"),
        ("optim=adamw_torch", "training.optimizer=adamw"),
        ("pretrained=best.pt", "model.pretrained_path=best.pt"),
        ("numWorkers=3", "data.dataloader_workers=3"),
        ("batchSize=3", "training.batch_size=3"),
        ("n_epoch=3", "training.epochs=3"),
        ("SOLVER.IMS_PER_BATCH=2", "training.batch_size=2"),
        ("data.workers_per_gpu=2", "data.dataloader_workers=2"),
        ("test_size=0.2", "data.val_fraction=0.2"),
        ("default_root_dir=x", "hydra.run.dir=x"),
        ("save_period=5", "run.checkpoint_every=5"),
        ("lifecycle=heel", "lifecycle=heal"),
        ("wandb=false", "wandb.enabled=false"),
        ("wandb=offline", "wandb.mode=offline"),
        ("dataset=cifar10", "data=cifar10"),
        ("data=/my/photos", "data=folder data.raw_path=/my/photos"),
        ("model=resnet50d", "model.name=resnet50d"),
        ("model=efficientnet_b1", "model.name=efficientnet_b1"),
        ("model=mpl", "model=mlp"),
        ("model=yolox_lite", "model=yolox_lite0"),
        ("model=renset18", "model=resnet18"),
        ("data=cifar", "data=cifar10"),
        ("+experiment=quickstrt", "+experiment=quickstart"),
        ("output_dir=x", "hydra.run.dir=x"),
        ("data.augmentation.color_jitter.hue=0.1", "data.augmentation.colour_jitter.hue=0.1"),
    ],
)
def test_what_other_tools_call_a_setting_is_answered_with_ours_as_it_is_typed(
    typed: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKELEVEL", "1")
    assert refusal(typed, "data.limit=9").endswith(f'? Type ARGS="{right} data.limit=9"')
    for name in ("MAKELEVEL", "PIPELINE_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    assert refusal(typed).endswith(f"? Type {right}")
    config.load([re.sub(r"name=.*", "name=mlp", word) for word in right.split()])  # and that is read


@pytest.mark.parametrize("word", ["shear=0.1", "source=photos", "warmup_lr=1e-6", "fraction=0.5"])
def test_others_words_that_only_look_like_ours_are_no_slips_of_them(word: str) -> None:
    assert "did you mean" not in refusal(word)


def test_a_path_that_a_shell_split_at_its_spaces_is_answered_with_its_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKELEVEL", "1")
    said = refusal("data=folder", "data.raw_path=my", "own", "photos", "training.epochs=2")
    assert said.startswith("own: a setting has a name and a value")
    assert said.endswith("of its own: ARGS=\"data=folder 'data.raw_path=my own photos' training.epochs=2\"")
    for words in ("mlp training.epochs=2", "training.epochs=2 mlp", "training.epochs 2", "run.seed=5 "):
        assert "quotes" not in refusal(*words.split(" "))


def test_all_wrong_words_are_right_in_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKELEVEL", "1")
    said = refusal("+experiment=quickstart", "data.raw_path=a b", "epochs=2", "lr=1")
    right = "+experiment=quickstart 'data.raw_path=a b' training.epochs=2 training.learning_rate=1"
    assert said.endswith(f'Type ARGS="{right}"')


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("run.device=gpu", "run.device=cuda"),
        ("run.device=1", "run.device=cuda:1"),
        ("run.precision=16", "run.precision=bf16"),
        ("training.scheduler=cosine", "training.scheduler=CosineAnnealingLR"),
        ("training.scheduler=onecyclelr", "training.scheduler=OneCycleLR"),
        ("wandb.mode=offlin", "wandb.mode=offline"),
    ],
)
def test_a_value_that_means_another_is_answered_with_that(typed: str, right: str) -> None:
    assert f"; did you mean {right}?" in refusal(typed)


@pytest.mark.parametrize(
    ("typed", "right"), [("--lr=0.1", "training.learning_rate=0.1"), ("--run.seed=3", "run.seed=3"), ("-e", "=...")]
)
def test_a_word_with_dashes_is_answered_with_the_word_without(typed: str, right: str) -> None:
    assert refusal(typed).endswith(right)


@pytest.mark.parametrize("plus", ["", "+", "++", "~"])
def test_no_sign_lets_an_unknown_key_in(plus: str) -> None:
    assert refusal(f"{plus}training.epoch=1").startswith("training.epoch: no such key")


def test_an_unknown_choice_of_a_group_names_the_files() -> None:
    said, _, names = refusal("data=digit").partition("; did you mean")[0].partition("; choose from ")
    assert said == "data=digit: no such file in conf/data/" and names.startswith("digits, ")
    assert set(names.split(", ")) == {path.stem for path in (ROOT / "conf" / "data").glob("[!_]*.yaml")}
    assert "choose from" in refusal("+experiment=nope")


def test_an_experiment_without_its_plus_says_so() -> None:
    assert "+experiment=quickstart" in refusal("experiment=quickstart")


def test_an_experiment_changes_what_it_names() -> None:
    assert config.load(["+experiment=quickstart"]).settings.data.name == "digits"
    assert config.load(["+experiment=quickstart", "data=cifar10"]).settings.data.name == "cifar10"


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("training.epochs=abc", "valid integer"),
        ("training.epochs=1.5", "valid integer"),
        ("training.epochs=true", "valid integer"),
        ("training.epochs=0", "greater than or equal to 1"),
        ("training.epochs=null", "valid integer"),
        ("training.learning_rate=0", "greater than 0"),
        ("training.learning_rate=nan", "finite"),
        ("training.weight_decay=inf", "finite"),
        ("training.scheduler=Cosine", "'CosineAnnealingLR'"),
        ("training.sizes_px=[4]", "greater than or equal to 8"),
        ("training.optimizer_options=3", "dictionary"),
        ("data.val_fraction=1", "less than 1"),
        ("data.fit_fraction=-0.1", "greater than or equal to 0"),
        ("data.augmentation.flip=maybe", "valid boolean"),
        ("data.augmentation={min_area: 3}", "less than or equal to 1"),
        ("data.augmentation.colour_jitter.hue=0.6", "less than or equal to 0.5"),
        ("data.augmentation.rand_augment={operations: 2, magnitude: 31}", "less than or equal to 30"),
        ("data.augmentation.mix=blend", "'mixup'"),
        ("data.augmentation.mix_alpha=0", "greater than 0"),
        ("data.balance=true", "'sampling'"),
        ("data.limit=0", "greater than or equal to 1"),
        ("data.name=a/b", "of letters, digits"),
        ("run.device=gpu", "should be auto, cpu, mps, cuda or cuda:1"),
        ("run.seed=-1", "greater than or equal to 0"),
        ("run.threads=many", "'auto'"),
    ],
)
def test_a_wrong_type_or_range_names_key_reason_value_and_place(override: str, reason: str) -> None:
    key, _, value = override.partition("=")
    said = refusal(override)
    assert said.startswith(key) and reason in said and "given on the command line" in said
    assert value.strip("[]").split(": ")[-1].strip("}").lower() in said.lower().replace("none", "null")


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["training.sizes_px=[16,32]", "training.epochs=3"], ["training.sizes_px", "training.epochs=3"]),
        (["data.raw_path=null"], ["data.raw_path", "data.raw_path=PATH"]),
        (["data.augmentation.shift_px=128"], ["data.augmentation.shift_px=128", "data.img_size"]),
        (["data.augmentation.shift_px=20", "training.sizes_px=[16,32]", "training.epochs=2"], ["16 px"]),
    ],
)  # fmt: skip
def test_values_that_contradict_each_other_are_named_together(overrides: list[str], keys: list[str]) -> None:
    said = refusal(*overrides)
    assert all(key in said for key in keys)


def test_all_problems_are_told_at_once() -> None:
    said = refusal("training.epochs=0", "run.seed=x")
    assert "training.epochs" in said and "run.seed" in said


def test_a_missing_value_is_asked_for() -> None:
    assert refusal("data=folder") == "data.raw_path: a value is needed; pass data.raw_path=VALUE"
    assert "training.epochs=VALUE" in refusal("~training.epochs")


def test_interpolation_follows_the_key_it_names() -> None:
    assert config.load(["data.name=mine"]).settings.data.processed_path == Path("data/processed/mine")
    assert config.load(["data.processed_path=x/${data.name}"]).settings.data.processed_path == Path("x/imagenette")


@pytest.mark.parametrize(
    "override", ["data.processed_path=${data.nope}", "hydra.run.dir=${nope}", "run.resume=${oc.env:_NO}"]
)
def test_an_interpolation_that_leads_nowhere_names_the_key(override: str) -> None:
    assert f"full_key: {override.partition('=')[0]}" in refusal(override)


@pytest.mark.parametrize(
    "override",
    ["training.epochs", "training.epochs=${x", "training.epochs=1,2", "hydra.run.dirr=x", "hydra=x", "=3",
     "data=null", "~data", "data=[digits,folder]", "+training=default", "data@x=digits", "training={epochs: 3}"],
)  # fmt: skip
def test_what_cannot_be_read_is_a_config_error(override: str) -> None:
    assert refusal(override)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("training.epochs", "training.epochs: a setting has a name and a value"),
        ("=3", "=3: a setting has a name and a value"),
        ("photos (1)", "photos (1): a setting has a name and a value"),
        ("+training.epochs=3", "+training.epochs=3: training.epochs is there already; leave out the plus"),
    ],
)
def test_a_slip_of_the_grammar_is_told_in_our_words(word: str, said: str) -> None:
    assert refusal(word).startswith(said)


def test_the_word_that_cannot_be_read_is_named_without_the_others() -> None:
    said = refusal("run.seed=2", "training.optimizer_options={momentum 0.9}", "run.threads=1")
    assert said.startswith("training.optimizer_options={momentum 0.9}: cannot be read (")
    assert "a dictionary is written as {momentum: 0.9}" in said and "\n" not in said and "hydra.cc" not in said


def test_settings_in_one_pair_of_quotes_are_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAKELEVEL", raising=False)
    monkeypatch.delenv("PIPELINE_IMAGE", raising=False)
    said = refusal("data=digits training.epochs=1", "run.seed=2")
    assert said.endswith("each setting is a word of its own, in no quotes with others: data=digits training.epochs=1")
    given = ["data=folder", "data.raw_path=a b=c d=e"]
    assert config.load(given).settings.data.raw_path == Path("a b=c d=e")


def test_free_form_options_take_any_key() -> None:
    given = ["model.options.drop_path_rate=0.1", "training.optimizer_options={momentum: 0.9, betas: [0.9, 0.99]}"]
    settings = config.load(given).settings
    assert settings.model.options == {"drop_path_rate": 0.1}
    assert settings.training.optimizer_options == {"momentum": 0.9, "betas": [0.9, 0.99]}


def test_the_run_folder_is_known_to_be_chosen() -> None:
    chosen = config.load(["hydra.run.dir=outputs/mine"])
    assert (chosen.run_folder, chosen.run_folder_chosen) == (Path("outputs/mine"), True)
    assert not config.load([]).run_folder_chosen


def test_a_section_is_read_without_the_others(own_conf: Path) -> None:
    shutil.rmtree(own_conf / "data")
    run = config.load_section(Run, ["run.threads=2", "training.epochs=3", "run.device='cpu'"])
    assert (run.threads, run.device, run.seed) == (2, "cpu", 42)


def test_a_section_resolves_what_its_file_and_words_take_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    found = config.load_section(Wandb, ["wandb.entity=${oc.env:WANDB_PROJECT}"])
    assert (found.project, found.entity) == ("mine", "mine")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("run.threads=0", r"run\.threads: .*got 0 \(given on the command line\)"),
        ("run.thread=1", r"run\.thread: no such key; valid keys, the nearest first: run\.threads, "),
        ("run.threads=1,2", "run.threads=1,2: one value is expected"),
        ("~run.threads", "~run.threads: one value is expected"),
        ("run.device=${nowhere}", "cannot resolve a value"),
    ],
)
def test_a_wrong_word_for_a_section_is_refused_as_everywhere(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.load_section(Run, [word])


def test_a_wrong_value_in_the_file_of_a_section_names_that_file(own_conf: Path) -> None:
    file = own_conf / "run" / "default.yaml"
    file.write_text(file.read_text().replace("checkpoint_every: 100", "checkpoint_every: never"))
    with pytest.raises(ConfigError, match=r"run\.checkpoint_every: .*got 'never' \(in conf/run/default\.yaml\)"):
        config.load_section(Run, [])
    file.write_text("seed: [1")
    with pytest.raises(ConfigError, match=r"cannot read conf/run/default\.yaml"):
        config.load_section(Run, [])


@pytest.mark.parametrize(
    ("file", "line", "key", "overrides"),
    [
        ("training/default.yaml", "epoch: 3", "training.epoch", []),
        ("data/digits.yaml", "flip: true", "data.flip", ["data=digits"]),
        ("data/_base.yaml", "val_fracton: 0.1", "data.val_fracton", []),
        ("experiment/quickstart.yaml", "model: { nam: resnet34 }", "model.nam", ["+experiment=quickstart"]),
        ("experiment/quickstart.yaml", "modle: { name: resnet34 }", "modle", ["+experiment=quickstart"]),
        ("config.yaml", "epochs: 3", "epochs", []),
    ],
)
def test_a_wrong_key_in_a_file_names_that_file(
    own_conf: Path, file: str, line: str, key: str, overrides: list[str]
) -> None:
    spoil(own_conf / file, line)
    said = refusal(*overrides)
    assert said.startswith(f"{key}: no such key") and f"(in conf/{file})" in said


@pytest.mark.parametrize("file", ["run/default.yaml", "data/_base.yaml", "experiment/quickstart.yaml"])
def test_a_wrong_value_in_a_file_names_that_file(own_conf: Path, file: str) -> None:
    key = {"run": "seed", "data": "max_bad_images", "experiment": "epochs"}[file.split("/")[0]]
    lines = [
        f"{line.partition(':')[0]}: x" if f"{key}:" in line else line
        for line in (own_conf / file).read_text().split("\n")
    ]
    (own_conf / file).write_text("\n".join(lines))
    said = refusal(*(["+experiment=quickstart"] if "experiment" in file else []))
    assert f"{key}: Input should be a valid integer, got 'x' (in conf/{file})" in said


def test_a_comment_that_mentions_a_key_is_not_taken_for_its_place(own_conf: Path) -> None:
    spoil(own_conf / "data" / "_base.yaml", "nonsense: 1")
    spoil(own_conf / "data" / "imagenette.yaml", "# nonsense: is not set here")
    assert "(in conf/data/_base.yaml)" in refusal()


def test_a_file_that_is_no_yaml_is_named(own_conf: Path) -> None:
    spoil(own_conf / "run" / "default.yaml", "seed: [1")
    assert "run/default.yaml" in refusal()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# gr\xfc\xdfe\nseed: 0\n", "line 1 is no UTF-8 (byte 0xfc)"),
        (b"null: 1\n", "Incompatible key type 'NoneType'"),
        (b"seed: ${nope\n", "no viable alternative"),
        (b"5\n", "Invalid loaded object type: int"),
        (b"[" * 3000, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_stands_there(own_conf: Path, content: bytes, said: str) -> None:
    (own_conf / "run" / "default.yaml").write_bytes(content)
    assert refusal().startswith(f"cannot read conf/run/default.yaml: {said}")
    with pytest.raises(ConfigError, match=re.escape(f"conf/run/default.yaml: {said}")):
        config.load_section(settings.Run, [])


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ("defaults: default", "`defaults` is a list"),
        ("defaults: [mine]", "no file there may name itself"),
        ("", "conf/model/mine.yaml"),  # and not default.yaml, which it does not begin with
    ],
)
def test_an_own_file_of_a_group_that_begins_wrongly_says_how_it_begins(
    own_conf: Path, defaults: str, said: str
) -> None:
    (own_conf / "model" / "mine.yaml").write_text(f"{defaults}\nname: mlp\n")
    assert said in refusal("model=mine")


def test_an_experiment_says_what_a_file_must_say(own_conf: Path) -> None:
    mine = own_conf / "experiment" / "mine.yaml"
    mine.write_text("training: { epochs: 1 }\n")
    assert "`# @package _global_`" in refusal("+experiment=mine")
    mine.write_text("# @package _global_\ntraining.epochs: 1\n")
    assert "training > epochs (in conf/experiment/mine.yaml)" in refusal("+experiment=mine")


def test_a_file_of_a_group_may_have_any_name(own_conf: Path) -> None:
    for name in ("2024", "true", "a=b"):
        (own_conf / "model" / f"{name}.yaml").write_text("defaults: [default]\nname: mlp\n")
    (own_conf / "model" / "short.yml").write_text("name: mlp\n")
    assert {config.load([f"model={name}"]).settings.model.name for name in ("2024", "true", "a=b")} == {"mlp"}
    assert "short.yml must end in .yaml" in refusal("model=short")


def test_a_list_of_defaults_that_was_lost_is_named(own_conf: Path) -> None:
    (own_conf / "config.yaml").write_text("# nothing\n")
    assert "The list `defaults` in that file has every group" in refusal("data=digits")


def shipped() -> list[list[str]]:
    groups = config.group_choices()
    sections = [[f"{group}={name}"] for group in groups if group != "experiment" for name in groups[group]]
    return sections + [[f"+experiment={name}"] for name in groups["experiment"]]


@pytest.mark.parametrize("overrides", shipped(), ids=lambda overrides: str(overrides[0]))
def test_every_shipped_file_composes_to_the_keys_of_the_schema_and_no_other(overrides: list[str]) -> None:
    composed = config.load([*overrides, "data.raw_path=x"] if overrides in OWN else overrides)
    assert set(leaves(OmegaConf.to_container(OmegaConf.create(composed.config_yaml)))) == set(settings.valid_keys())


def leaves(node: object, prefix: str = "") -> list[str]:
    free_form = prefix in ("model.options.", "training.optimizer_options.", "serving.canary.")
    if not isinstance(node, dict) or free_form:
        return [prefix.rstrip(".")]
    return [key for name, child in node.items() for key in leaves(child, f"{prefix}{name}.")]


def test_every_yaml_below_conf_is_reached_by_a_group() -> None:
    named = {f"{group}/{name}.yaml" for group, names in config.group_choices().items() for name in names}
    files = {path.relative_to(config.CONF).as_posix() for path in config.CONF.rglob("*.yaml")}
    assert files - named == {"config.yaml", "sweep.yaml", "wandb_sweep.yaml", "data/_base.yaml"}


def test_the_written_yaml_gives_the_same_settings_again() -> None:
    composed = config.load(["+experiment=quickstart", "training.learning_rate=3e-4"])
    again = settings.Settings.model_validate(OmegaConf.to_container(OmegaConf.create(composed.config_yaml)))
    assert again == composed.settings
    assert math.isclose(again.training.learning_rate, 3e-4)


@pytest.mark.parametrize("override", ["training.epoch=3", "training.epochs=x", "data=folder", "hydra.run.dir=${nope}"])
def test_a_command_shows_the_error_without_traceback(override: str) -> None:
    done = run_module("dataset", override)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr + done.stdout


def test_nothing_is_left_behind_by_a_wrong_command(tmp_path: Path) -> None:
    assert run_module("dataset", "data.nam=x", cwd=tmp_path).returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", ["cifar10", "digits", "folder", "imagenette"])  # of which there are such receipts
def test_settings_that_came_later_are_off_by_default_in_conf_as_in_receipts_without_them(data: str) -> None:
    """A receipt from before reads as these defaults, and at its default a setting leaves no trace in an identity."""
    composed = config.load([f"data={data}", *(["data.raw_path=x"] if data == "folder" else [])]).settings.data
    for section in (composed, composed.augmentation, composed.augmentation.colour_jitter):
        for name, field in type(section).model_fields.items():
            if not field.is_required() and name != "cutout_px":
                assert getattr(section, name) == field.default


ODD_PATHS = [
    "archive (1)", "run=3", "set[1]", "{a}", "Fotos Jürgen", "猫/犬", "a,b", "cats&dogs", "$5_$10", "a#b", "it's",
    'x"y', "[a\\", 'b \\"c', " a ", "12", "true", "-1", "a~b", "glob(x)", "50% off!", "a:b c", "key: value", "plain",
    "C:\\temp\\new photos", "C:/Users/me",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_path_is_what_was_typed_whatever_letters_it_has(path: str) -> None:
    words = [f"data.raw_path=/x/{path}", f"run.resume=/y/{path}"]
    composed = config.load([*words, "data.stored_side_px=32"])
    found = composed.settings.data.raw_path, Path(str(composed.settings.run.resume))
    assert found == (Path(f"/x/{path}"), Path(f"/y/{path}"))
    assert composed.overrides[:2] == words


def test_paths_in_quotes_of_their_own_or_escaped_are_read_as_before() -> None:
    for word in ('data.raw_path="a,b"', "data.raw_path='a,b'", r"data.raw_path=a\,b"):
        assert config.load([word]).settings.data.raw_path == Path("a,b")
    assert config.load(["data=digits", "data.raw_path=null"]).settings.data.raw_path is None


def test_a_run_folder_and_the_home_folder_are_paths_too() -> None:
    assert config.load(["hydra.run.dir=/x/run (1),[2]"]).run_folder == Path("/x/run (1),[2]")
    assert config.load(["data.raw_path=~/a b"]).settings.data.raw_path == Path.home() / "a b"


def test_every_setting_that_holds_a_path_or_an_address_is_what_was_typed() -> None:
    keys = [key for key in config.PATHS if "." in key and not key.startswith("hydra.")]
    assert {"model.backbone_run", "lifecycle.images", "trackio.folder", "monitor.webhook", "sweep.dir"} <= set(keys)
    for key in keys:
        for value in ("https://host/x?token=a,b&c=(d)", "set[1]/run=3"):
            [override] = config.parse([config.as_in_a_shell(f"{key}={value}")])
            assert (override.key_or_group, override.value()) == (key, value)


@pytest.mark.parametrize("name", ["serving", "monitor"])
def test_an_address_of_a_database_is_refused_without_its_password(name: str) -> None:
    said = refusal(f"{name}.database=mysql://me:hidden@host/x")
    assert f"{name}.database: should be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME" in said
    assert "hidden" not in said and "mysql://me:***@host/x" in said
    address = "postgres://me:hidden@host/x"  # as some hosts write it
    assert getattr(config.load([f"{name}.database={address}"]).settings, name).database == address


def test_where_a_path_cannot_be_guessed_the_error_shows_its_quotes() -> None:
    with pytest.raises(ConfigError, match=r"""'data.raw_path="my photos \(1\)"'"""):
        config.parse(["data.raw_path=/x/archive (1)"])


@pytest.mark.parametrize("key", ["data.raw_path", "data.processed_path", "export.path", "serving.keep_images"])
@pytest.mark.parametrize("value", ["", '" "'])
def test_an_empty_path_is_not_the_folder_one_stands_in(key: str, value: str) -> None:
    assert f"{key}: Input should be a path that is not empty, got " in refusal(f"{key}={value}")
    assert "a folder is expected, such as hydra.run.dir=outputs/first" in refusal(f"hydra.run.dir={value}")


@pytest.mark.parametrize("word", ["training.epochs=1,2", "data=digits,folder", "run.seed=range(1,3)"])
def test_several_values_are_refused_where_one_is_expected(word: str) -> None:
    assert refusal(word).startswith(f"{word}: one value is expected; a list stands in brackets, and make sweep tries")


def test_numbers_that_are_slips_are_refused_before_an_array_has_that_length() -> None:
    assert "run.threads: Input should be less than or equal to 4096" in refusal("run.threads=1000000")
    assert "training.batch_size: Input should be less than" in refusal("training.batch_size=99999999999999999999")
    assert "run.resume: String should have at least 1 character" in refusal("run.resume=")
