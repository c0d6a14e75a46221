"""Not a test: bytes that find their own way through decoders and readers, led by which lines they reach (atheris).

    python tests/fuzz_bytes.py decode 60     # or header, archive, voc, coco, kitti, yolo; without a name all; seconds

Whatever the bytes are, the answer is a reading or a DataError, within libFuzzer's limits of time and memory. Of an
annotation format one file of a whole small data set is replaced. What was found lies in outputs/fuzz/.
"""

import atexit
import contextlib
import io
import itertools
import logging
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "raw" / "formats"))
with atheris.instrument_imports(include=["drift_detector_pipeline"]):
    from fuzzed_annotations import MAKE, lay, outcome

    from drift_detector_pipeline.errors import DataError
    from drift_detector_pipeline.images.decoder import decode, read_header
    from drift_detector_pipeline.raw.archives import extract

FOUND = Path("outputs/fuzz")  # inputs that broke something
_SIDE_PX, _SECONDS_EACH, _MEGABYTES = 32, 20, 2048
_FILES = {"voc": ".xml", "coco": ".json", "kitti": ".txt", "yolo": ".txt"}


def targets(place: Path) -> dict[str, Callable[[bytes], None]]:
    """What takes bytes, by name; `place` is a folder of its own."""
    fixed: dict[str, Callable[[bytes], object]] = {
        "decode": lambda content: decode(content, _SIDE_PX), "header": read_header, "archive": _archive(place),
    }  # fmt: skip
    chosen = fixed | {layout: _annotations(place, layout) for layout in MAKE}
    return {name: _or_refused(one) for name, one in chosen.items()}


def _or_refused(taken: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def ask(content: bytes) -> None:
        with contextlib.suppress(DataError):
            taken(content)

    return ask


def _archive(place: Path) -> Callable[[bytes], None]:
    numbers = itertools.count()

    def ask(content: bytes) -> None:
        folder = place / f"archive{next(numbers)}"
        try:
            (place / "given").write_bytes(content)
            extract(place / "given", folder / "inside")
        finally:
            assert not folder.exists() or {one.name for one in folder.iterdir()} <= {"inside"}, "climbed out"
            shutil.rmtree(folder, ignore_errors=True)

    return ask


def _annotations(place: Path, layout: str) -> Callable[[bytes], object]:
    files = MAKE[layout]()
    lay(place / layout, files)
    changed = next(name for name in files if name.endswith(_FILES[layout]) and "ImageSets" not in name)

    def ask(content: bytes) -> object:
        (place / layout / changed).write_bytes(content)
        return outcome(place / layout, layout, changed)

    return ask


def _seeds(name: str) -> Iterator[bytes]:
    """Whole files to start from."""
    if name in MAKE:
        yield from (text.encode() for text in MAKE[name]().values())
        return
    picture = Image.linear_gradient("L").resize((9, 7)).convert("RGB")
    for kind in ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"):
        written = io.BytesIO()
        picture.save(written, kind)
        yield written.getvalue()
    for pack in ("w", "w:gz"):
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode=pack) as tar:  # type: ignore[call-overload]
            tar.addfile(tarfile.TarInfo("a/b"), None)
        yield written.getvalue()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as packed:
        packed.writestr("a/b", b"c")
    yield written.getvalue()


def main() -> int:
    """Fuzz the named target for so many seconds, or all of them, each in a process of its own; status 77: found."""
    *named, seconds = sys.argv[1:] or ["60"]
    if named:
        _fuzz(named[0], int(seconds))  # libFuzzer ends the process
    with tempfile.TemporaryDirectory() as place:
        every = list(targets(Path(place)))
    ended = {name: subprocess.run([sys.executable, __file__, name, seconds]).returncode for name in every}
    print(
        *(f"{name}: {'nothing found' if status == 0 else f'status {status}'}" for name, status in ended.items()),
        sep="\n",
    )
    return max(ended.values(), key=abs)


def _fuzz(name: str, seconds: int) -> None:
    logging.disable()
    place = Path(tempfile.mkdtemp())
    (place / "seeds").mkdir()
    for number, content in enumerate(_seeds(name)):
        (place / "seeds" / str(number)).write_bytes(content)
    FOUND.mkdir(parents=True, exist_ok=True)
    # The largest memory a process ever had begins with that of the one that started it, as Linux counts it.
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + _MEGABYTES
    options = [f"-max_total_time={seconds}", f"-timeout={_SECONDS_EACH}", f"-rss_limit_mb={megabytes}",
               f"-artifact_prefix={FOUND}/{name}-", "-print_final_stats=1", str(place / "seeds")]  # fmt: skip
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    atheris.Setup([sys.argv[0], *options], targets(place)[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
