"""Images in object storage: listed, and fetched for as long as they are looked at.

In: addresses such as s3://bucket/folder/. Out: addresses of single objects, and their bytes as files. Keys and the
address of another server than Amazon's come from the environment, as for any program: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL. Read by named_files.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.listing import is_clutter

SCHEME = "s3://"


def in_bucket(word: str) -> bool:
    """Whether a word is the address of something in a bucket."""
    return word.startswith(SCHEME)


def objects_named(address: str) -> list[str]:
    """The objects at or below `address`, or that match it as a pattern, sorted: all but clutter.

    Raises DataError if the bucket cannot be asked.
    """
    is_pattern = any(sign in address for sign in "*?[")
    with _reached(address) as files:  # what is found below an object is the object
        found = files.glob(address) if is_pattern else files.find(address.rstrip("/"))
    top = len(PurePosixPath(address.removeprefix(SCHEME)).parts) if found and not _is_one(address, found) else 0
    names = [PurePosixPath(one) for one in sorted(found) if not one.endswith("/")]
    return [f"{SCHEME}{name}" for name in names if not any(is_clutter(Path(part)) for part in name.parts[top:])]


def fetch_object(address: str, target: Path) -> None:
    """Write an object's bytes to `target`. Raises DataError if the bucket cannot be asked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _reached(address) as files:
        files.get_file(address, str(target))


def _is_one(address: str, found: list[str]) -> bool:
    return found == [address.removeprefix(SCHEME)]


@contextmanager
def _reached(address: str) -> Iterator[Any]:
    """A way into buckets; what goes wrong there is a DataError."""
    try:
        import s3fs
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise DataError(f"{address}: reading buckets needs s3fs ({error}); pip install -e '.[train]'") from error
    try:
        yield s3fs.S3FileSystem(use_listings_cache=False)
    except (OSError, BotoCoreError) as error:
        raise DataError(
            f"{address}: {error}; is the name right, and do AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, elsewhere "
            "than at Amazon, AWS_ENDPOINT_URL stand in the environment?"
        ) from error
