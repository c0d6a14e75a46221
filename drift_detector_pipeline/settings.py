"""What can be set, with types, ranges and meanings: the schema of conf/.

Read by config.py, which fills and checks it, and by every stage that is given a part of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
FilePath = Annotated[Path, Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ColourJitter(_Section):
    """How far the colours of a training image may stray; see `distortions.jitter_colours`. 0: not at all."""

    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0  # 0.4: by a factor of 0.6 to 1.4; so are the next two
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # in turns of the colour circle, either way


class RandAugment(_Section):
    """A few of 14 distortions, all of one strength; see `distortions.rand_augment`."""

    operations: Annotated[int, Field(ge=0, le=14)] = 0  # one after another, each drawn anew; 0: off
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9  # 0 hardly any, 30 the strongest


class Augmentation(_Section):
    """How a stored image becomes a training image; see `augmentation.augment`."""

    min_area: Annotated[float, Field(gt=0, le=1)]  # smallest share of the image a random resized crop keeps; 1: off
    shift_px: Annotated[int, Field(ge=0)]  # largest shift in each direction, at the training size; 0: off
    flip: bool  # mirror left and right, half of the time
    cutout_px: Annotated[int, Field(ge=0)] = 0  # side of a square that is covered, at the training size; 0: off
    colour_jitter: ColourJitter = ColourJitter()
    rand_augment: RandAugment = RandAugment()
    mix: Literal["mixup", "cutmix"] | None = None  # with another training image, labels by share; see `mixing`
    mix_alpha: Annotated[float, Field(gt=0)] = 1.0  # shares are drawn from Beta(alpha, alpha); 1: all equally likely


class Data(_Section):
    """Where images come from and how they are stored."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    raw_path: FilePath | None  # archive or folder; null only for the embedded digits
    source_url: str | None  # public address of the archive
    processed_path: FilePath
    stored_side_px: Annotated[int, Field(ge=8, le=2048)]  # shorter side of packed images
    img_size: Annotated[int, Field(ge=8, le=2048)]  # side of the model input
    dataloader_workers: Annotated[int, Field(ge=0, le=256)]
    val_fraction: Fraction
    fit_fraction: Fraction
    max_bad_images: Annotated[int, Field(ge=0)]
    balance: Literal["none", "sampling", "weights"] = "none"  # of the classes in train; see `class_balance`
    limit: Positive | None = None  # most images of train and of val that a run uses; see `splits.some_of`
    augmentation: Augmentation

    @model_validator(mode="after")
    def _has_a_source(self) -> "Data":
        if self.raw_path is None and self.name != "digits":
            raise ValueError("data.raw_path may be null only for the embedded digits; pass data.raw_path=PATH")
        return self


class Model(_Section):
    """Which network, and what it starts from."""

    name: str
    pretrained: bool
    pretrained_path: FilePath | None
    num_classes: Annotated[int, Field(ge=2)] | None
    frozen_stages: Annotated[int, Field(ge=0)]
    options: dict[str, Any]


class Profiling(_Section):
    """Which training steps PyTorch's profiler records, and what of them. Decides nothing about the bits."""

    enabled: bool
    wait: Annotated[int, Field(ge=0)]  # steps before each recording
    warmup: Annotated[int, Field(ge=0)]  # further steps, with the profiler on and its records dropped
    active: Positive  # steps recorded, into one trace
    repeat: Annotated[int, Field(ge=0)]  # recordings; 0: until the run ends
    log_dir: FilePath  # in the run's folder
    export_chrome_trace: bool  # also as plain JSON, for viewers that read no .gz
    record_shapes: bool  # of operators' inputs
    profile_memory: bool
    with_stack: bool  # Python's call stack, and so which module an operator belongs to
    with_flops: bool  # with the shapes, which they are computed from
    with_modules: bool  # today's PyTorch has this in with_stack


class Training(_Section):
    """How it learns. All of it but `profiler` decides the bits of the weights."""

    epochs: Positive
    batch_size: Positive
    accumulate_steps: Positive = 1  # batches whose gradients make one optimizer step
    max_steps: Positive | None = None  # optimizer steps in all, if that is less than the epochs have
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    optimizer: str
    optimizer_options: dict[str, Any]
    scheduler: Literal["CosineAnnealingLR", "StepLR", "OneCycleLR", "none"]
    warmup_fraction: Fraction
    label_smoothing: Fraction
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    early_stopping_patience: Positive | None
    sizes_px: list[Annotated[int, Field(ge=8, le=2048)]] | None
    profiler: Profiling

    @model_validator(mode="after")
    def _one_size_per_epoch(self) -> "Training":
        if self.sizes_px is not None and len(self.sizes_px) != self.epochs:
            raise ValueError(
                f"training.sizes_px has {len(self.sizes_px)} sizes, training.epochs={self.epochs}; one each"
            )
        return self


class Run(_Section):
    """Where and how a run happens."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    precision: Literal["auto", "fp32", "bf16"]
    threads: Positive | Literal["auto"]
    resume: str | None
    checkpoint_every: Positive


class Wandb(_Section):
    """Where W&B keeps a run. Decides nothing about the bits."""

    enabled: bool = True  # false: off, whatever `mode` says
    project: Annotated[str, Field(min_length=1)]
    entity: str | None
    run_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = []  # W&B's limit of a tag
    mode: Literal["auto", "online", "offline", "disabled"]
    log_freq: Positive  # optimizer steps between two values of a batch


class Drift(_Section):
    """How a window of images is judged. Decides nothing about training."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    tolerated_loss: Annotated[float, Field(ge=0, lt=1)]
    permutations: Annotated[int, Field(ge=99, le=99_999)]
    min_images: Annotated[int, Field(ge=4)]
    promise: Literal["reference", "average"]


class Watch(_Section):
    """How a folder that fills is watched. Decides nothing about training."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    horizon: Positive
    tolerated_loss: Annotated[float, Field(ge=0, lt=1)]
    sources: Literal["one", "folders"]
    groups: Literal["none", "name", "minute"]
    follow: bool
    restart: bool


class Export(_Section):
    """How a run becomes a folder that answers. Decides nothing about training."""

    path: FilePath
    runtime: Literal["onnxruntime", "openvino"]
    precision: Literal["fp32", "int8", "bf16"]
    max_labels_changed: Annotated[float, Field(ge=0, le=1)]
    max_accuracy_lost: Annotated[float, Field(ge=0, le=1)]
    compare: bool  # with what a run costs in other forms, none of which is served

    @model_validator(mode="after")
    def _of_this_runtime(self) -> "Export":
        if (self.runtime, self.precision) == ("onnxruntime", "bf16"):
            raise ValueError("export.precision=bf16 is for export.runtime=openvino; ONNX Runtime has fp32 and int8")
        return self


class Serving(_Section):
    """How a service answers. Decides nothing about the answers themselves."""

    host: Annotated[str, Field(min_length=1)]  # an address of this machine
    port: Annotated[int, Field(ge=0, le=65_535)]  # 0: any free one
    database: Annotated[str, Field(pattern=r"^(sqlite|postgresql)(\+\w+)?://")]  # of the request log
    window: Annotated[int, Field(ge=16, le=4096)]  # images of a counted verdict
    in_flight: Positive  # requests at once
    max_upload_mb: Annotated[float, Field(gt=0, le=1000)]  # of one request's body
    max_megapixels: Annotated[float, Field(gt=0, le=100)]  # of one image, as its header says
    keep_crops: bool  # of the newest windows, in memory, for the second look
    retention_days: Annotated[float, Field(gt=0)] | None  # of rows of the log; null: kept
    thumbnails: Annotated[float, Field(ge=0, le=1)]  # share of images whose picture is kept
    drain_s: Annotated[float, Field(ge=0, le=600)]  # from "not ready" to closing the door
    models_path: FilePath = Path("models")  # with champion.json, which is followed, and versions/
    keep_images: FilePath | None = None  # a folder for the bytes of answered images; null: not kept
    keep_images_gb: Annotated[float, Field(gt=0)] = 1.0  # of that folder, at most; the oldest images go


class Basket(_Section):
    """Which images of a change a person is asked about. Decides nothing about training."""

    images: Annotated[int, Field(ge=4, le=10_000)] = 60
    random: Annotated[float, Field(ge=0.1, le=1)] = 0.2  # share of them that is drawn at random


class Monitor(_Section):
    """How the request log is watched. Decides nothing about answers."""

    database: Annotated[str, Field(pattern=r"^(sqlite|postgresql)(\+\w+)?://")]  # of the request log
    models_path: FilePath  # below it lie the artefacts of the models that answered
    alpha: Annotated[float, Field(gt=0, lt=1)]
    horizon: Positive
    tolerated_loss: Annotated[float, Field(ge=0, lt=1)]
    cause_images: Annotated[int, Field(ge=16, le=128)]  # since a change, for the first look at its cause
    max_sources: Positive  # streams of a model
    poll_s: Annotated[float, Field(gt=0, le=3600)]  # between two looks at the log
    webhook: Annotated[str, Field(pattern=r"^https?://")] | None  # is told of each alarm
    command: list[str]  # a program and its words; gets each alarm on stdin
    metrics_host: Annotated[str, Field(min_length=1)]  # an address of this machine
    metrics_port: Annotated[int, Field(ge=1, le=65_535)] | None
    once: bool


class Gate(_Section):
    """What a candidate must show before it may replace the champion. Decides nothing about training."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)]  # chance that a claim is wrong, over all looks at the same images
    clean_margin: Annotated[float, Field(gt=0, lt=1)]  # accuracy that may be lost on clean images, in 0..1
    others_margin: Annotated[float, Field(gt=0, lt=1)]  # ... and under the other kinds of change, in the mean
    brier_margin: Annotated[float, Field(gt=0, lt=1)]  # mean squared distance of confidence and being right
    latency: Annotated[float, Field(gt=0)]  # most processor time an image, as a multiple of the champion's
    size: Annotated[float, Field(gt=0)]  # largest file, as a multiple of the champion's
    least_labels: Positive  # labelled images from the changed world below which they are not asked


class Heal(_Section):
    """How statistics of recent images become a model. Decides nothing about training."""

    images: Annotated[int, Field(ge=32, le=4096)]  # most images whose statistics are taken
    prior: Annotated[int, Field(ge=0)]  # images that the network's own statistics count for beside them
    least_reference: Annotated[int, Field(ge=100)]  # further images from which on they are the new reference


class Retrain(_Section):
    """How a run is trained on. What decides its bits stands in its receipt, under training and data."""

    epochs: Positive | None  # null: as many as the champion's run
    learning_rate_factor: Annotated[float, Field(gt=0)]  # of the run's own
    warm: bool  # from the run's weights; false: from where the run itself began
    twins_share: Annotated[float, Field(gt=0, lt=1)]  # of the images of an epoch that are changed
    labels_share: Annotated[float, Field(ge=0, lt=1)]  # of train that labelled images should make up
    most_repeats: Positive  # of one labelled image in an epoch


class Settings(_Section):
    """All settings of a command, checked."""

    data: Data
    model: Model
    training: Training
    run: Run
    wandb: Wandb
    drift: Drift
    watch: Watch
    export: Export
    serving: Serving
    monitor: Monitor
    basket: Basket
    gate: Gate
    heal: Heal
    retrain: Retrain

    @model_validator(mode="after")
    def _shift_within_image(self) -> "Settings":
        smallest_px = min(self.training.sizes_px or [self.data.img_size])
        if self.data.augmentation.shift_px >= smallest_px:
            raise ValueError(
                f"data.augmentation.shift_px={self.data.augmentation.shift_px} must be smaller than the training side, "
                f"{smallest_px} px (data.img_size or training.sizes_px)"
            )
        return self


class Sweep(_Section):
    """How `make sweep` tries values: conf/sweep.yaml."""

    sampler: Literal["grid", "optuna"]
    trials: Positive | None
    dir: FilePath | None
    resume: FilePath | None


def valid_keys(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """All dotted keys of the schema, such as `training.epochs`."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from valid_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name
