"""The verdict of a run, and why."""

from typing import Any
from typing import NamedTuple

_KEPT = "The version that was served before, if any, stays in its place."


class Verdict(NamedTuple):
    """What became of a run.

    Attributes:
        is_good: whether it pushed.
        title: in a few words.
        reasons: why not, as the gates said it; empty of a run that pushed.
        gates: all that were measured, those that refused first.
        note: what else to know.
    """

    is_good: bool
    title: str
    reasons: list[str]
    gates: list[dict[str, Any]]
    note: str


def verdict(metrics: dict[str, Any]) -> Verdict:
    """Of a run's `metrics.json`."""
    gates = sorted(metrics.get("gates") or [], key=lambda gate: bool(gate.get("is_passed")))
    refusals = list(metrics.get("refusals") or [])
    version = metrics.get("pushed_version")
    if version:
        return Verdict(True, f"Pushed: version {version}", [], gates, "")
    if "stopped" in metrics:
        reasons = _of_health(metrics) or [metrics["stopped"]]
        return Verdict(False, "Stopped by the data: nothing was pushed", reasons, gates, _KEPT)
    if refusals:
        return Verdict(False, "Refused: nothing was pushed", refusals, gates, _KEPT)
    if "refusals" in metrics:
        note = "No gate of the evaluation refused it. See the log for the model server's check and for the Pusher."
        return Verdict(False, "Not pushed", [], gates, note)
    return Verdict(False, "No verdict: nothing was evaluated", [], gates, "")


def _of_health(metrics: dict[str, Any]) -> list[str]:
    """Of the warnings, those that block."""
    warnings = (metrics.get("health") or {}).get("warnings") or []
    return [f"{found.get('check')}: {found.get('message')}" for found in warnings if found.get("mode") == "block"]
