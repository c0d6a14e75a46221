"""Bytes -> pixels -> model input: the same input for the same image, wherever it is seen.

png_remarks   a PNG without what is said beside its pixels
colours       what the values of an image file mean, and what shows nothing
decoder       the one decoder: a file's bytes -> uint8 RGB as it is stored
model_input   stored image -> inference crop, the same bits with and without torch
stored_jpeg   an image stored as a JPEG, and its pixels when somebody looks
decode_many   many files, on all cores
buckets       images in object storage, listed and fetched
named_files   the image files a person names: files, folders, patterns, archives, buckets
letterbox     stored image -> all of it in a square, for boxes, and the way back
drawing       boxes drawn into images
transforms    pixels as tensors: parts, resized, normalised
crops         image files -> pixels as they are stored, inference crops; the unreadable ones put aside
tiles         a large image as parts that overlap
distortions   other colours and shapes for training
augmentation  stored image -> one of its training views
mixing        two training views -> one with the labels of both

`from drift_detector_pipeline.images import decode` is the decoder for whoever uses the package as a library.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import the decoder when it is asked for: commands that look at no image start without it (PEP 562)."""
    if name != "decode":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from drift_detector_pipeline.images.decoder import decode

    return decode
