"""Which place answers for which box: by hand, and beside a permissive port of YOLOX if that is there."""

import numpy as np
import pytest
import torch
from small_detectors import boxes_of, detector, pictures

from drift_detector_pipeline.networks.boxes import yolox
from drift_detector_pipeline.networks.boxes.simota import Places, assign
from drift_detector_pipeline.networks.boxes.targets import Truth, truths


def grid(side: int, stride: int) -> Places:
    steps = torch.arange(side, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    centres = (torch.stack([x, y], 2).reshape(-1, 2) + 0.5) * stride
    return Places(centres, torch.full((side * side,), float(stride)))


def truth(boxes: list[list[float]], labels: list[int]) -> Truth:
    return Truth(torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64), torch.zeros(0, 4))


def around(where: Places, half: float) -> torch.Tensor:
    return torch.cat([where.centres - half, where.centres + half], 1)


def test_a_box_takes_as_many_places_as_their_overlaps_add_up_to() -> None:
    where = grid(8, 8)
    said = around(where, 12.0)
    assigned = assign(where, said, torch.zeros(64, 4), truth([[16.0, 16, 40, 40]], [2]))  # its centre: a corner of four
    near = (where.centres - 28).abs().amax(1) < 12
    overlaps = yolox._overlap(said[near], torch.tensor([[16.0, 16, 40, 40]]).expand(int(near.sum()), 4))
    assert len(assigned.places) == int(overlaps.sum())
    assert near[assigned.places].all()


def test_a_place_that_two_boxes_want_answers_for_the_cheaper() -> None:
    where = Places(torch.tensor([[16.0, 16.0]]), torch.tensor([8.0]))
    said = torch.tensor([[8.0, 8, 24, 24]])
    two = truth([[4.0, 4, 24, 24], [8.0, 8, 24, 24]], [0, 0])
    assigned = assign(where, said, torch.zeros(1, 2), two)
    assert assigned.places.tolist() == [0] and assigned.boxes.tolist() == [1] and assigned.overlap.tolist() == [1.0]


def test_a_box_far_from_every_place_is_nobodys() -> None:
    where = grid(2, 8)
    assert not len(assign(where, around(where, 4), torch.zeros(4, 2), truth([[90.0, 90, 99, 99]], [0])).places)
    assert not len(assign(where, around(where, 4), torch.zeros(4, 2), truth([], [])).places)


def test_assignment_and_loss_are_those_of_an_independent_port() -> None:
    port = pytest.importorskip("libreyolo.models.yolox.nn", reason="needs libreyolo, which no extra brings")
    module, images, targets = detector("yolox").train(), pictures(3), [boxes_of(seed, 5) for seed in range(3)]
    targets[1] = boxes_of(1, 0)
    maps = module._maps(images)
    head = port.YOLOXHead(3)
    for scale in (1.0, 3.0):  # as at the start, and surer
        scaled = [scale * one for one in maps]
        where, boxes, logits = yolox._decode(scaled)
        ours = yolox._loss(where, boxes, logits, truths(targets, images.device))
        theirs = _loss_of_port(head, scaled, targets)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def _loss_of_port(head, maps, targets):
    """What the port's training makes of the same raw output."""
    labels = torch.zeros(len(targets), 8, 5)
    for one, target in zip(labels, targets, strict=True):
        boxes = torch.from_numpy(target.boxes)
        rows = [
            torch.from_numpy(target.labels)[:, None],
            (boxes[:, :2] + boxes[:, 2:]) / 2,
            boxes[:, 2:] - boxes[:, :2],
        ]
        one[: len(boxes)] = torch.cat(rows, 1)
    outputs, xs, ys, strides = [], [], [], []
    for level, (one, stride) in enumerate(zip(maps, (8, 16, 32), strict=True)):
        output, cells = head.get_output_and_grid(one, level, stride, "torch.FloatTensor")
        outputs.append(output)
        xs.append(cells[:, :, 0])
        ys.append(cells[:, :, 1])
        strides.append(torch.full((1, cells.shape[1]), float(stride)))
    return head.get_losses(None, xs, ys, strides, labels, torch.cat(outputs, 1), [], torch.float32)["total_loss"]


def test_the_loss_of_images_together_is_their_mean_by_answering_places() -> None:
    module, targets = detector("yolox").train(), [boxes_of(seed) for seed in range(2)]
    where, boxes, logits = yolox._decode(module._maps(pictures(2)))
    known = truths(targets, boxes.device)
    places = [len(assign(where, *one).places) for one in zip(boxes, logits, known, strict=True)]
    each = [yolox._loss(where, boxes[[i]], logits[[i]], [known[i]]) for i in range(2)]
    expected = sum(number * loss for number, loss in zip(places, each, strict=True)) / sum(places)
    np.testing.assert_allclose(yolox._loss(where, boxes, logits, known).item(), expected.item(), rtol=1e-5)
