"""Images' bytes -> crops, in few threads and bounded memory.

In: bytes of unknown origin. Out: a crop, and the SHA-256 of the bytes. A file of 200 KB may hold pixels for a gigabyte:
its header is asked first, and large images wait for one another.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import NamedTuple

from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import FORMATS, read_header
from drift_detector_pipeline.serving.engine import Crop, Engine
from drift_detector_pipeline.serving.problems import RequestError

THREADS = 2
SMALL_PIXELS = 2_000_000  # images up to here wait for nobody: as many as there are threads take few megabytes
THUMBNAIL_PX = 96
_USUAL_COPIES = 2  # of an image in memory; of formats that need more, fewer pixels are taken
CROPS = 64  # decoded and not answered yet, of all requests


class Prepared(NamedTuple):
    """An image, ready for the batcher."""

    crop: Crop
    sha256: bytes  # of the bytes as they were sent


class Decoder:
    """Threads that decode, and the room they have. All methods belong to one event loop."""

    def __init__(self, most_pixels: int) -> None:
        self._most_pixels = most_pixels
        self._threads = ThreadPoolExecutor(THREADS, "decode")
        self._large = asyncio.Lock()
        self._crops = asyncio.Semaphore(CROPS)

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    @asynccontextmanager
    async def prepared(self, content: bytes, engine: Engine) -> AsyncIterator[Prepared]:
        """Decode and crop for `engine`; the crop has a place among the CROPS until the context ends.

        Raises RequestError if these bytes are no image, or one that is too large.
        """
        async with self._crops:
            yield await self._in_thread(content, engine)

    async def _in_thread(self, content: bytes, engine: Engine) -> Prepared:
        run, loop = self._threads, asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(run, _prepare_small, content, engine, self._most_pixels)
            if found is not None:
                return found
            async with self._large:
                return await loop.run_in_executor(run, _prepare, content, engine)
        except DataError as error:
            raise RequestError("image", str(error)) from error


def _prepare_small(content: bytes, engine: Engine, most_pixels: int) -> Prepared | None:
    """None of an image that has to wait for others. Raises RequestError or DataError, see `Decoder.prepared`."""
    header = read_header(content)
    if header is None:
        raise RequestError("type", f"these bytes are none of {', '.join(FORMATS)}; send one of these")
    most = most_pixels * _USUAL_COPIES // max(_USUAL_COPIES, header.copies)
    if header.width * header.height > most:
        said = f"{header.width} x {header.height} px are more than {most / 1e6:g} megapixels, the most of such a file"
        raise RequestError("image", f"{said}; make it smaller")
    return _prepare(content, engine) if header.width * header.height <= SMALL_PIXELS else None


def _prepare(content: bytes, engine: Engine) -> Prepared:
    return Prepared(engine.view(content), hashlib.sha256(content).digest())


def thumbnail_of(crop: Pixels) -> bytes:
    """A small JPEG of uint8 (S, S, 3)."""
    image, buffer = Image.fromarray(crop), io.BytesIO()
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BICUBIC)
    image.save(buffer, "jpeg", quality=85)
    return buffer.getvalue()
