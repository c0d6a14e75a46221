"""Files that are broken in every way are read or refused: a slice of what fuzzed_annotations.py does on its own."""

from fuzzed_annotations import MAKE, fuzz


def test_broken_annotations_are_read_rightly_or_refused_with_their_name() -> None:
    counts = fuzz(600, seed=18)
    assert counts.total() == 600
    assert all(counts[layout, what] > 10 for layout in MAKE for what in ("read", "error"))
