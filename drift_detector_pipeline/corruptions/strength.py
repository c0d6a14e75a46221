"""How strong each severity of a kind is: the published values at 32 and 224 px, interpolated for other sides.

In: kind, severity, side of the image. Out: named numbers. Read by the other modules of this folder through corrupt.py.
Source of the values: Hendrycks & Dietterich 2019 (arXiv 1903.12261), ImageNet-C at 224 px and CIFAR-10-C at 32 px.
"""

import math

SMALL_PX, LARGE_PX = 32, 224  # the sides the values were published for

Five = tuple[float, float, float, float, float]  # one value a severity

# kind -> parameter -> (values at 32 px, values at 224 px). Names in _px are lengths. "Ours": SSIM would not fall with
# severity under the published values, which stand in brackets.
TABLE: dict[str, dict[str, tuple[Five, Five]]] = {
    "gaussian_noise": {"sigma": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))},
    "shot_noise": {"photons": ((500, 250, 100, 75, 50), (60, 25, 12, 5, 3))},
    "impulse_noise": {"share": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))},
    "defocus_blur": {
        "radius_px": ((0.3, 0.4, 0.5, 1.0, 1.5), (3, 4, 6, 8, 10)),
        "smooth_px": ((0.4, 0.5, 0.6, 0.2, 0.1), (0.1, 0.5, 0.5, 0.5, 0.5)),
    },
    "glass_blur": {
        "sigma_px": ((0.05, 0.25, 0.4, 0.4, 0.4), (0.7, 0.9, 1.0, 1.1, 1.5)),
        "scatter_px": ((0.4, 0.5, 0.6, 0.8, 1.0), (0.8, 1.15, 2.0, 2.45, 3.3)),
    },
    "motion_blur": {
        "radius_px": ((6, 6, 6, 8, 9), (10, 15, 15, 15, 20)),
        "sigma_px": ((1.0, 1.5, 2.0, 2.25, 2.5), (3, 5, 8, 12, 15)),  # ours at 32 px: the fourth [2.0]
    },
    "zoom_blur": {"largest": ((1.05, 1.10, 1.15, 1.20, 1.25), (1.10, 1.15, 1.20, 1.24, 1.30))},
    "snow": {
        "mean": ((0.1, 0.1, 0.15, 0.25, 0.3), (0.1, 0.2, 0.5, 0.55, 0.6)),
        "spread": ((0.2, 0.2, 0.3, 0.3, 0.3), (0.3, 0.3, 0.3, 0.3, 0.3)),
        "flake_px": ((1, 1, 1.25, 1.5, 1.75), (2.5, 2.75, 3, 3.5, 3.5)),
        "threshold": ((0.6, 0.5, 0.5, 0.55, 0.55), (0.5, 0.55, 0.8, 0.8, 0.8)),
        "radius_px": ((8, 10, 10, 12, 14), (10, 12, 12, 12, 12)),
        "sigma_px": ((1, 1, 1.25, 1.5, 2), (2, 2, 3, 3.5, 4)),
        "keep": ((0.95, 0.9, 0.9, 0.85, 0.8), (0.8, 0.7, 0.7, 0.65, 0.55)),
    },
    "frost": {
        "keep": ((1, 1, 0.9, 0.85, 0.75), (1, 0.8, 0.7, 0.65, 0.6)),
        "ice": ((0.2, 0.3, 0.4, 0.42, 0.45), (0.4, 0.6, 0.7, 0.7, 0.75)),
    },
    "fog": {
        "thickness": ((0.2, 0.5, 0.75, 1.0, 1.5), (1.5, 2.0, 2.5, 2.5, 3.0)),
        "decay": ((3, 3, 2.5, 2.2, 2.0), (2, 2, 1.7, 1.5, 1.4)),
    },
    "brightness": {"added": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5))},
    "contrast": {"factor": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05))},
    "elastic": {
        "push_px": ((1.6, 2.56, 2.56, 3.2, 3.2), (5, 8, 12.2, 17.1, 29.3)),
        "sigma_px": ((1.92, 1.92, 1.28, 1.28, 0.96), (2.44, 2.44, 2.44, 2.44, 2.44)),
        "corner_px": ((0.6, 0.7, 0.8, 0.9, 0.96), (1, 2, 3, 4, 4.88)),
    },
    "pixelate": {"share": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25))},
    "jpeg": {"quality": ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7))},
}


def strength(kind: str, severity: int, side_px: int) -> dict[str, float]:
    """The numbers of a kind at severity 1 to 5 on images of `side_px`.

    Between 32 and 224 px the logarithm of a value is linear in the logarithm of the side. Above, lengths grow with the
    side; below, they stay, for a blur of a third of a pixel is none.
    """
    along = min(1.0, max(0.0, math.log(side_px / SMALL_PX) / math.log(LARGE_PX / SMALL_PX)))
    beyond = max(1.0, side_px / LARGE_PX)
    return {
        name: math.exp((1 - along) * math.log(small[severity - 1]) + along * math.log(large[severity - 1]))
        * (beyond if name.endswith("_px") else 1)
        for name, (small, large) in TABLE[kind].items()
    }
