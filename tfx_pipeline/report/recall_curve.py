"""The section of recall against the number of retrieved items."""

from typing import Any
from typing import NamedTuple

from markupsafe import Markup

from tfx_pipeline.report.figures import BASELINE
from tfx_pipeline.report.figures import MODEL
from tfx_pipeline.report.figures import POPULARITY
from tfx_pipeline.report.plots import Line
from tfx_pipeline.report.plots import line_plot

_LINES = {
    "model": ("model", MODEL),
    "baseline": ("last blessed", BASELINE),
    "popularity": ("popularity", POPULARITY),
}


class RecallCurve(NamedTuple):
    """The plot, and its values as rows of k and one figure per scorer."""

    plot: Markup
    names: list[str]
    rows: list[tuple[int, list[float | None]]]


def recall_curve(metrics: dict[str, Any]) -> RecallCurve | None:
    """None where it was not measured."""
    found = metrics.get("recall_curve") or {}
    ks = found.get("k") or []
    there = {name: found[name] for name in _LINES if found.get(name)}
    if not ks or not there:
        return None
    lines = [Line(_LINES[name][0], ks, values, _LINES[name][1], has_markers=True) for name, values in there.items()]
    alt = "Recall at k over k, logarithmic, of the model, the last blessed model and popularity"
    plot = line_plot(lines, x_label="k, retrieved items", y_label="recall@k", alt=alt, is_log_x=True, from_zero=True)
    rows = [(k, [values[place] for values in there.values()]) for place, k in enumerate(ks)]
    return RecallCurve(plot, [_LINES[name][0] for name in there], rows)
