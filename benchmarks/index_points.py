"""Points of the systems' curves, and which of them a target of recall chooses."""

import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from benchmarks.index_system import Setting


@dataclass(eq=False)
class Point:
    """A system with one setting.

    Attributes:
        system: name.
        variant: how it was built.
        setting: it searches with.
        recall: share of the exact k best.
        build_s: CPU seconds.
        memory_mb: held after the build; of a SavedModel, by the process that loaded it.
        peak_mb: most in the build.
        rounds: of each round `p50_ms` and `p99_ms`; of CPU time `each_ms` and `per_s`.
    """

    system: str
    variant: str
    setting: Setting
    recall: float
    build_s: float
    memory_mb: float
    peak_mb: float
    rounds: list[dict[str, float]] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Of the rounds' figures."""
        return statistics.median(figures[name] for figures in self.rounds)


def fastest(points: Iterable[Point], *, target: float, most: int = 1) -> list[Point]:
    """Those of at least the target's recall, the quickest at a query first."""
    reached = [point for point in points if point.recall >= target]
    return sorted(reached, key=lambda point: point.median("each_ms"))[:most]


def finalists(points: Sequence[Point]) -> list[Point]:
    """Those that were measured in every round; one round's luck is no figure."""
    most = max(len(point.rounds) for point in points)
    return [point for point in points if len(point.rounds) == most]


def contenders(points: Sequence[Point], *, targets: Sequence[float], most: int) -> list[Point]:
    """The points of each system that may yet be its fastest at a target, in the order given."""
    kept = {
        point
        for system in {point.system for point in points}
        for target in targets
        for point in fastest((point for point in points if point.system == system), target=target, most=most)
    }
    return [point for point in points if point in kept]


def ratio(point: Point, other: Point, name: str) -> float:
    """The median of the rounds' ratios: what slowed a whole round down is in both."""
    return statistics.median(own[name] / others[name] for own, others in zip(point.rounds, other.rounds, strict=False))
