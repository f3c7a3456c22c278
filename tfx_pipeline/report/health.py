"""The section of the data's health."""

from datetime import date
from datetime import datetime
from datetime import timezone
from typing import Any
from typing import NamedTuple

from markupsafe import Markup

from tfx_pipeline.report.figures import BLUE
from tfx_pipeline.report.figures import Mark
from tfx_pipeline.report.plots import Line
from tfx_pipeline.report.plots import line_plot

_DEAD_LETTERS = "dead_letters."


class Health(NamedTuple):
    """What the section shows.

    Attributes:
        found: what DataHealth measured; empty where it did not run. Distances are sorted, the furthest over its bound first.
        labels: its part on conversions.
        plot: conversions per day; None where these were not counted.
        dead_letters: bad rows by reason, also of the source, before the tables.
        counts: what the examples' making counted.
    """

    found: dict[str, Any]
    labels: dict[str, Any]
    plot: Markup | None
    dead_letters: dict[str, int]
    counts: dict[str, int]


def health(metrics: dict[str, Any]) -> Health:
    """Of DataHealth, and of the examples' counts, which are there without it too."""
    found = dict(metrics.get("health") or {})
    for kind in ("skew", "drift"):
        found |= {kind: sorted(found[kind], key=_excess, reverse=True)} if found.get(kind) else {}
    labels = found.get("labels") or {}
    examples = metrics.get("examples") or {}
    counts = examples.get("counts") or {}
    dead = {name.removeprefix(_DEAD_LETTERS): n for name, n in counts.items() if name.startswith(_DEAD_LETTERS)}
    cut_us = (examples.get("period") or {}).get("cut_us")
    days = labels.get("conversions_per_day") or []
    plot = _plot(days, cut_us) if days else None
    aside = (metrics.get("data") or {}).get("set_aside") or {}
    dead = {f"source: {reason}": n for reason, n in aside.items() if n} | (labels.get("dead_letters") or dead)
    return Health(found, labels, plot, dead, counts)


def _excess(distance: dict[str, Any]) -> float:
    """How many times its bound a distance is; one that could not be measured is none."""
    value, bound = distance.get("value"), distance.get("bound")
    return value / bound if value is not None and bound else 0.0


def _plot(days: list[dict[str, Any]], cut_us: int | None) -> Markup:
    """Against days since the first, so that a day without conversions leaves a zero."""
    ordinals = {date.fromisoformat(row["day"]).toordinal(): row["conversions"] for row in days}
    first, last = min(ordinals), max(ordinals)
    x = list(range(last - first + 1))
    line = Line("conversions per day", x, [ordinals.get(first + day, 0) for day in x], Mark(BLUE, "o"))
    names = {day: date.fromordinal(first + day).isoformat() for day in x}
    moments = {}
    if cut_us is not None:
        cut = datetime.fromtimestamp(cut_us / 1e6, tz=timezone.utc).date().toordinal() - first
        moments = {float(cut): "eval"} if 0 <= cut <= x[-1] else {}
    return line_plot(
        [line],
        x_label="day",
        y_label="conversions",
        x_names=names,
        moments=moments,
        from_zero=True,
        alt=f"Conversions per day from {names[0]} to {names[x[-1]]}",
    )
