"""What was written as JSON comes back as it was, or is refused in a sentence."""

from typing import Literal, NamedTuple

import pytest

from drift_detector_pipeline.json_files import parsed, typed
from drift_detector_pipeline.lifecycle.labelling.basket_file import Sha256


class Kept(NamedTuple):
    name: str
    number: int
    share: float
    level: Literal["quiet", "alert"]
    digest: Sha256
    note: str | None = None


WHOLE = {"name": "a", "number": 1, "share": 0.5, "level": "quiet", "digest": "0" * 64}


def test_what_was_written_comes_back() -> None:
    assert typed(Kept, parsed('{"name": "ü"}') | WHOLE | {"name": "ü"}) == Kept("ü", 1, 0.5, "quiet", "0" * 64)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"number": True}, "number: Input should be a valid integer"),
        ({"number": "1"}, "number: Input should be a valid integer"),
        ({"share": float("nan")}, "share: Input should be a finite number"),
        ({"level": "loud"}, "level: Input should be 'quiet' or 'alert'"),
        ({"digest": "0" * 63}, "digest: String should match"),
        ({"name": None}, "name: Input should be a valid string"),
        ({"more": 1}, "more: unknown here; a newer version"),
    ],
)
def test_a_part_of_another_kind_is_named(odd, said) -> None:
    with pytest.raises(ValueError, match=said):
        typed(Kept, WHOLE | odd)


@pytest.mark.parametrize("values", [None, 5, "x", [1]])
def test_what_is_no_object_is_refused(values) -> None:
    with pytest.raises(ValueError, match="expected an object"):
        typed(Kept, values)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000])
def test_what_is_no_json_is_a_value_error_however_deep(text) -> None:
    with pytest.raises(ValueError):
        parsed(text)
