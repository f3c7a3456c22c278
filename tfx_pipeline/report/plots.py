"""Plots of intervals and of lines."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import MaxNLocator

from tfx_pipeline.report.figures import GREY
from tfx_pipeline.report.figures import INK
from tfx_pipeline.report.figures import MUTED
from tfx_pipeline.report.figures import Mark
from tfx_pipeline.report.figures import draw
from tfx_pipeline.report.figures import shortened

_ROW_HEIGHT, _FOOT = 34, 58
_DODGE = 0.24
_LINE_HEIGHT = 240
_LEGEND_LETTERS = 36


class Interval(NamedTuple):
    """A figure with its 95% interval; without one, both ends are None."""

    value: float
    low: float | None = None
    high: float | None = None


class Row(NamedTuple):
    """A line of an interval plot: points by series, None where there is none."""

    label: str
    note: str
    points: Mapping[str, Interval | None]


class Line(NamedTuple):
    """A series of a line plot; a y of None is a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    mark: Mark
    has_markers: bool = False


def interval(found: Mapping[str, Any] | None) -> Interval | None:
    """Of a record's `{"value", "low", "high"}`."""
    if not found or found.get("value") is None:
        return None
    return Interval(found["value"], found.get("low"), found.get("high"))


def interval_plot(rows: Sequence[Row], marks: Mapping[str, Mark], *, x_label: str, note_title: str, alt: str) -> Markup:
    """Dots with intervals, one line per row from the top, series one below the other, notes at the right."""

    def paint(axes: Axes) -> None:
        for place, (name, mark) in enumerate(marks.items()):
            offset = (place - (len(marks) - 1) / 2) * _DODGE
            _dots(axes, [(number + offset, row.points.get(name)) for number, row in enumerate(rows)], mark)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [shortened(row.label, 22) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        for number in range(1, len(rows)):
            axes.axhline(number - 0.5, color=GREY, linewidth=0.4, alpha=0.4)
        beside = axes.get_yaxis_transform()
        for number, row in enumerate(rows):
            axes.text(1.02, number, row.note, transform=beside, va="center", fontsize=10, color=MUTED)
        axes.text(1.02, -0.5, note_title, transform=beside, va="bottom", fontsize=10, color=MUTED)
        axes.set_xlabel(x_label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))

    return draw(paint, height=_FOOT + _ROW_HEIGHT * len(rows), alt=alt)


def _dots(axes: Axes, points: Sequence[tuple[float, Interval | None]], mark: Mark) -> None:
    there = [(y, point) for y, point in points if point is not None]
    for y, point in there:
        if point.low is not None and point.high is not None:
            axes.plot([point.low, point.high], [y, y], color=mark.colour, linewidth=1.6, solid_capstyle="round")
    style: dict[str, Any] = {
        "color": mark.colour,
        "markerfacecolor": mark.face,
        "markersize": 6,
        "markeredgewidth": 1.5,
    }
    axes.plot([point.value for _, point in there], [y for y, _ in there], mark.marker, linestyle="", **style)


def line_plot(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    is_log_x: bool = False,
    moments: Mapping[float, str] | None = None,
    x_names: Mapping[int, str] | None = None,
    from_zero: bool = False,
) -> Markup:
    """Lines with a legend above, where there is more than one.

    Args:
        lines: in the order of the legend.
        x_label: of the axis.
        y_label: of the axis.
        alt: see `draw`.
        is_log_x: whether the x axis is logarithmic.
        moments: names of places on the x axis that are marked.
        x_names: of the x axis's values, where they are no numbers.
        from_zero: whether the y axis starts at 0.
    """

    def paint(axes: Axes) -> None:
        for line in lines:
            _line(axes, line)
        _moments(axes, moments or {})
        _x_axis(axes, x_label, is_log=is_log_x, names=x_names)
        axes.set_ylabel(y_label)
        axes.margins(y=0.08)
        if from_zero:
            axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, labelcolor=INK)

    columns = 3 if len(lines) <= 3 and sum(len(line.name) for line in lines) <= _LEGEND_LETTERS else 2
    legend_rows = -(-len(lines) // columns) if len(lines) > 1 else 0
    return draw(paint, height=_LINE_HEIGHT + 18 * legend_rows, alt=alt)


def _line(axes: Axes, line: Line) -> None:
    y = [float("nan") if value is None else value for value in line.y]
    marker = line.mark.marker if line.has_markers or len(y) == 1 else ""
    style: dict[str, Any] = {"markerfacecolor": line.mark.face, "markersize": 5, "markeredgewidth": 1.4}
    name = shortened(line.name, 30)
    axes.plot(line.x, y, marker=marker, linestyle=line.mark.dashes, color=line.mark.colour, label=name, **style)


def _moments(axes: Axes, names: Mapping[float, str]) -> None:
    across = axes.get_xaxis_transform()
    for place, name in names.items():
        axes.axvline(place, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(place, 0.02, f" {name}", transform=across, va="bottom", ha="left", fontsize=10, color=MUTED)


def _x_axis(axes: Axes, label: str, *, is_log: bool, names: Mapping[int, str] | None) -> None:
    axes.set_xlabel(label)
    if is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.minorticks_off()
    elif names is not None:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names.get(round(value), "")))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
