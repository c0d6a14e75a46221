"""Not a test: small sources with boxes, drawn and annotated here, as COCO has them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"disc": (220, 40, 40), "square": (40, 60, 220)}


def write_coco(root: Path, pictures: Mapping[str, Sequence[tuple[float, ...]]], names: Sequence[str] = ()) -> Path:
    """Write instances.json about pictures that are there or drawn: file -> (x, y, width, height, category id)."""
    root.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, (name, boxes) in enumerate(pictures.items(), start=7):
        if not (root / name).exists():
            Image.new("RGB", (60, 40), (0, 90, 0)).save(root / name)
        with Image.open(root / name) as picture:
            images.append({"id": number, "file_name": name, "width": picture.width, "height": picture.height})
        for x, y, width, height, category, *crowd in boxes:
            box = {"image_id": number, "bbox": [x, y, width, height], "category_id": category, "area": width * height}
            annotations.append(box | {"id": len(annotations) + 1, "iscrowd": int(bool(crowd))})
    kinds = [{"id": 3 * place + 2, "name": name} for place, name in enumerate(names or COLOURS)]
    values = {"images": images, "annotations": annotations, "categories": kinds}
    (root / "instances.json").write_text(json.dumps(values))
    return root


def draw_source(root: Path, images: int = 12, seed: int = 0) -> Path:
    """Draw discs and squares on noise, 1 to 3 a picture, the last picture empty, and annotate them."""
    root.mkdir(parents=True, exist_ok=True)
    chance, pictures = np.random.default_rng(seed), dict[str, list[tuple[float, ...]]]()
    for number in range(images):
        width, height = (96, 64) if number % 2 else (64, 80)
        canvas = Image.fromarray(chance.integers(0, 90, (height, width, 3), dtype=np.uint8))
        boxes = []
        for _ in range(0 if number == images - 1 else int(chance.integers(1, 4))):
            side, kind = int(chance.integers(12, 30)), int(chance.integers(2))
            x, y = int(chance.integers(width - side)), int(chance.integers(height - side))
            draw = ImageDraw.Draw(canvas)
            shape = draw.rectangle if kind else draw.ellipse
            shape((x, y, x + side - 1, y + side - 1), fill=list(COLOURS.values())[kind])
            boxes.append((x, y, side, side, 3 * kind + 2))
        pictures[f"{number:02d}.png"] = boxes
        canvas.save(root / f"{number:02d}.png")
    return write_coco(root, pictures)
