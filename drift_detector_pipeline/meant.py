"""The setting that a word means which is none: `lr=0.1`, `num_workers=4`, `run.device=gpu`, or a slip of the finger.

In: a word as it was typed. Out: the words to type instead, none where that would be a guess. Read by
config.py and commands.py, which say it; nothing is ever changed in silence.
"""

import difflib
import os
import re
import shlex
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.settings import Settings, Sweep, valid_keys

_ADDRESSES = ("database", "url", "uri", "webhook")


def _as_they_stand(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Keys that hold a path or an address, whatever letters it has."""
    for name, field in section.model_fields.items():
        if isinstance(kind := field.annotation, type) and issubclass(kind, BaseModel):
            yield from _as_they_stand(kind, f"{prefix}{name}.")
        elif "Path" in str(kind) or name.endswith(_ADDRESSES):
            yield prefix + name


PATHS = (*_as_they_stand(Settings), *_as_they_stand(Sweep, "sweep."), "run.resume", "hydra.run.dir")

# What other tools (Lightning, Hugging Face, timm, Ultralytics, Keras) and people call our settings; with a value
# where theirs says something else.
_PEERS = {
    "lr base_lr max_lr lr0": "training.learning_rate",
    "wd decay": "training.weight_decay",
    "epochs epoch num_epochs num_epoch n_epochs n_epoch nb_epochs": "training.epochs",
    "max_epochs total_epochs num_train_epochs": "training.epochs",
    "steps num_steps total_steps max_iter max_iters iterations": "training.max_steps",
    "bs batch train_batch_size per_device_train_batch_size samples_per_gpu ims_per_batch": "training.batch_size",
    "mini_batch_size micro_batch_size global_batch_size": "training.batch_size",
    "grad_accum accumulate_grad_batches gradient_accumulation_steps": "training.accumulate_steps",
    "opt optim": "training.optimizer",
    "momentum": "training.optimizer_options.momentum",
    "nesterov": "training.optimizer_options.nesterov",
    "betas": "training.optimizer_options.betas",
    "sched lr_scheduler lr_scheduler_type": "training.scheduler",
    "warmup warmup_ratio warmup_epochs warmup_steps warmup_iters": "training.warmup_fraction",
    "smoothing": "training.label_smoothing",
    "clip clip_grad grad_clip max_grad_norm gradient_clip_val": "training.gradient_clip_norm",
    "ema model_ema_decay": "training.ema_decay",
    "patience early_stopping": "training.early_stopping_patience",
    "profile profiler": "training.profiler.enabled",
    "workers num_workers n_workers nworkers loader_workers": "data.dataloader_workers",
    "workers_per_gpu dataloader_num_workers": "data.dataloader_workers",
    "imgsz image_size input_size size resize resolution": "data.img_size",
    "num_frames n_frames num_segments clip_len frames_per_clip": "data.k_frames",
    "clip_duration clip_length": "data.clip_seconds",
    "dataset": "data",
    "path data_dir data_path data_root root dataset_path train_dir": "data.raw_path",
    "image_dir img_dir images_dir input_dir dataset_dir": "data.raw_path",
    "url": "data.source_url",
    "val_split val_ratio val_size validation_split validation_fraction valid_pct test_size": "data.val_fraction",
    "mixup": "data.augmentation.mix=mixup",
    "cutmix": "data.augmentation.mix=cutmix",
    "hflip fliplr horizontal_flip random_flip": "data.augmentation.flip",
    "vflip flipud vertical_flip": "data.augmentation.flip_down",
    "randaugment": "data.augmentation.rand_augment.operations",
    "mosaic": "data.augmentation.mosaic",
    "scale": "data.augmentation.scale_jitter",
    "subset max_images max_samples": "data.limit",
    "arch architecture backbone network net model_name": "model.name",
    "weights checkpoint ckpt load_from": "model.pretrained_path",
    "classes nc n_classes": "model.num_classes",
    "dropout drop drop_rate": "model.options.drop_rate",
    "drop_path drop_path_rate": "model.options.drop_path_rate",
    "freeze frozen freeze_layers": "model.frozen_stages",
    "random_seed random_state manual_seed": "run.seed",
    "accelerator": "run.device",
    "gpu gpus cuda use_cuda use_gpu devices num_gpus n_gpu ngpus": "run.device=cuda",
    "cpu use_cpu no_cuda": "run.device=cpu",
    "mps use_mps": "run.device=mps",
    "amp use_amp fp16 float16 bf16 half mixed_precision": "run.precision=bf16",
    "dtype": "run.precision",
    "num_threads n_threads": "run.threads",
    "resume_from resume_from_checkpoint ckpt_path": "run.resume",
    "save_every save_steps save_freq save_period save_interval": "run.checkpoint_every",
    "out output output_dir out_dir save_dir run_dir work_dir": "hydra.run.dir",
    "default_root_dir log_dir logdir logging_dir": "hydra.run.dir",
    "conf conf_thres conf_threshold score_threshold score_thr threshold": "predict.threshold",
    "tile tile_size slice slice_size slice_height slice_width": "predict.tile_px",
    "use_wandb": "wandb.enabled",
    "wandb_project project": "wandb.project",
    "wandb_entity": "wandb.entity",
    "wandb_mode": "wandb.mode",
    "wandb_name run_name": "wandb.run_name",
    "wandb_tags tag": "wandb.tags",
    "use_mlflow": "mlflow.enabled",
    "mlflow_tracking_uri tracking_uri": "mlflow.tracking_uri",
    "mlflow_experiment experiment_name": "mlflow.project",
    "log_freq log_interval log_every log_every_n_steps logging_steps": "wandb.log_freq",
    "fpr false_alarm_rate significance": "drift.alpha",
}
# What these words say when they are switched off, as amp=false.
_OFF = {
    "run.device=cuda": "run.device=cpu",
    "run.device=cpu": "run.device=auto",
    "run.device=mps": "run.device=auto",
    "run.precision=bf16": "run.precision=fp32",
    "data.augmentation.mix=mixup": "data.augmentation.mix=null",
    "data.augmentation.mix=cutmix": "data.augmentation.mix=null",
}
_TAKE_A_DEVICE = ("gpu", "gpus", "cuda", "devices")
_UNLIKE = {"shear", "fraction", "source", "warmup_lr"}  # others' words that look like ours and say something else
_VALUES = {
    "run.device": {
        **dict.fromkeys(("gpu", "nvidia", "0", "true"), "cuda"),
        **{"metal": "mps", "apple": "mps", "false": "cpu", "none": "auto"},
    },
    "run.precision": {
        **dict.fromkeys(("16", "fp16", "float16", "half", "bfloat16", "mixed", "16-mixed", "bf16-mixed"), "bf16"),
        **dict.fromkeys(("32", "float32", "full", "32-true"), "fp32"),
    },
    "training.scheduler": {
        **{"cosine": "CosineAnnealingLR", "cosine_annealing": "CosineAnnealingLR", "step": "StepLR"},
        **{"onecycle": "OneCycleLR", "one_cycle": "OneCycleLR", "constant": "none", "null": "none"},
    },
    "training.optimizer": dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adamw_hf"), "adamw"),
    "training.early_stopping_patience": {"true": "5", "false": "null"},
    "training.ema_decay": {"true": "0.999", "false": "null"},
    "run.resume": {"true": "auto", "false": "null"},
    "wandb.mode": {**dict.fromkeys(("false", "off", "none", "null"), "disabled"), "true": "online", "on": "online"},
    "data.balance": {"true": "sampling", "oversampling": "sampling", "weighted": "weights", "false": "none"},
}
_W_AND_B = {
    **dict.fromkeys(("false", "off", "none", "disabled", "0", "no"), "wandb.enabled=false"),
    **dict.fromkeys(("true", "on", "1", "yes"), "wandb.enabled=true"),
    **{"online": "wandb.mode=online", "offline": "wandb.mode=offline"},
}
_OURS = {name: setting for names, setting in _PEERS.items() for name in names.split()}
_IN_DOUBLE_QUOTES = re.compile(r'["$`\\]')  # what a shell does not leave as it is there
_ALIKE = 0.8  # of 1: letters in common, from which on a slip is no guess
PATTERNS = {
    "run.device": "auto, cpu, mps, cuda or cuda:1",
    "data.name": "of letters, digits, dots, dashes and _",
    **dict.fromkeys(
        ("serving.database", "monitor.database"),
        "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME, also where DATABASE_URL says it",
    ),
    "mlflow.tracking_uri": "without a password; MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD are read",
    "trackio.server_url": "an http address without a token; TRACKIO_WRITE_TOKEN is read",
}
GRAMMAR = (
    "a dictionary is written as {momentum: 0.9}, and an unusual path in quotes of its own: "
    "'data.raw_path=\"my photos (1)\"'"
)
FREE_FORM = ("model.options", "training.optimizer_options", "serving.canary")  # dictionaries whose keys others define


def is_setting(key: str) -> bool:
    """Whether a dotted key is one, or a part of the settings, such as `data.augmentation`."""
    sections = {name.rpartition(".")[0] for name in valid_keys()}
    return key in {*valid_keys(), *sections} or key.startswith(tuple(f"{name}." for name in FREE_FORM))


def meant(word: str, files: Sequence[str] = ()) -> list[str]:
    """What to type instead of `word`, whose key is none or which names none of a section's `files`; nothing: a guess.

    Nothing, too, if `word` is right. Two words where one would not do: an unknown `data=PATH` is
    `data=folder data.raw_path=PATH`.
    """
    key, sign, value = word.lstrip("+~-").partition("=")
    if value in files:
        return []
    if key in Settings.model_fields:
        return _section_meant(key, value, files)
    if near := _slip_of(value, files):
        return [f"{word.partition('=')[0]}={near}"]
    if not sign or is_setting(key) or key.startswith("hydra.") or (ours := key_meant(key)) is None:
        return []
    if "=" in ours:
        return [_OFF[ours] if _is_off(key, value) else ours]
    if ours == "model.pretrained" and re.search(r"[/\\.]", value):
        return [f"model.pretrained_path={value}"]
    if ours == "data":
        return _section_meant("data", value, ()) or [f"data={value}"]
    return [f"{ours}={value_meant(ours, value) or value}"]


def key_meant(key: str) -> str | None:
    """The setting that `key` means, with its section; None if nothing or several are as near."""
    name = re.sub("(?<=[a-z])(?=[A-Z])", "_", key.rpartition(".")[2]).lower().replace("-", "_")
    if name in _OURS:
        return _OURS[name]
    if name in _UNLIKE:
        return None
    keys = list(valid_keys())
    if len(same := [one for one in keys if one.endswith(f".{name}")]) == 1:
        return same[0]
    if close := difflib.get_close_matches(key, keys, n=1, cutoff=_ALIKE):
        return close[0]
    names = {one.rpartition(".")[2]: one for one in keys}
    close = difflib.get_close_matches(name, names, n=1, cutoff=_ALIKE)
    return names[close[0]] if close and sum(one.endswith(f".{close[0]}") for one in keys) == 1 else None


def value_meant(key: str, value: object, choices: Sequence[str] = ()) -> str | None:
    """The value of a setting that `value` means, one of `choices` if there are any; None if that is a guess."""
    word = str(value).lower()
    if found := _VALUES.get(key, {}).get(word):
        return found
    if key == "run.device" and word.isdigit():
        return f"cuda:{word}"
    if key == "wandb.tags" and not word.startswith("["):
        return f"[{value}]"
    if key.startswith("data.augmentation.flip") and re.fullmatch(r"[\d.]+", word):  # a probability
        return str(word.strip("0.") != "").lower()
    lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word, lower, n=1, cutoff=_ALIKE)
    return lower[close[0]] if close else None


def check_form(words: Sequence[str]) -> None:
    """Raise ConfigError unless each word has the form of a setting, such as training.epochs=5."""
    if dashed := next((word for word in words if word.startswith("-")), None):
        key, _, value = dashed.lstrip("-").partition("=")
        typed = key if is_setting(key) else key_meant(key) or "training.epochs"
        raise ConfigError(f"{dashed}: a setting is one word without dashes, such as {typed}={value or '...'}")
    for word in words:
        parts = [] if word.partition("=")[0].lstrip("+") in PATHS else word.split()
        if len(parts) > 1 and all(re.match(r"\+*[\w.]+=", part) for part in parts):
            raise ConfigError(f"{word}: each setting is a word of its own, in no quotes with others: {as_typed(parts)}")
        if not re.match(r"~|\+*[^+=]+=", word):
            raise ConfigError(f"{word}: a setting has a name and a value, such as run.seed=5{if_split(words)}")


def if_split(words: Sequence[str]) -> str:
    """The words as they are typed if a shell has split a path of theirs at its spaces; empty if it has not."""
    whole = list[str]()
    for word in words:
        if word and "=" not in word and whole and whole[-1].partition("=")[0] in PATHS:
            whole[-1] += f" {word}"
        else:
            whole.append(word)
    return f"; a value with spaces needs quotes of its own: {as_typed(whole)}" if len(whole) < len(words) else ""


def as_typed(words: Sequence[str]) -> str:
    """Words in the quotes that a shell wants, in ARGS if it was make that brought them."""
    return for_make(words) if os.environ.keys() & {"MAKELEVEL", "PIPELINE_IMAGE"} else shlex.join(words)


def for_make(words: Sequence[str]) -> str:
    """Words as one ARGS=..., in quotes that a shell leaves as they are, twice: once before make and once behind it."""
    line = shlex.join(words)
    return shlex.quote(f"ARGS={line}") if _IN_DOUBLE_QUOTES.search(line) else f'ARGS="{line}"'


def _slip_of(value: str, files: Sequence[str]) -> str | None:
    """The file that is meant by a slip of the finger or a name cut short; None where it may be another network's name.

    `resnet50d` and `efficientnet_b1` are no slips of `resnet50` and `efficientnet_b0`.
    """
    word = value.lower()
    near = [name for name in files if word and (name.startswith(word) or sorted(name) == sorted(word))]
    near += [name for name in files if _is_a_letter_off(word, name)]
    for name in near[:1] or difflib.get_close_matches(word, files, n=1, cutoff=_ALIKE):
        longer = re.match(rf"{re.escape(name)}[_.]" if name.isalpha() else re.escape(name), word)
        if near or (not longer and re.findall(r"\d+", name) == re.findall(r"\d+", word)):
            return name
    return None


def _is_a_letter_off(word: str, name: str) -> bool:
    """Whether one letter of a word of at least four is another one."""
    other = [pair for pair in zip(word, name, strict=False) if pair[0] != pair[1]]
    return len(word) == len(name) > 3 and len(other) == 1 and "".join(other[0]).isalpha()


def _is_off(key: str, value: str) -> bool:
    """Whether a switch of others is off; where a key takes a device, 0 is the first one's number."""
    return value.lower() in ("false", "off", "no", "none", "null") or (
        key.rpartition(".")[2].lower() not in _TAKE_A_DEVICE and re.fullmatch(r"0*\.?0+", value) is not None
    )


def _section_meant(section: str, value: str, files: Sequence[str]) -> list[str]:
    """What is meant by a section that is given something else than one of its files."""
    if section == "wandb" and value.lower() in _W_AND_B:
        return [_W_AND_B[value.lower()]]
    if section == "data" and re.search(r"[/\\.~]", value):
        return ["data=folder", f"data.raw_path={value}"]
    if near := _slip_of(value, files):
        return [f"{section}={near}"]
    return [f"model.name={value}"] if section == "model" and value else []
