"""The section of the slices: for whom the model is better or worse."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from markupsafe import Markup

from tfx_pipeline.report.figures import BASELINE
from tfx_pipeline.report.figures import MODEL
from tfx_pipeline.report.figures import POPULARITY
from tfx_pipeline.report.figures import Mark
from tfx_pipeline.report.plots import Row
from tfx_pipeline.report.plots import interval_plot
from tfx_pipeline.report.records import CONVERSION
from tfx_pipeline.report.records import OVERALL
from tfx_pipeline.report.records import Record
from tfx_pipeline.report.records import read_slices

METRIC = "recall@100"
NOVELTY_TITLES = {"all": "all conversions", "new": "new to the user"}
MAX_VALUES = 10
"""Rows of a plot; a feature with more values shows those with most support."""
MAX_LISTED = 50
"""Rows of the table beside a plot; all are in `metrics.json`."""
_MARKS: Mapping[str, Mark] = {"model": MODEL, "baseline": BASELINE, "popularity": POPULARITY}


class Panel(NamedTuple):
    """One feature and novelty.

    Attributes:
        feature: that slices.
        title: of the novelty.
        records: the table's values, in the file's order.
        num_values: of the feature.
        num_shown: values in the plot.
        plot: of the values with most support.
    """

    feature: str
    title: str
    records: Sequence[Record]
    num_values: int
    num_shown: int
    plot: Markup


class Slices(NamedTuple):
    """What the section shows.

    Attributes:
        panels: of each feature, all conversions before the new ones.
        worse: slices whose change is below zero with its whole interval, the most first.
        better: slices whose change is above zero with its whole interval, the most first.
        num_compared: slices with a change.
        has_baseline: whether there was a model to compare with.
    """

    panels: dict[str, list[Panel]]
    worse: list[Record]
    better: list[Record]
    num_compared: int
    has_baseline: bool


def slices(metrics: dict[str, Any]) -> Slices:
    """Of recall@100 of conversions; no panels where it was not measured."""
    records = [
        record
        for record in read_slices(metrics)
        if record.task == CONVERSION and record.feature != OVERALL and record.metric == METRIC and record.model
    ]
    groups: dict[tuple[str, str], list[Record]] = {}
    for feature in dict.fromkeys(record.feature for record in records):
        for novelty in NOVELTY_TITLES:
            found = [record for record in records if (record.feature, record.novelty) == (feature, novelty)]
            if found:
                groups[feature, novelty] = found
    changed = [record for record in records if record.change and None not in record.change]
    worse = [record for record in changed if record.change and (record.change.high or 0) < 0]
    better = [record for record in changed if record.change and (record.change.low or 0) > 0]
    panels: dict[str, list[Panel]] = {}
    for (feature, novelty), found in groups.items():
        panels.setdefault(feature, []).append(_panel(feature, novelty, found))
    return Slices(
        panels,
        sorted(worse, key=_change),
        sorted(better, key=_change, reverse=True),
        len(changed),
        any(record.baseline for record in records),
    )


def most_supported(records: Sequence[Record], limit: int = MAX_VALUES) -> list[Record]:
    """Those with most rows, in their own order."""
    largest = sorted(records, key=lambda record: -(record.num_rows or 0))[:limit]
    return [record for record in records if record in largest]


def _panel(feature: str, novelty: str, records: Sequence[Record]) -> Panel:
    shown = most_supported(records)
    marks = {name: mark for name, mark in _MARKS.items() if any(getattr(record, name) for record in shown)}
    rows = [
        Row(record.value or "(none)", _support(record), {name: getattr(record, name) for name in marks})
        for record in shown
    ]
    title = NOVELTY_TITLES[novelty]
    alt = f"{METRIC} by {feature}, {title}: model, last blessed model and popularity, with 95% intervals"
    plot = interval_plot(rows, marks, x_label=METRIC, note_title="conversions", alt=alt)
    return Panel(feature, title, most_supported(records, MAX_LISTED), len(records), len(shown), plot)


def _support(record: Record) -> str:
    return f"{record.num_rows:,}" if record.num_rows is not None else ""


def _change(record: Record) -> float:
    return record.change.value if record.change else 0.0
