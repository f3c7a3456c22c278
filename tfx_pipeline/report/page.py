"""The page of a run: one HTML file that opens offline."""

from pathlib import Path
from typing import Any

from tfx_pipeline.atomic import write_text
from tfx_pipeline.report.configuration import settings
from tfx_pipeline.report.environment import templates
from tfx_pipeline.report.files import report_page
from tfx_pipeline.report.headline import headline
from tfx_pipeline.report.health import health
from tfx_pipeline.report.index_plot import index_plot
from tfx_pipeline.report.recall_curve import recall_curve
from tfx_pipeline.report.slices import slices
from tfx_pipeline.report.training import training
from tfx_pipeline.report.trend import Evaluation
from tfx_pipeline.report.trend import read_trend
from tfx_pipeline.report.trend_plot import trend_plot
from tfx_pipeline.report.verdict import verdict


def write_page(root: Path, metrics: dict[str, Any]) -> Path:
    """Writes `ROOT/report/index.html`; its path.

    Args:
        root: of the run.
        metrics: as `write_metrics` returned them.
    """
    page = report_page(root)
    write_text(page, render(metrics, read_trend(root)))
    return page


def render(metrics: dict[str, Any], trend: list[Evaluation]) -> str:
    """The page as HTML; a part that was not measured says so.

    Args:
        metrics: of the run.
        trend: of the root.
    """
    tuning = metrics.get("tuning") or {}
    return templates().get_template("index.html").render(
        metrics=metrics,
        stopped_why="The run stopped before it." if metrics.get("stopped") else "",
        verdict=verdict(metrics),
        headline=headline(metrics),
        slices=slices(metrics),
        training=training(metrics),
        recall_curve=recall_curve(metrics),
        tuning=tuning,
        index_plot=index_plot(tuning) if tuning.get("trials") else None,
        health=health(metrics),
        trend=trend,
        trend_plots=_trend_plots(trend),
        settings=settings(metrics.get("config") or {}),
    )  # fmt: skip


def _trend_plots(trend: list[Evaluation]) -> list[tuple[str, str]]:
    titles = {"all": "All conversions", "new": "New to the user"}
    return [
        (title, trend_plot(trend, novelty=novelty, alt=f"recall@100 of every run, {title.lower()}"))
        for novelty, title in titles.items()
        if any(found.recalls[novelty].model for found in trend)
    ]
