"""A load's latency over time as an SVG picture: p50 and p99 of every slice of time, swaps shaded."""

import math
from collections.abc import Callable
from collections.abc import Sequence

from serving.load_generator import Outcome
from serving.load_report import percentiles_ms
from serving.load_swaps import Swap

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 900, 360, 60, 30, 40
_NUM_SLICES = 120
_COLOURS = {"p50": "#1f77b4", "p99": "#d62728"}
_NUM_TICKS = 5


def svg(outcomes: Sequence[Outcome], swaps: Sequence[Swap]) -> str:
    """The picture; failed requests are red ticks at the foot."""
    end_s = max((outcome.done_s for outcome in outcomes), default=0.0) or 1.0
    slices: dict[int, list[float]] = {}
    for outcome in outcomes:
        if not outcome.error:
            slices.setdefault(int(_NUM_SLICES * outcome.due_s / end_s), []).append(outcome.latency_s)
    points = [((index + 0.5) * end_s / _NUM_SLICES, percentiles_ms(times)) for index, times in sorted(slices.items())]
    top_ms = _round_up(max((values["p99"] for _, values in points), default=1.0))

    def x(time_s: float) -> float:
        return _LEFT + (_WIDTH - _LEFT) * time_s / end_s

    def y(value_ms: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value_ms / top_ms

    shapes = [
        f'<rect x="{x(swap.published_s):.1f}" y="{_TOP}" width="{x(swap.settled_s) - x(swap.published_s):.1f}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM}" fill="#ddd"><title>version {swap.version}</title></rect>'
        for swap in swaps
    ]
    for name, colour in _COLOURS.items():
        line = " ".join(f"{x(time_s):.1f},{y(values[name]):.1f}" for time_s, values in points)
        shapes.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
    shapes += [
        f'<rect x="{x(outcome.due_s):.1f}" y="{y(0):.1f}" width="1" height="6" fill="red"/>'
        for outcome in outcomes
        if outcome.error
    ]
    return _page([*shapes, *_axes(x, y, end_s=end_s, top_ms=top_ms)])


def _axes(x: Callable[[float], float], y: Callable[[float], float], *, end_s: float, top_ms: float) -> list[str]:
    foot = y(0)
    shapes = [f'<path d="M{_LEFT},{_TOP} V{foot} H{_WIDTH}" fill="none" stroke="black"/>']
    for step in range(_NUM_TICKS + 1):
        value_ms, time_s = top_ms * step / _NUM_TICKS, end_s * step / _NUM_TICKS
        shapes.append(f'<text x="{_LEFT - 6}" y="{y(value_ms):.1f}" text-anchor="end">{value_ms:g}</text>')
        anchor = "end" if step == _NUM_TICKS else "middle"
        shapes.append(f'<text x="{x(time_s):.1f}" y="{foot + 20}" text-anchor="{anchor}">{time_s:.0f} s</text>')
    names = " ".join(f'<tspan fill="{colour}">{name}</tspan>' for name, colour in _COLOURS.items())
    shapes.append(f'<text x="{_LEFT}" y="18">latency [ms]: {names}; grey: a version is being swapped</text>')
    return shapes


def _page(shapes: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *shapes, "</svg>\n"])


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ..., so that the axis has round numbers."""
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
