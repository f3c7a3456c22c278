"""`health.json`: all checks of a run and what they measured."""

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.health import shares
from tfx_pipeline.health.advertisers import changed_advertisers
from tfx_pipeline.health.advertisers import volume_change
from tfx_pipeline.health.config import BLOCK
from tfx_pipeline.health.config import OFF
from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.distances import crossed
from tfx_pipeline.health.finding import Finding
from tfx_pipeline.health.labels import Labels
from tfx_pipeline.health.labels import describe_labels

HEALTH_FILE = "health.json"
_MOST_SHOWN = 5


def health_report(
    labels: Labels,
    config: HealthConfig,
    *,
    skew: list[dict[str, Any]],
    drift: list[dict[str, Any]],
    drifted: Iterable[Finding] = (),
    drift_against: str | None = None,
) -> dict[str, Any]:
    """The content of `health.json`; `warnings` holds what was found, that which blocks first.

    Args:
        labels: of the run.
        config: checks and bounds.
        skew: distances between splits.
        drift: distances to an earlier run.
        drifted: findings about that run beside the distances.
        drift_against: which run, None for the first.
    """
    distant = [*crossed("skew", skew), *drifted, *crossed("drift", drift)]
    modes = config.to_dict()
    found = [
        {**finding._asdict(), "mode": modes[finding.check]}
        for finding in [*label_findings(labels, config), *distant]
        if modes[finding.check] != OFF
    ]
    found.sort(key=lambda finding: finding["mode"] != BLOCK)
    return {
        "is_blocked": any(finding["mode"] == BLOCK for finding in found),
        "warnings": found,
        "skew": skew,
        "drift": drift,
        "labels": describe_labels(labels, config),
        "drift_against": drift_against,
    }


def label_findings(labels: Labels, config: HealthConfig) -> Iterator[Finding]:
    """What is wrong with the conversions."""
    yield from volume_change(labels, config)
    yield from shares.unexpected_silence(labels, config)
    yield from changed_advertisers(labels, config)
    yield from shares.too_many_duplicates(labels, config)
    yield from shares.too_many_unattributed(labels, config)
    yield from shares.too_many_dead_letters(labels, config)


def console_lines(health: dict[str, Any] | None, *, file: str) -> list[str]:
    """A line per warning, the first five.

    Args:
        health: content of `health.json`; None where nothing was measured.
        file: where the rest is.
    """
    warnings = health["warnings"] if health else []
    lines = [f"Data health, {found['check']}: {found['message']}" for found in warnings[:_MOST_SHOWN]]
    if len(warnings) > _MOST_SHOWN:
        lines.append(f"Data health: {len(warnings) - _MOST_SHOWN} more in {file}, health.warnings")
    return lines
