"""Floating-point operations of one operator call, from the shapes that PyTorch's profiler records.

A multiplication and an addition count as two. Matrix products, convolutions and attention, forward and backward, are
nearly all of a network's arithmetic; PyTorch's own `with_flops` leaves out the backward convolutions.
Read by profile_summary.py.
"""

import json
from collections.abc import Callable, Sequence
from math import prod

Shapes = Sequence[Sequence[int]]  # of each argument; empty for one that is no tensor
Values = Sequence[str]  # of each argument that is no tensor, as PyTorch prints it


def count_flops(operator: str, shapes: Shapes, values: Values) -> int | None:
    """Return the operations of a call, such as `aten::mm` with shapes [[2, 3], [3, 4]]: 48; None if not counted."""
    if operator.startswith("aten::_scaled_dot_product_"):
        return _attention_backward(shapes[1:]) if operator.endswith("_backward") else _attention(shapes)
    count = _FORMULAS.get(operator)
    return None if count is None else count(shapes, values)


def _product(shapes: Shapes, values: Values) -> int:
    """Count (..., M, K) @ (K, N) or, batched, (..., K, N)."""
    return 2 * prod(shapes[0]) * shapes[1][-1]


def _added_product(shapes: Shapes, values: Values) -> int:
    return _product(shapes[1:], values)


def _linear(shapes: Shapes, values: Values) -> int:
    return 2 * prod(shapes[0]) * shapes[1][0]


def _convolution(shapes: Shapes, values: Values) -> int:
    image, kernel = shapes[0], shapes[1]
    stride, padding, dilation = (json.loads(values[place]) for place in (3, 4, 5))
    transposed = values[6] == "True"
    if transposed:
        return _applications(image, kernel)
    sides = [
        (side + 2 * pad - hole * (width - 1) - 1) // step + 1
        for side, width, pad, hole, step in zip(image[2:], kernel[2:], padding, dilation, stride, strict=True)
    ]
    return _applications([image[0], kernel[0], *sides], kernel)


def _convolution_backward(shapes: Shapes, values: Values) -> int:
    """Count the gradients of image and kernel, each as much work as the way forward, where they are wanted."""
    transposed, wanted = values[7] == "True", values[10].strip("[]").split(", ")
    applied_to = shapes[1] if transposed else shapes[0]
    return _applications(applied_to, shapes[2]) * wanted[:2].count("True")


def _applications(places: Sequence[int], kernel: Sequence[int]) -> int:
    """Count a kernel (O, I/groups, ...) applied at each place of (N, O, ...)."""
    return 2 * places[0] * prod(places[2:]) * prod(kernel)


def _attention(shapes: Shapes) -> int:
    """Count q (..., L, D) against k (..., S, D), and the mean of v (..., S, E)."""
    query, key, value = shapes[:3]
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_backward(shapes: Shapes) -> int:
    """Count the scores once more, and the gradients of scores, q, k and v."""
    query, key, value = shapes[:3]
    return 2 * prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


_FORMULAS: dict[str, Callable[[Shapes, Values], int]] = {
    "aten::mm": _product,
    "aten::bmm": _product,
    "aten::addmm": _added_product,
    "aten::baddbmm": _added_product,
    "aten::linear": _linear,
    "aten::convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
}
