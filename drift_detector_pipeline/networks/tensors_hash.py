"""Which weights are these? One SHA-256 for a state dict, whatever file or layout it lies in.

In: tensors by name. Out: a hash. Read by weights.py, checkpoints and the drift detector, which needs nothing else of a
training.
"""

import hashlib
from collections.abc import Mapping

import torch


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the sorted (name, dtype, shape, bytes) of tensors: independent of file format and layout."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
