"""One style for all plots: SVG whose colours are CSS variables of the page and whose text is text."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 420
"""Units of a plot's own coordinates; on a page of this width one is a CSS pixel."""
INK, MUTED, GRID, SURFACE = "#fa0101", "#fa0202", "#fa0303", "#fa0404"
BLUE, ORANGE, GREY, GREEN, RED = "#fa0505", "#fa0606", "#fa0707", "#fa0808", "#fa0909"
_VARIABLES = {  # matplotlib knows no CSS variables: each stands for one of these colours
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    SURFACE: "surface",
    BLUE: "blue",
    ORANGE: "orange",
    GREY: "grey",
    GREEN: "green",
    RED: "red",
}
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Mark:
    """How a series looks: told apart without colour, by shape, filling and dashes.

    Attributes:
        colour: one of this module's.
        marker: matplotlib's name of a shape.
        dashes: matplotlib's name of a line style.
        is_filled: whether the shape is; else it shows the page.
    """

    colour: str
    marker: str
    dashes: str = "-"
    is_filled: bool = True

    @property
    def face(self) -> str:
        """Colour of the shape's inside."""
        return self.colour if self.is_filled else SURFACE


MODEL = Mark(BLUE, "o")
BASELINE = Mark(ORANGE, "s", "--", is_filled=False)
POPULARITY = Mark(GREY, "D", ":", is_filled=False)
SPARE = Mark(GREEN, "^", "-.")
MARKS = (MODEL, BASELINE, POPULARITY, SPARE)


def draw(paint: Callable[[Axes], None], *, height: int, alt: str) -> Markup:
    """What `paint` draws, as an SVG element for a page that has the variables, in light or dark.

    Args:
        paint: given empty axes.
        height: in units of `WIDTH`.
        alt: what it shows, for who cannot see it.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": alt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the page's font draws it
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, layout="constrained")
        paint(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return Markup(_for_page(written.getvalue(), height=height, alt=alt))


def shortened(label: str, length: int = 26) -> str:
    """A label that fits beside a plot, without what no reader of HTML takes."""
    plain = "".join(letter for letter in str(label) if letter.isprintable())
    if len(plain) <= length:
        return plain
    half = (length - 1) // 2
    return f"{plain[:half]}…{plain[-half:]}"


def _for_page(svg: str, *, height: int, alt: str) -> str:
    svg = svg[svg.index("<svg") :]
    body = svg[svg.index(">") + 1 :]
    for unwanted in (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style.*?</style>"):
        body = re.sub(unwanted, "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"\n\s*", "\n", re.sub(r"<[^>]+>", lambda tag: _tag_for_page(tag[0]), body))
    head = f'<svg class="plot" role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {height}">'
    return head + body


def _tag_for_page(tag: str) -> str:
    """Colours as variables, the page's font, and no more decimals than can be seen."""
    for colour, name in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{name})")
    tag = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    tag = re.sub(r"; font-family: [^;\"]*", "", tag)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
