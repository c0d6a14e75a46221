"""What can be set, with types, ranges and meanings: the schema of conf/.

Read by config.py, which fills and checks it, and by every stage that is given a part of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from drift_detector_pipeline.setting_types import FilePath, Fraction, Positive, Section
from drift_detector_pipeline.settings_in_use import (
    Basket,
    Export,
    Gate,
    Heal,
    Lifecycle,
    Monitor,
    Predict,
    Retrain,
    Serving,
)


class ColourJitter(Section):
    """How far the colours of a training image may stray; see `distortions.jitter_colours`. 0: not at all."""

    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0  # 0.4: by a factor of 0.6 to 1.4; so are the next two
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # in turns of the colour circle, either way


class RandAugment(Section):
    """A few of 14 distortions, all of one strength; see `distortions.rand_augment`."""

    operations: Annotated[int, Field(ge=0, le=14)] = 0  # one after another, each drawn anew; 0: off
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9  # 0 hardly any, 30 the strongest


class Twins(Section):
    """Training images as they may come one day: some of them changed; see `drawn_twins`."""

    kind: str | None = None  # of corruption or fault; null: off
    levels: list[Annotated[int, Field(ge=1, le=5)]] = Field(default_factory=list)  # of them, drawn by image and epoch
    share: Annotated[float, Field(gt=0, le=1)] = 0.5  # of an epoch's images


class Augmentation(Section):
    """How a stored image becomes a training image; see `augmentation.augment` and `tasks/boxes/view.py`."""

    min_area: Annotated[float, Field(gt=0, le=1)]  # smallest share of the image a random resized crop keeps; 1: off
    shift_px: Annotated[int, Field(ge=0)]  # largest shift in each direction, at the training size; 0: off
    flip: bool | Literal["alternating"]  # mirror left and right, half of the time; or every other epoch; see `mirrored`
    cutout_px: Annotated[int, Field(ge=0)] = 0  # side of a square that is covered, at the training size; 0: off
    colour_jitter: ColourJitter = ColourJitter()
    rand_augment: RandAugment = RandAugment()
    twins: Twins = Twins()
    mix: Literal["mixup", "cutmix"] | None = None  # with another training image, labels by share; see `mixing`
    mix_alpha: Annotated[float, Field(gt=0)] = 1.0  # shares are drawn from Beta(alpha, alpha); 1: all equally likely
    flip_down: bool = False  # of boxes: mirror top and bottom, half of the time
    scale_jitter: Fraction = 0.0  # of boxes: an image is shown larger or smaller by up to this share; 0: off
    mosaic: Annotated[float, Field(ge=0, le=1)] = 0.0  # of boxes: share of training images that show four; 0: off


class SourceArchive(Section):
    """One of several archives that a source comes in."""

    url: Annotated[str, Field(pattern=r"^\w+://.+/[^/?#]+$")]  # public address, with the file's name at its end
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None  # null: told by nobody; the first is recorded

    @property
    def file_name(self) -> str:
        """What it is called in the folder `data.raw_path`."""
        return self.url.rpartition("/")[2]


class Data(Section):
    """Where images come from and how they are stored."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    raw_path: FilePath | None  # archive or folder; null only for the embedded digits
    source_url: str | None  # public address of the archive
    source_archives: list[SourceArchive] = Field(default=[])  # or of several, fetched into the folder raw_path
    format: Literal["imagefolder", "voc", "coco", "kitti", "yolo", "clips"] | None = None  # None: found by itself
    processed_path: FilePath
    stored_side_px: Annotated[int, Field(ge=8, le=2048)]  # shorter side of packed images, with boxes the longer
    stored_as: Literal["raw", "jpeg", "auto"] = "raw"  # pixels, or a JPEG an image; auto: see `stored_form`
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 90  # of images that are encoded anew
    img_size: Annotated[int, Field(ge=8, le=2048)]  # side of the model input
    dataloader_workers: Annotated[int, Field(ge=0, le=256)]
    clip_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0  # of clips: longer videos are cut into such
    stored_frames: Annotated[int, Field(ge=1, le=512)] = 32  # of clips: most frames of one that are stored
    k_frames: Annotated[int, Field(ge=1, le=512)] = 8  # of clips: frames of one that a model sees at once
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


class Model(Section):
    """Which network, and what it starts from."""

    name: str
    pretrained: bool
    pretrained_path: FilePath | None
    backbone_run: FilePath | None = None  # a run's folder or a weight file: all but the head starts from it
    num_classes: Annotated[int, Field(ge=2)] | None
    frozen_stages: Annotated[int, Field(ge=0)]
    options: dict[str, Any]

    @model_validator(mode="after")
    def _starts_from_one(self) -> "Model":
        if self.backbone_run is not None and (self.pretrained or self.pretrained_path is not None):
            raise ValueError("model.backbone_run goes neither with model.pretrained nor with model.pretrained_path")
        return self


class Profiling(Section):
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


class Training(Section):
    """How it learns. All of it but `profiler` decides the bits of the weights."""

    epochs: Positive
    batch_size: Positive
    accumulate_steps: Positive = 1  # batches whose gradients make one optimizer step
    max_steps: Positive | None = None  # optimizer steps in all, if that is less than the epochs have
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    optimizer: str
    optimizer_options: dict[str, Any]
    scheduler: Literal["CosineAnnealingLR", "StepLR", "OneCycleLR", "linear", "none"]
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


class Run(Section):
    """Where and how a run happens."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    precision: Literal["auto", "fp32", "bf16"]
    threads: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"]
    bits: Literal["default", "portable"] = "default"  # portable: the same on any x86-64 with AVX2; see `portable`
    resume: Annotated[str, Field(min_length=1)] | None
    checkpoint_every: Positive


class Wandb(Section):
    """Where W&B keeps a run. Decides nothing about the bits."""

    enabled: bool = True  # false: off, whatever `mode` says
    project: Annotated[str, Field(min_length=1)]
    entity: str | None
    run_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=[])  # W&B's limit of a tag
    mode: Literal["auto", "online", "offline", "disabled"]
    log_freq: Positive  # optimizer steps between two values of a batch


class Mlflow(Section):
    """Where MLflow keeps a run. Decides nothing about the bits."""

    enabled: bool = False
    tracking_uri: Annotated[str, Field(pattern="^[^@]+$")] = "sqlite:///outputs/mlflow.db"  # a file, or a server
    project: Annotated[str, Field(min_length=1, max_length=500)] = "drift_detector_pipeline"  # an experiment there
    run_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    registered_model: Annotated[str, Field(min_length=1)] | None = None  # gets the best model as a new version
    log_freq: Positive = 10  # optimizer steps between two values of a batch


class Trackio(Section):
    """Where trackio keeps a run. Decides nothing about the bits."""

    enabled: bool = False
    folder: FilePath = Path("outputs/trackio")
    server_url: Annotated[str, Field(pattern=r"^https?://[^@?]+$")] | None = None  # of one's own, not the folder
    project: Annotated[str, Field(pattern=r"^[\w-]+$")] = "drift_detector_pipeline"
    run_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    python: FilePath | None = None  # of the environment that has trackio
    log_freq: Positive = 10  # optimizer steps between two values of a batch


class Drift(Section):
    """How a window of images is judged. Decides nothing about training."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    tolerated_loss: Annotated[float, Field(ge=0, lt=1)]
    permutations: Annotated[int, Field(ge=99, le=99_999)]
    min_images: Annotated[int, Field(ge=4)]
    promise: Literal["reference", "average"]
    block_minutes: Annotated[float, Field(gt=0)] | None = None


class Watch(Section):
    """How a folder that fills is watched. Decides nothing about training."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    horizon: Positive
    tolerated_loss: Annotated[float, Field(ge=0, lt=1)]
    sources: Literal["one", "folders"]
    groups: Literal["none", "name", "minute"]
    follow: bool
    restart: bool


class Settings(Section):
    """All settings of a command, checked."""

    data: Data
    model: Model
    training: Training
    run: Run
    wandb: Wandb
    mlflow: Mlflow
    trackio: Trackio
    drift: Drift
    watch: Watch
    predict: Predict
    export: Export
    serving: Serving
    monitor: Monitor
    basket: Basket
    gate: Gate
    heal: Heal
    retrain: Retrain
    lifecycle: Lifecycle

    @model_validator(mode="after")
    def _shift_within_image(self) -> "Settings":
        smallest_px = min(self.training.sizes_px or [self.data.img_size])
        if self.data.augmentation.shift_px >= smallest_px:
            raise ValueError(
                f"data.augmentation.shift_px={self.data.augmentation.shift_px} must be smaller than the training side, "
                f"{smallest_px} px (data.img_size or training.sizes_px)"
            )
        return self


class Sweep(Section):
    """How `make sweep` tries values: conf/sweep.yaml."""

    sampler: Literal["grid", "optuna"]
    trials: Positive | None
    dir: FilePath | None
    resume: FilePath | None
    shared: bool


def valid_keys(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """All dotted keys of the schema, such as `training.epochs`."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from valid_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name
