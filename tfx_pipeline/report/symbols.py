"""The shapes of the plots' series as small pictures, for legends in text."""

from tfx_pipeline.report.figures import BLUE
from tfx_pipeline.report.figures import GREEN
from tfx_pipeline.report.figures import GREY
from tfx_pipeline.report.figures import ORANGE
from tfx_pipeline.report.figures import Mark

_COLOURS = {BLUE: "blue", ORANGE: "orange", GREY: "grey", GREEN: "green"}
_SHAPES = {
    "o": '<circle cx="7" cy="7" r="4"/>',
    "s": '<rect x="3" y="3" width="8" height="8"/>',
    "D": '<path d="M7 2 12 7 7 12 2 7Z"/>',
    "^": '<path d="M7 2 12 11H2Z"/>',
}


def symbol(mark: Mark) -> str:
    """An SVG element as large as a letter."""
    colour = f"var(--{_COLOURS[mark.colour]})"
    inside = colour if mark.is_filled else "var(--surface)"
    return (
        f'<svg class="symbol" aria-hidden="true" viewBox="0 0 14 14" fill="{inside}" stroke="{colour}" stroke-width="1.6">'
        f"{_SHAPES[mark.marker]}</svg>"
    )
