"""In which form images are stored: raw pixels, or a JPEG each.

In: settings, and how many images there are. Out: the quality for what must be encoded, or None for raw pixels. Read by
dataset.py.
"""

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.raw.listing import Listing
from drift_detector_pipeline.settings import Data

# Of square images of the stored side. About half the memory of a machine with 16 GB, so that raw pixels stay in memory
# beside a training; past that each image is read from the disk again in each epoch, where a JPEG is a tenth as long. A
# number, not this machine's memory: the same settings and images give the same bytes everywhere.
AUTO_BYTES = 8_000_000_000


def jpeg_quality(data: Data, listing: Listing) -> int | None:
    """The quality at which images of the listing are encoded; None: raw pixels. auto: raw up to `AUTO_BYTES`.

    Raises ConfigError if frames of clips are to be JPEGs.
    """
    if listing.task == "clips":
        if data.stored_as == "jpeg":
            raise ConfigError("data.stored_as=jpeg: frames of clips are stored as raw pixels only; leave it out")
        return None
    pixels = len(listing.images) * data.stored_side_px**2 * 3
    if data.stored_as == "raw" and pixels > AUTO_BYTES:
        log.warning("about %.0f GB of raw pixels; data.stored_as=auto stores JPEGs: a tenth of it", pixels / 1e9)
    return data.jpeg_quality if data.stored_as == "jpeg" or (data.stored_as == "auto" and pixels > AUTO_BYTES) else None
