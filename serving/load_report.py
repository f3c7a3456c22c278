"""A load's figures: latency percentiles, throughput, errors, versions, and what swaps cost."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from serving.load_checks import Checked
from serving.load_generator import Outcome
from serving.load_swaps import Swap

_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
_LATE_MS = 5.0
"""Beyond this the load generator's own lateness, at p99, is worth a warning."""


def percentiles_ms(times_s: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, p99.9 and max in milliseconds, each a time that was measured (nearest rank); empty for none."""
    ranked = sorted(times_s)
    if not ranked:
        return {}
    return {name: 1000 * ranked[math.ceil(share * len(ranked)) - 1] for name, share in _PERCENTILES.items()}


def is_in_swap(outcome: Outcome, swaps: Sequence[Swap]) -> bool:
    """Whether any part of the request's time was between the publishing of a version and the unloading of the last."""
    return any(outcome.due_s < swap.settled_s and outcome.done_s > swap.published_s for swap in swaps)


def summary(outcomes: Sequence[Outcome], swaps: Sequence[Swap], *, checked: Checked) -> dict[str, Any]:
    """The figures as a JSON object; latencies are those of answered requests, from when they were due."""
    answered = [outcome for outcome in outcomes if not outcome.error]
    seconds = max((outcome.done_s for outcome in outcomes), default=0.0)
    versions = Counter(outcome.answer.version for outcome in answered if outcome.answer)
    figures = {
        "num_requests": len(outcomes),
        "num_answered": len(answered),
        "errors": dict(Counter(outcome.error for outcome in outcomes if outcome.error)),
        "throughput_per_s": len(answered) / seconds if seconds else 0.0,
        "latency_ms": percentiles_ms([outcome.latency_s for outcome in answered]),
        "generator_late_ms": percentiles_ms([outcome.sent_s - outcome.due_s for outcome in outcomes]),
        "answers_by_version": dict(sorted(versions.items())),
        "num_wrong_answers": checked.num_wrong,
        "wrong_answers": checked.examples,
    }
    return figures | (_swap_figures(answered, swaps) if swaps else {})


def as_text(figures: dict[str, Any]) -> str:
    """The figures in lines for a terminal."""
    errors = ", ".join(f"{count:,} {code}" for code, count in figures["errors"].items()) or "none failed"
    versions = ", ".join(f"{version} ({count:,})" for version, count in figures["answers_by_version"].items())
    lines = [
        f"{figures['num_requests']:,} requests, {errors}; {figures['throughput_per_s']:.1f} answers/s",
        f"latency from the time due: {_milliseconds(figures['latency_ms'])}",
        f"answered by version: {versions or 'none'}",
    ]
    if "swaps" in figures:
        lines += [
            f"{len(figures['swaps'])} swaps, {figures['swap_seconds']:.1f} s in all",
            f"  steady: {_milliseconds(figures['latency_steady_ms'])}",
            f"  in swaps: {_milliseconds(figures['latency_in_swaps_ms'])}",
            f"  p99 in swaps / p99 steady: {figures['p99_in_swaps_to_steady']:.2f}",
        ]
    if figures["num_wrong_answers"]:
        lines.append(f"WRONG: {figures['num_wrong_answers']:,} answers, such as: {figures['wrong_answers'][0]}")
    else:
        lines.append("every answer fits its version")
    late_ms = figures["generator_late_ms"].get("p99", 0.0)
    if late_ms > _LATE_MS:
        lines.append(f"the load generator itself was late by {late_ms:.1f} ms (p99): lower the rate")
    return "\n".join(lines)


def _swap_figures(answered: Sequence[Outcome], swaps: Sequence[Swap]) -> dict[str, Any]:
    in_swaps = percentiles_ms([outcome.latency_s for outcome in answered if is_in_swap(outcome, swaps)])
    steady = percentiles_ms([outcome.latency_s for outcome in answered if not is_in_swap(outcome, swaps)])
    return {
        "swaps": [swap._asdict() for swap in swaps],
        "swap_seconds": sum(swap.settled_s - swap.published_s for swap in swaps),
        "latency_in_swaps_ms": in_swaps,
        "latency_steady_ms": steady,
        "p99_in_swaps_to_steady": in_swaps["p99"] / steady["p99"] if in_swaps and steady else math.nan,
    }


def _milliseconds(percentiles: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in percentiles.items()) + " ms" if percentiles else "none"
