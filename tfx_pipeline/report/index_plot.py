"""Recall against latency of an approximate index: what was tried, and what was chosen."""

from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from tfx_pipeline.report.figures import BLUE
from tfx_pipeline.report.figures import INK
from tfx_pipeline.report.figures import MUTED
from tfx_pipeline.report.figures import ORANGE
from tfx_pipeline.report.figures import SURFACE
from tfx_pipeline.report.figures import draw

_HEIGHT = 270


def index_plot(tuning: dict[str, Any]) -> Markup:
    """Every effort as a point, the chosen one ringed, with the target and what exact search takes.

    Args:
        tuning: of `tuning.json`, see `tfx_pipeline.index.tuning.Tuning`.
    """
    trials, chosen = tuning["trials"], tuning["chosen"]

    def paint(axes: Axes) -> None:
        latencies, recalls = ([trial[name] for trial in trials] for name in ("latency_ms", "recall"))
        axes.plot(latencies, recalls, "o", color=BLUE, markersize=5, label="tried")
        ring: dict[str, Any] = {"markersize": 11, "markerfacecolor": SURFACE, "markeredgewidth": 2, "color": ORANGE}
        axes.plot([chosen["latency_ms"]], [chosen["recall"]], "s", label="chosen", zorder=1.5, **ring)
        axes.axhline(tuning["target_recall"], color=MUTED, linewidth=1.2, linestyle="--", label="target")
        exact = tuning.get("exact_latency_ms")
        if exact is not None:
            axes.axvline(exact, color=MUTED, linewidth=1.2, linestyle=":", label="exact search")
        axes.set_xlim(0, 1.08 * max([*latencies, exact or 0]))
        axes.set_ylim(top=1.015)
        axes.set_xlabel("latency of one query, ms")
        axes.set_ylabel(f"share of the exact top {tuning['k']}")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, labelcolor=INK, columnspacing=0.9)

    alt = f"Recall against latency of {len(trials)} efforts of the index"
    return draw(paint, height=_HEIGHT, alt=alt)
