"""Jinja's environment of the pages: everything is escaped, and numbers are written in one way."""

from typing import Any

import jinja2
from markupsafe import Markup

from tfx_pipeline.report.figures import BASELINE
from tfx_pipeline.report.figures import MODEL
from tfx_pipeline.report.figures import POPULARITY
from tfx_pipeline.report.figures import SPARE
from tfx_pipeline.report.symbols import symbol

MISSING = "\N{EN DASH}"


def templates() -> jinja2.Environment:
    """With the filters `figure`, `signed` and `share`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_pipeline.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,  # a key that no component wrote is "not measured"
    )
    environment.filters |= {"figure": figure, "signed": signed, "share": share}
    marks = {"model": MODEL, "baseline": BASELINE, "popularity": POPULARITY, "spare": SPARE}
    environment.globals["symbols"] = {name: Markup(symbol(mark)) for name, mark in marks.items()}
    return environment


def figure(value: Any) -> str:
    """A number as people read it: 0.1234, 12.35, 1,234; what is missing is a dash."""
    if value is None or isinstance(value, jinja2.Undefined):
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and abs(value) < 0.001:
        return f"{value:.3g}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"


def signed(value: Any) -> str:
    """A difference, with its sign."""
    if not isinstance(value, int | float):
        return MISSING
    return f"{value:+.4f}" if round(value, 4) else f"{0:.4f}"


def share(value: Any) -> str:
    """As a percentage."""
    return f"{value:.1%}" if isinstance(value, int | float) else MISSING
