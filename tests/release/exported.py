"""Not a test: small networks as ONNX files that tests of release share."""

from pathlib import Path

import numpy as np
import torch

from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD
from drift_detector_pipeline.networks.models import create
from drift_detector_pipeline.release.executable import Executable, open_session
from drift_detector_pipeline.release.graph import export_model, export_second_look

SCALE = (IMAGENET_MEAN, IMAGENET_STD)
CONV = ("conv_small", 16, {"channels": (8, 8)})
RESNET = ("resnet10t", 32, {"channels": (8, 8, 16, 16)})
VIT = ("vit_tiny_patch16_224", 32, {"depth": 1, "embed_dim": 16, "num_heads": 2})
MLP = ("mlp", 16, {"width": 8})


def network(name, side_px, options, classes=5):
    """Random weights, and running statistics that are none of a fresh network's."""
    torch.manual_seed(3)
    module = create(name, classes, side_px, options).eval()
    for buffer, values in module.named_buffers():
        if buffer.endswith("running_mean"):
            values.normal_(0, 0.2)
        elif buffer.endswith("running_var"):
            values.uniform_(0.5, 2)
    return module


def some_images(count, side_px, seed=0):
    """Soft random images, uint8 (count, side_px, side_px, 3), each with a light of its own."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(40, 200, (count, 1, 1, 3))
    return (light + rng.normal(0, 30, (count, side_px, side_px, 3))).clip(0, 255).astype(np.uint8)


def exported(folder: Path, module, side_px, runtime="onnxruntime", precision="fp32", *, second=True):
    """Write both files and open them."""
    export_model(module, SCALE, side_px, folder / "model.onnx")
    if second:
        export_second_look(module, SCALE, side_px, folder / "second_look.onnx")
    return opened(folder, side_px, runtime, precision)


def opened(folder: Path, side_px, runtime="onnxruntime", precision="fp32"):
    """Open the files that were written there."""
    second = folder / "second_look.onnx"
    look = open_session(second, "onnxruntime", "fp32") if second.exists() else None
    session = open_session(folder / "model.onnx", runtime, precision)
    return Executable(session, "small", side_px, look and (lambda: look))
