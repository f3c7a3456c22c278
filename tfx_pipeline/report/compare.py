"""Two runs side by side: what differs in figures, slices, curves, configuration and versions."""

from pathlib import Path
from typing import Any
from typing import NamedTuple

from markupsafe import Markup

from tfx_pipeline.atomic import write_text
from tfx_pipeline.report.configuration import flat
from tfx_pipeline.report.environment import templates
from tfx_pipeline.report.figures import BASELINE
from tfx_pipeline.report.figures import MODEL
from tfx_pipeline.report.files import REPORT_FOLDER
from tfx_pipeline.report.plots import Line
from tfx_pipeline.report.plots import Row
from tfx_pipeline.report.plots import interval_plot
from tfx_pipeline.report.plots import line_plot
from tfx_pipeline.report.records import CONVERSION
from tfx_pipeline.report.records import OVERALL
from tfx_pipeline.report.records import Record
from tfx_pipeline.report.records import overall
from tfx_pipeline.report.records import read_slices
from tfx_pipeline.report.runs import Run
from tfx_pipeline.report.slices import METRIC
from tfx_pipeline.report.slices import NOVELTY_TITLES
from tfx_pipeline.report.slices import most_supported
from tfx_pipeline.report.verdict import verdict

_MARKS = {"A": MODEL, "B": BASELINE}
_SCORERS = ("model", "popularity")


class Pair(NamedTuple):
    """The same metric of both runs; None: not measured there."""

    record: Record
    a: Record | None
    b: Record | None


def write_comparison(root: Path, a: Run, b: Run) -> Path:
    """Writes `ROOT/report/compare-A-B.html`; its path."""
    page = root / REPORT_FOLDER / f"compare-{a.name}-{b.name}.html"
    write_text(page, render(a, b))
    return page


def render(a: Run, b: Run) -> str:
    """The page as HTML."""
    config = _differences(*(flat(run.metrics.get("config") or {}) for run in (a, b)))
    versions = _differences(*(run.metrics.get("versions") or {} for run in (a, b)))
    return templates().get_template("compare.html").render(
        runs={"A": a, "B": b},
        verdicts=[verdict(run.metrics) for run in (a, b)],
        is_same_data=_data(a.metrics) == _data(b.metrics),
        pairs=_pairs(overall(a.metrics), overall(b.metrics)),
        panels=_panels(a.metrics, b.metrics),
        curves=_curves(a.metrics, b.metrics),
        differences={"Configuration": config, "Versions": versions},
    )  # fmt: skip


def _data(metrics: dict[str, Any]) -> tuple:
    """What says that two evaluations are of the same rows."""
    sizes = [((metrics.get("eval") or {}).get(kind) or {}).get("num_rows") for kind in ("all", "new")]
    return (metrics.get("data") or {}).get("source"), (metrics.get("examples") or {}).get("period"), sizes


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)]


def _pairs(of_a: list[Record], of_b: list[Record]) -> list[Pair]:
    in_a, in_b = ({record[:5]: record for record in records} for records in (of_a, of_b))
    return [Pair(in_a.get(key) or in_b[key], in_a.get(key), in_b.get(key)) for key in {**in_a, **in_b}]


def _panels(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, str, Markup]]:
    pairs = [
        pair
        for pair in _pairs(read_slices(a), read_slices(b))
        if (pair.record.task, pair.record.metric) == (CONVERSION, METRIC) and pair.record.feature != OVERALL
    ]
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.record.novelty):
        groups.setdefault((pair.record.feature, pair.record.novelty), []).append(pair)
    return [
        (feature, NOVELTY_TITLES.get(novelty, novelty), _panel(feature, groups[feature, novelty]))
        for feature in dict.fromkeys(pair.record.feature for pair in pairs)
        for _, novelty in [key for key in groups if key[0] == feature]
    ]


def _panel(feature: str, pairs: list[Pair]) -> Markup:
    shown = most_supported([pair.record for pair in pairs])
    rows = [
        Row(
            pair.record.value or "(none)",
            f"{pair.record.num_rows or 0:,}",
            {"A": pair.a.model if pair.a else None, "B": pair.b.model if pair.b else None},
        )
        for pair in pairs
        if pair.record in shown
    ]
    alt = f"{METRIC} by {feature} of run A and run B, with 95% intervals"
    return interval_plot(rows, _MARKS, x_label=METRIC, note_title="conversions", alt=alt)


def _curves(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Markup]]:
    runs = {"A": a, "B": b}
    found = []
    curves = {name: metrics.get("recall_curve") or {} for name, metrics in runs.items()}
    if lines := [_line(name, curve["k"], curve["model"]) for name, curve in curves.items() if curve.get("model")]:
        alt = "Recall at k of run A and run B"
        plot = line_plot(
            lines, x_label="k, retrieved items", y_label="recall@k", alt=alt, is_log_x=True, from_zero=True
        )
        found.append(("Recall at k", plot))
    for kind, title in (("recall_all", "all"), ("recall_new", "new")):
        points = {name: (metrics.get("training") or {}).get("validations") or [] for name, metrics in runs.items()}
        lines = [
            _line(name, [p["step"] for p in those], [p.get(kind) for p in those]) for name, those in points.items()
        ]
        if lines := [line for line in lines if line.x]:
            alt = f"Validation recall of {title} by step, of run A and run B"
            found.append((f"Validation, {title}", line_plot(lines, x_label="step", y_label="recall", alt=alt)))
    return found


def _line(name: str, x: list[float], y: list[float | None]) -> Line:
    return Line(name, x, y, _MARKS[name], has_markers=True)
