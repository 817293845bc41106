"""The results of a run of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.ways import Cost

GIB = 2**30


@dataclass(frozen=True)
class SizeResult:
    """The cost of a first and a daily delivery for one way of running, and for the floor in the same run."""

    way: str
    customers: int
    costs: Sequence[Cost]
    floors: Sequence[Cost]

    @property
    def ratios(self) -> list[float]:
        """The seconds of the first and the daily delivery, as multiples of the floor's."""
        return [cost.seconds / floor.seconds for cost, floor in zip(self.costs, self.floors, strict=True)]

    @property
    def memory(self) -> float | None:
        """The peak memory of the largest process of both deliveries in GiB, if it was measured."""
        peaks = [cost.peak_bytes for cost in self.costs if cost.peak_bytes is not None]
        return max(peaks) / GIB if peaks else None

    @property
    def spilled(self) -> float:
        """The most that DuckDB spilled, in GiB."""
        return max(cost.spilled_bytes for cost in self.costs) / GIB

    def __str__(self) -> str:
        columns = "   ".join(
            f"{cost.seconds:>7.1f} s {ratio:>6.1f}" for cost, ratio in zip(self.costs, self.ratios, strict=True)
        )
        memory = "" if self.memory is None else f"{self.memory:.2f} GiB {self.spilled:.2f} GiB"
        return f"{self.way:<20} {columns}   {memory:>17}"


@dataclass
class Results:
    """All results: by size; by share of changed keys, as multiples of the floor; by earlier deliveries, in seconds."""

    changed_customers: int
    history_customers: int
    sizes: list[SizeResult] = field(default_factory=list)
    changed: dict[float, float] = field(default_factory=dict)
    history: dict[int, float] = field(default_factory=dict)
