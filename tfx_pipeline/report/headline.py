"""The first figures that a person wants: the model beside the last blessed one and popularity."""

from typing import Any
from typing import NamedTuple

from tfx_pipeline.report.plots import Interval
from tfx_pipeline.report.records import CONVERSION
from tfx_pipeline.report.records import Record
from tfx_pipeline.report.records import overall
from tfx_pipeline.report.slices import METRIC

_NOVELTY_TITLES = {"all": "All conversions", "new": "New to the user"}


class Table(NamedTuple):
    """Metrics of the same rows.

    Attributes:
        title: which rows.
        rows: one per metric.
        scorers: which of `model`, `baseline`, `change`, `popularity` and `best_possible` any of them has.
    """

    title: str
    rows: list[Record]
    scorers: list[str]


class Tile(NamedTuple):
    """A figure in large, with what stands beside it."""

    title: str
    model: Interval
    lines: list[str]


class Headline(NamedTuple):
    """What the section shows.

    Attributes:
        tiles: recall@100 of conversions.
        tables: of conversions.
        others: tables of the other tasks.
        has_intervals: false where only `eval` was measured.
    """

    tiles: list[Tile]
    tables: list[Table]
    others: list[Table]
    has_intervals: bool


def headline(metrics: dict[str, Any]) -> Headline:
    """Of all conversions, of the new ones, then of the other tasks."""
    records = overall(metrics)
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.task, record.novelty), []).append(record)
    first = [(CONVERSION, "all"), (CONVERSION, "new")]
    tables = [_table(*key, groups[key]) for key in first if key in groups]
    others = [_table(*key, groups[key]) for key in groups if key not in first]
    tiles = [
        _tile(record) for key in first for record in groups.get(key, []) if record.metric == METRIC and record.model
    ]
    return Headline(tiles, tables, others, any(record.model and record.model.low is not None for record in records))


def lift(record: Record) -> str:
    """How many times popularity's figure the model's is."""
    if record.model is None or record.popularity is None or record.popularity.value <= 0:
        return ""
    return f"{record.model.value / record.popularity.value:.2f}\N{MULTIPLICATION SIGN}"


def _table(task: str, novelty: str, records: list[Record]) -> Table:
    title = _NOVELTY_TITLES.get(novelty, novelty)
    if task != CONVERSION:
        title = f"{task.replace('_', ' ').capitalize()}: {title.lower()}"
    scorers = ("model", "baseline", "change", "popularity", "best_possible")
    support = records[0]
    rows = "" if support.num_rows is None else f", {support.num_rows:,} rows"
    users = "" if support.num_users is None else f" of {support.num_users:,} users"
    return Table(title + rows + users, records, [name for name in scorers if any(getattr(r, name) for r in records)])


def _tile(record: Record) -> Tile:
    lines = []
    if record.baseline:
        change = f" ({record.change.value:+.4f})" if record.change else ""
        lines.append(f"last blessed {record.baseline.value:.4f}{change}")
    if record.popularity:
        times = lift(record)
        lines.append(f"popularity {record.popularity.value:.4f}" + (f": {times}" if times else ""))
    if record.best_possible:
        lines.append(f"best possible {record.best_possible.value:.4f}")
    title = f"{METRIC}, {_NOVELTY_TITLES[record.novelty].lower()}"
    return Tile(title, record.model or Interval(0.0), lines)
