"""What `metrics.json` says overall and by slice, whichever evaluator wrote it."""

from typing import Any
from typing import NamedTuple

from tfx_pipeline.report.plots import Interval
from tfx_pipeline.report.plots import interval

CONVERSION = "conversion"
OVERALL = "overall"


class Record(NamedTuple):
    """One metric of one slice; None: not measured.

    Attributes:
        task: whose positives.
        feature: that slices, `overall` for all rows.
        value: of the feature.
        novelty: `all` or `new`.
        metric: its name.
        num_rows: positives.
        num_users: who have them.
        model: the candidate.
        baseline: the last blessed model on the same rows.
        popularity: on the same rows.
        change: model less baseline, paired by user.
        best_possible: on simulated markets.
    """

    task: str
    feature: str
    value: str
    novelty: str
    metric: str
    num_rows: int | None
    num_users: int | None
    model: Interval | None
    baseline: Interval | None = None
    popularity: Interval | None = None
    change: Interval | None = None
    best_possible: Interval | None = None


def overall(metrics: dict[str, Any]) -> list[Record]:
    """Of all rows: the records of `slices`, or, where these are missing, what `eval` has, without intervals."""
    found = [record for record in read_slices(metrics) if record.feature == OVERALL]
    return found or _of_eval(metrics.get("eval") or {})


def read_slices(metrics: dict[str, Any]) -> list[Record]:
    """All records of `slices`, in the file's order."""
    best = metrics.get("eval") or {}
    return [_record(values, best) for values in metrics.get("slices") or []]


def _record(values: dict[str, Any], best: dict[str, Any]) -> Record:
    task, feature, novelty, metric = (values.get(key, "") for key in ("task", "slice", "novelty", "metric"))
    is_whole = (task, feature) == (CONVERSION, OVERALL)
    possible = ((best.get(novelty) or {}).get("best_possible") or {}).get(metric) if is_whole else None
    parts: dict[str, Any] = {name: interval(values.get(name)) for name in ("model", "baseline", "popularity", "change")}
    number = {name: values.get(name) for name in ("num_rows", "num_users")}
    return Record(
        task=task,
        feature=feature,
        value=str(values.get("value", "")),
        novelty=novelty,
        metric=metric,
        best_possible=None if possible is None else Interval(possible),
        **number,
        **parts,
    )


def _of_eval(kinds: dict[str, Any]) -> list[Record]:
    return [
        Record(
            CONVERSION,
            OVERALL,
            "",
            novelty,
            metric,
            values.get("num_rows"),
            None,
            None if value is None else Interval(value),
        )._replace(**_others(values, metric))
        for novelty, values in kinds.items()
        for metric, value in (values.get("model") or {}).items()
    ]


def _others(values: dict[str, Any], metric: str) -> dict[str, Any]:
    found = {name: (values.get(name) or {}).get(metric) for name in ("popularity", "best_possible")}
    return {name: Interval(value) for name, value in found.items() if value is not None}
