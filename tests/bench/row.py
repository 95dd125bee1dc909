"""One row of the table of `make bench`, and how it is measured."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """A comparison in one run. The ratio is ours / baseline; ``goal`` is its least, or its most with ``at_most``."""

    name: str
    unit: str
    ours: float
    baseline: float
    goal: float
    at_most: bool = False

    @property
    def ratio(self) -> float:
        return self.ours / self.baseline

    @property
    def is_good(self) -> bool:
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def __str__(self) -> str:
        goal = f"{'≤' if self.at_most else '≥'} {self.goal:.2f}"
        return (
            f"{self.name:52}{self.ours:11,.1f}{self.baseline:11,.1f}  {self.unit:10}{self.ratio:8.2f}  {goal:9}"
            f"{'ok' if self.is_good else 'short'}"
        )


def interleaved(*work: Callable[[], float], rounds: int = ROUNDS) -> list[float]:
    """Return the medians of what is measured in turns; the first round warms up."""
    found: list[list[float]] = [[] for _ in work]
    for number in range(rounds + 1):
        for values, measure in zip(found, work, strict=True):
            value = measure()
            if number:
                values.append(value)
    return [statistics.median(values) for values in found]
