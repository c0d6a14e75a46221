"""Not a test: a basket of small images, and labels of it as each tool writes them."""

import hashlib
import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

from small_artefact import png, world

from drift_detector_pipeline.lifecycle.basket_file import Basket, Item, write_basket
from drift_detector_pipeline.lifecycle.label_formats import write_tasks

CLASSES = ["down", "über fish", "=flat"]


def fill_basket(folder: Path, images=20, random=8, seed=70, classes=CLASSES, estimate=None) -> Basket:
    """A basket of which the first images were drawn at random and every fifth was answered with the second class."""
    (folder / "images").mkdir(parents=True)
    items = []
    for number, crop in enumerate(world(images, seed)[0]):
        content = png(crop)
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"images/{sha256[:16]}.png"
        (folder / name).write_bytes(content)
        why = "random" if number < random else ("carrier", "stranger")[number % 2]
        predicted = classes[1] if number % 5 == 0 else classes[0]
        items.append(
            Item(name, sha256, sha256, "original", 100 + number, f"r{number}", 1.7e9, "gate", why, predicted, 0.9)
        )
    model = {"name": "small", "sha256": "f" * 64, "reference_sha256": "e" * 64, "number": 1}
    rows = {"first": 100, "last": 300, "images": 200, "without_picture": 0}
    basket = Basket(
        folder.absolute(), "2026-01-01T00:00:00+00:00", model, list(classes), None, "gate", rows, estimate, 1, items
    )
    write_tasks(basket, folder)
    write_basket(basket, folder)
    return basket


def table(basket, labels, *, head="path,label,predicted", cut=",", end="\r\n", encoding="utf-8-sig") -> bytes:
    """A spreadsheet's file; `labels` by place."""
    rows = [
        head.replace(",", cut),
        *(cut.join([basket.images[place].file, label, "x"]) for place, label in labels.items()),
    ]
    return end.join([*rows, ""]).encode(encoding)


def studio(basket, labels, who=1, updated="2026-01-02T10:00:00Z") -> bytes:
    """Label Studio's JSON, with an image that was skipped."""
    tasks = []
    for place, label in labels.items():
        result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]
        done = {"id": place, "completed_by": {"email": "ann@example.org"} if who == 1 else who, "result": result,
                "was_cancelled": False, "updated_at": updated, "created_at": "2026-01-01T10:00:00Z"}  # fmt: skip
        address = f"/data/local-files/?d={basket.name}/{basket.images[place].file}"
        tasks.append({"id": place, "data": {"image": address}, "annotations": [done], "predictions": []})
    skipped = {"image": f"/data/upload/3/1a2b3c4d-{Path(basket.images[-1].file).name}"}
    tasks.append({"id": 99, "data": skipped, "annotations": [{"result": [], "was_cancelled": True}]})
    return json.dumps(tasks).encode()


def studio_min(basket, labels) -> bytes:
    """Its JSON-MIN, of images that were dropped on its page."""
    return json.dumps([
        {"image": f"/data/upload/3/1a2b3c4d-{Path(basket.images[place].file).name}", "id": place, "label": label,
         "annotator": 7, "annotation_id": place, "updated_at": "2026-01-02T10:00:00Z", "lead_time": 2.5}
        for place, label in labels.items()
    ]).encode()  # fmt: skip


def studio_csv(basket, labels) -> bytes:
    """Its CSV: a column a part of `data`, and the label."""
    rows = ["annotation_id,annotator,created_at,file,id,image,label,lead_time,updated_at"]
    for place, label in labels.items():
        file = basket.images[place].file
        rows.append(
            f"{place},ann@example.org,2026-01-01,{file},{place},/data/local-files/?d=b/{file},{label},2.5,2026-01-02"
        )
    return "\n".join([*rows, ""]).encode()


def cvat(basket, labels) -> bytes:
    """CVAT for images 1.1."""
    images = [
        f'  <image id="{place}" name={quoteattr(basket.images[place].file)} width="24" height="24">\n'
        f'    <tag label={quoteattr(label)} source="manual"></tag>\n  </image>'
        for place, label in labels.items()
    ]
    empty = f'  <image id="98" name="{basket.images[-1].file}" width="24" height="24"></image>'
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>'
    return "\n".join([head, *images, empty, "</annotations>", ""]).encode()
