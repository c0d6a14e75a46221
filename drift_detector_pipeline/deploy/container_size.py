"""What a container image weighs: `python -m drift_detector_pipeline.deploy.container_size`, run in that image.

In: `docker history` on stdin, one line per layer, newest first, bytes and command parted by a tab. Out: a table, and
exit status 1 if the image is too large on top of its base, PyTorch and the CUDA libraries not counted. Used by
`make docker_build`.
"""

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.errors import ContainerError, exit_status

LIMIT_BYTES = 600_000_000
FIRST = "WORKDIR /app"  # the Dockerfile's first instruction; what is older is the base
UNCOUNTED = re.compile(
    r"(torch|torchvision|triton|nvidia-.*|cuda-.*)"
)  # distributions whose size is not ours to choose


class Layer(NamedTuple):
    """One line of `docker history`."""

    size_bytes: int
    command: str


@exit_status
def main() -> int:
    """Print the layers of the image this runs in and judge what they weigh."""
    layers = read_history(sys.stdin)
    report(layers, uncounted_bytes())
    return 0


def read_history(lines: Iterable[str]) -> list[Layer]:
    """Parse what `docker history --human=false --no-trunc` prints in the format `{{.Size}}`, tab, `{{.CreatedBy}}`."""
    split = [line.rstrip("\n").split("\t", 1) for line in lines if line.strip()]
    return [Layer(int(size), " ".join(command.split())) for size, command in split]


def report(layers: list[Layer], uncounted: int) -> None:
    """Print size per layer and the sums. Raises ContainerError above the limit or if the base cannot be told apart."""
    first = next((index for index, layer in enumerate(layers) if layer.command.startswith(FIRST)), None)
    if first is None:
        raise ContainerError(f"no {FIRST!r} in the image's history, so its base cannot be told apart")
    print("      MB  layer, newest first")
    for layer in layers:
        if layer.size_bytes:
            print(f"{layer.size_bytes / 1e6:8.1f}  {_shortened(layer.command)}")
    base = sum(layer.size_bytes for layer in layers[first + 1 :])
    ours = sum(layer.size_bytes for layer in layers[: first + 1])
    print(f"{base / 1e6:8.1f}  base\n{ours / 1e6:8.1f}  on top of it")
    print(f"{uncounted / 1e6:8.1f}  of that torch, torchvision, triton, nvidia-* and cuda-*")
    print(f"{(ours - uncounted) / 1e6:8.1f}  counted; {LIMIT_BYTES / 1e6:.0f} allowed")
    if ours - uncounted > LIMIT_BYTES:
        raise ContainerError("the image is too large: see which layer grew, and what docker-install.sh can leave out")


def uncounted_bytes() -> int:
    """Size of the installed packages that do not count, bytecode and libraries beside them included."""
    tops: set[Path] = set()
    for distribution in metadata.distributions():
        if UNCOUNTED.fullmatch(distribution.name):
            root = Path(str(distribution.locate_file("")))
            tops |= {root / file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}
    files = (path for top in tops for path in ([top] if top.is_file() else top.rglob("*")))
    return sum(path.lstat().st_size for path in files if path.is_file())


def _shortened(command: str) -> str:
    text = re.sub(r"^(RUN )?(\|\d+ .*?)?/bin/sh -c (#\(nop\) )?", "", command).removesuffix(" # buildkit")
    return text if len(text) <= 100 else f"{text[:97]}..."


if __name__ == "__main__":
    sys.exit(main())
