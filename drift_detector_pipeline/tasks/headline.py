"""The one number that decides which epoch is best, which trial wins and which model is promoted.

Stands in every receipt, so that readers of receipts need no task. Imports nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple


class Headline(NamedTuple):
    """A metric by name, and which of its values is the better one."""

    name: str
    larger_is_better: bool
    is_share: bool  # in 0..1, shown in percent

    @property
    def column(self) -> str:
        """Its name in metrics.jsonl, receipts and tables: measured on `val`."""
        return f"val_{self.name}"

    def best(self, rows: Iterable[Mapping[str, Any]]) -> Any:
        """The row of the best value, the first of equals."""
        return (max if self.larger_is_better else min)(rows, key=lambda row: float(row[self.column]))

    def text(self, value: float, digits: int = 1) -> str:
        """A value for people."""
        return f"{100 * value:.{digits}f} %" if self.is_share else f"{value:.4g}"

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """What Optuna calls it."""
        return "maximize" if self.larger_is_better else "minimize"

    def badness(self, value: float) -> float:
        """A number that is smaller for better values: what tables are sorted by."""
        return -value if self.larger_is_better else value


ACCURACY = Headline("accuracy", larger_is_better=True, is_share=True)  # also of receipts from before there were tasks
