"""Contrast, elastic distortion, pixelation and JPEG. N images, sides H and W; values in 0..1.

In: float32 (N, H, W, 3) and one random generator an image. Out: the same shape. Read by corrupt.py; `as_jpeg`
also by benign.py.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.corruptions.noise import Generators


def contrast(images: Float32s, rngs: Generators, *, factor: float) -> Float32s:
    """Draw each channel of an image towards its mean."""
    del rngs
    means = images.mean(axis=(1, 2), keepdims=True)
    return np.asarray((images - means) * np.float32(factor) + means)


def elastic(images: Float32s, rngs: Generators, *, push_px: float, sigma_px: float, corner_px: float) -> Float32s:
    """Push every place of an image a little, near places alike, after moving its corners (Simard et al. 2003)."""
    import torch  # of everything here only this needs it
    from torch.nn import functional

    count, height, width, _ = images.shape
    pushes = np.stack([rng.uniform(-1, 1, (2, height, width)).astype(np.float32) for rng in rngs])
    pushes = np.float32(push_px) * ndimage.gaussian_filter(pushes, (0, 0, sigma_px, sigma_px), truncate=3)
    views = torch.from_numpy(np.stack([_moved_corners(rng, corner_px, height, width) for rng in rngs]))
    grid = functional.affine_grid(views, [count, 3, height, width], align_corners=False)
    grid = grid + torch.from_numpy(pushes).permute(0, 2, 3, 1) * (2 / torch.tensor([width, height]))
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    bent = functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    return np.asarray(bent.permute(0, 2, 3, 1).numpy())


def pixelate(images: Float32s, rngs: Generators, *, share: float) -> Float32s:
    """Shrink each side to `share` of its length and enlarge it again without smoothing."""
    del rngs
    return _through_pillow(images, lambda image: _coarse(image, share))


def jpeg(images: Float32s, rngs: Generators, *, quality: float) -> Float32s:
    """Compress as JPEG and decode."""
    del rngs
    return _through_pillow(images, lambda image: as_jpeg(image, round(quality)))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The image after JPEG compression."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer)


def _moved_corners(rng: np.random.Generator, corner_px: float, height: int, width: int) -> Float32s:
    """The 2 x 3 matrix that moves three points of the image by up to `corner_px` each; sides run from -1 to 1."""
    points = np.array([[2, 2], [2, -2], [-2, -2]]) / 3
    moved = points + rng.uniform(-corner_px, corner_px, (3, 2)) * 2 / np.array([width, height])
    return np.linalg.solve(np.column_stack([points, np.ones(3)]), moved).T.astype(np.float32)


def _coarse(image: Image.Image, share: float) -> Image.Image:
    size = (max(1, int(image.width * share)), max(1, int(image.height * share)))
    return image.resize(size, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def _through_pillow(images: Float32s, change: Callable[[Image.Image], Image.Image]) -> Float32s:
    stored = (images * 255 + 0.5).astype(np.uint8)
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in stored])
    return changed.astype(np.float32) / np.float32(255)
