import re

import numpy as np
import pytest

from tfx_pipeline.report.figures import MODEL
from tfx_pipeline.report.figures import POPULARITY
from tfx_pipeline.report.plots import Interval
from tfx_pipeline.report.plots import Line
from tfx_pipeline.report.plots import Row
from tfx_pipeline.report.plots import interval
from tfx_pipeline.report.plots import interval_plot
from tfx_pipeline.report.plots import line_plot


def dots(svg, colour):
    """[n, 2] places of a colour's markers, in the order of drawing."""
    found = re.findall(rf'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: ([^;]+); stroke: {colour}', svg)
    return np.array([(float(x), float(y)) for x, y, _ in found]), {fill for *_, fill in found}


def test_dots_stand_where_the_values_are():
    rows = [
        Row("one", "12", {"model": Interval(0.1, 0.05, 0.2), "popularity": Interval(0.05)}),
        Row("two", "3", {"model": Interval(0.2), "popularity": None}),
        Row("three", "4", {"model": Interval(0.4), "popularity": Interval(0.1)}),
    ]
    marks = {"model": MODEL, "popularity": POPULARITY}
    svg = interval_plot(rows, marks, x_label="recall", note_title="rows", alt="a plot")
    models, filled = dots(svg, r"var\(--blue\)")
    others, hollow = dots(svg, r"var\(--grey\)")
    unit = (models[2, 0] - models[0, 0]) / 0.3
    np.testing.assert_allclose(models[:, 0] - models[0, 0], unit * np.array([0.0, 0.1, 0.3]), atol=0.05)
    np.testing.assert_allclose(others[:, 0] - models[0, 0], unit * np.array([-0.05, 0.0]), atol=0.05)
    assert (np.diff(models[:, 1]) > 0).all()  # from the top
    assert (filled, hollow) == ({"var(--blue)"}, {"var(--surface)"})
    assert [name for name in ("one", "two", "three", "12", "rows") if f">{name}<" not in svg] == []


def test_a_line_has_a_gap_where_a_value_is_missing():
    line = Line("a line", [0, 1, 2, 3, 4], [1.0, 2.0, None, 2.0, 1.0], MODEL)
    svg = line_plot([line], x_label="step", y_label="loss", alt="a plot")
    assert any(path.count("M") == 2 for path in re.findall(r'd="([^"]*)"[^>]*stroke: var\(--blue\)', svg))


def test_each_line_of_a_legend_is_named_and_one_line_needs_none():
    lines = [Line(name, [0, 1], [0.0, 1.0], MODEL) for name in ("first", "second")]
    assert {">first<", ">second<"} <= set(re.findall(r">\w+<", line_plot(lines, x_label="x", y_label="y", alt="b")))
    assert ">first<" not in line_plot(lines[:1], x_label="x", y_label="y", alt="c")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, None),
        ({"value": None, "low": None, "high": None}, None),
        ({"value": 0.5}, Interval(0.5)),
        ({"value": 0.5, "low": 0.25, "high": 0.75}, Interval(0.5, 0.25, 0.75)),
    ],
)
def test_an_interval_is_read_as_far_as_it_was_measured(found, expected):
    assert interval(found) == expected
