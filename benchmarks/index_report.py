"""The table of the index benchmark, and its aims beside what was measured."""

from collections.abc import Sequence

from benchmarks.index_points import Point
from benchmarks.index_points import fastest
from benchmarks.index_points import finalists
from benchmarks.index_points import ratio
from benchmarks.index_systems import GRAPHS
from benchmarks.index_systems import OURS
from benchmarks.index_systems import RAW
from serving import text_table
from serving.text_table import Column

TARGETS = (0.95, 0.98)
_WIDTH = 150
_NUMBERS = (
    *("recall", "p50 [ms]", "p99 [ms]", "each [ms]", "queries/s", "build [s]"),
    *("MB", "peak MB", "p50/raw", "each/raw"),
)
_MOST_OF_RAW, _LEAST_OF_EXACT = 1.3, 5.0
_NOTES = """\
p50, p99: one query from Python. Of CPU time, on one core: each: one query of many in a row, for TensorFlow's in one graph, as a
server's C++ calls it; queries/s: in batches; build. /raw: to the fastest setting of raw ScaNN at that recall, in the same
rounds. MB: held by the process that answers; peak: the most in the build."""


def as_text(points: Sequence[Point], failures: dict[str, str]) -> str:
    """The fastest setting of each system at each target, what failed, and the aims."""
    names = list(dict.fromkeys(point.system for point in points))
    bests = {name: max(point.recall for point in points if point.system == name) for name in names}
    points = finalists(points)
    tables = [_table(points, bests, target=target) for target in TARGETS]
    failed = [f"{name}: not measured: {reason}" for name, reason in failures.items()]
    aims = [line for target in TARGETS for line in _aims(points, target=target)]
    return "\n".join([*tables, _NOTES, *failed, *aims])


def _table(points: Sequence[Point], bests: dict[str, float], *, target: float) -> str:
    columns = [Column(f"recall >= {target:g}"), Column("setting")]
    columns += [Column(heading, is_number=True) for heading in _NUMBERS]
    raw = _chosen(points, RAW, target=target)
    rows = []
    for name, best in bests.items():
        point = _chosen(points, name, target=target)
        if point is None:
            rows.append([name, "not reached", f"{best:.3f}", *[""] * (len(_NUMBERS) - 1)])
        else:
            rows.append([name, _setting(point), *_figures(point, raw)])
    return text_table.render(columns, rows, width=_WIDTH)


def _figures(point: Point, raw: Point | None) -> list[str]:
    return [
        f"{point.recall:.3f}",
        *(f"{point.median(name):.3f}" for name in ("p50_ms", "p99_ms", "each_ms")),
        f"{point.median('per_s'):,.0f}",
        f"{point.build_s:.1f}",
        f"{point.memory_mb:,.0f}",
        f"{point.peak_mb:,.0f}",
        f"{ratio(point, raw, 'p50_ms'):.2f}" if raw else "",
        f"{ratio(point, raw, 'each_ms'):.2f}" if raw else "",
    ]


def _setting(point: Point) -> str:
    return " ".join(f"{name}={value}" for name, value in point.setting.items()) or point.variant or "as built"


def _chosen(points: Sequence[Point], name: str, *, target: float) -> Point | None:
    found = fastest((point for point in points if point.system == name), target=target)
    return found[0] if found else None


def _aims(points: Sequence[Point], *, target: float) -> list[str]:
    chosen = {name: _chosen(points, name, target=target) for name in {point.system for point in points}}
    scann, ivf, exact = (chosen.get(OURS.format(kind)) for kind in ("scann", "ivf", "exact"))
    lines = [] if scann else ["MISSED: scann does not reach it"]
    if scann and (raw := chosen.get(RAW)):
        times = ratio(scann, raw, "each_ms")
        lines.append(
            f"{_verdict(times <= _MOST_OF_RAW)}: scann / raw ScaNN, each {times:.2f} (aim at most {_MOST_OF_RAW:g}), "
            f"p50 from Python {ratio(scann, raw, 'p50_ms'):.2f}"
        )
    graphs = [graph for name in GRAPHS if (graph := chosen.get(name))]
    lines += [
        _beside(kind, ours, graph)
        for kind in ("scann", "scann_int8")
        if (ours := chosen.get(OURS.format(kind)))
        for graph in graphs
    ]
    if ivf and exact:
        times = ratio(exact, ivf, "each_ms")
        lines.append(
            f"{_verdict(times >= _LEAST_OF_EXACT)}: exact / ivf, each {times:.1f} (aim at least {_LEAST_OF_EXACT:g}), "
            f"p50 from Python {ratio(exact, ivf, 'p50_ms'):.1f}"
        )
    return [f"recall >= {target:g}: {line}" for line in lines]


def _beside(kind: str, ours: Point, graph: Point) -> str:
    """Above 1 is better than the graph, in each of the three."""
    times = {
        "queries/s": ratio(ours, graph, "per_s"),
        "build": graph.build_s / ours.build_s,
        "memory": graph.memory_mb / ours.memory_mb,
    }
    texts = ", ".join(f"{name} {value:.2f}" for name, value in times.items())
    return f"{_verdict(min(times.values()) > 1)}: {kind} beside {graph.system}, times as good: {texts} (aim above 1 in each)"


def _verdict(is_reached: bool) -> str:
    return "reached" if is_reached else "MISSED"
