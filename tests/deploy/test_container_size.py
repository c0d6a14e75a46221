"""What `docker history` says becomes a table and a verdict."""

from importlib import metadata
from pathlib import Path

import pytest

from drift_detector_pipeline.deploy.container_size import Layer, read_history, report, uncounted_bytes
from drift_detector_pipeline.errors import ContainerError

HISTORY = """0\tENV PIPELINE_IMAGE=x
2500000\tRUN |2 IMAGE=a COMMIT=b /bin/sh -c chmod -R a+rX . # buildkit
900000000\tRUN |1 TORCH_INDEX= /bin/sh -c sh /tmp/docker-install.sh # buildkit
0\tWORKDIR /app
240000000\t/bin/sh -c #(nop) ADD file in /
"""


def test_layers_are_read_newest_first() -> None:
    layers = read_history(HISTORY.splitlines(keepends=True))
    assert [layer.size_bytes for layer in layers] == [0, 2_500_000, 900_000_000, 0, 240_000_000]
    assert layers[3] == Layer(0, "WORKDIR /app")


def test_the_base_and_pytorch_are_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    report(read_history(HISTORY.splitlines()), 400_000_000)
    said = capsys.readouterr().out
    assert "   900.0  sh /tmp/docker-install.sh\n" in said
    assert "   240.0  base\n   902.5  on top of it\n" in said
    assert "   502.5  counted; 600 allowed" in said


def test_too_large_an_image_is_refused_after_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ContainerError, match="too large"):
        report(read_history(HISTORY.splitlines()), 300_000_000)
    assert "   602.5  counted" in capsys.readouterr().out


def test_a_history_without_the_first_instruction_is_refused() -> None:
    with pytest.raises(ContainerError, match="base cannot be told apart"):
        report([Layer(1, "ADD file in /")], 0)


def test_the_uncounted_packages_are_weighed_with_their_libraries() -> None:
    library = Path(str(metadata.distribution("torch").locate_file("torch"))) / "lib"
    assert uncounted_bytes() > sum(path.stat().st_size for path in library.iterdir())
