"""Recall of the runs of a root, one after the other."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import MaxNLocator

from tfx_pipeline.report.figures import BLUE
from tfx_pipeline.report.figures import GREY
from tfx_pipeline.report.figures import INK
from tfx_pipeline.report.figures import RED
from tfx_pipeline.report.figures import SURFACE
from tfx_pipeline.report.figures import draw
from tfx_pipeline.report.trend import Evaluation

_HEIGHT = 270
_BLESSED: dict[str, Any] = {"marker": "o", "linestyle": "", "color": BLUE, "label": "blessed"}
_REFUSED: dict[str, Any] = {
    **{"marker": "X", "linestyle": "", "color": RED, "label": "refused"},
    **{"markerfacecolor": SURFACE, "markersize": 9},
}
_POPULARITY: dict[str, Any] = {
    **{"marker": "D", "linestyle": ":", "color": GREY, "label": "popularity"},
    **{"markerfacecolor": SURFACE, "markersize": 5},
}


def trend_plot(evaluations: Sequence[Evaluation], *, novelty: str, alt: str) -> Markup:
    """Each evaluation's model and popularity, with intervals where measured; a refused one is a cross."""
    models = [(x, found.is_blessed, found.recalls[novelty].model) for x, found in enumerate(evaluations, 1)]
    points = [(x, is_blessed, model) for x, is_blessed, model in models if model is not None]
    bases = [(x, found.recalls[novelty].popularity) for x, found in enumerate(evaluations, 1)]

    def paint(axes: Axes) -> None:
        axes.plot([x for x, *_ in points], [model.value for *_, model in points], color=BLUE, linewidth=1, alpha=0.6)
        for x, _, model in points:
            if model.low is not None and model.high is not None:
                axes.plot([x, x], [model.low, model.high], color=BLUE, linewidth=1.6)
        for wanted, mark in ((True, _BLESSED), (False, _REFUSED)):
            found = [(x, model.value) for x, is_blessed, model in points if is_blessed == wanted]
            axes.plot(*_columns(found), **mark)
        base = [(x, popularity.value) for x, popularity in bases if popularity is not None]
        axes.plot(*_columns(base), **_POPULARITY)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
        axes.set_xlim(0.5, len(evaluations) + 0.5)
        axes.margins(y=0.1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("run, by time (see the table)")
        axes.set_ylabel("recall@100")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, labelcolor=INK)

    return draw(paint, height=_HEIGHT, alt=alt)


def _columns(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
