"""Records of every metric and slice: the model beside popularity and the last blessed model, with intervals."""

import math
import re
from typing import Any
from typing import NamedTuple

import numpy as np

from tfx_pipeline.evaluation.bootstrap import Resampler
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.facts import Facts
from tfx_pipeline.evaluation.outcomes import HEADLINE
from tfx_pipeline.evaluation.outcomes import Metric
from tfx_pipeline.evaluation.outcomes import metrics_of

MODEL = "model"
POPULARITY = "popularity"
BASELINE = "baseline"
OVERALL = "overall"
CONVERSION = "conversion"
ENGAGEMENT = "engagement"

Record = dict[str, Any]


class Ranked(NamedTuple):
    """Rows of one task.

    Attributes:
        facts: of the rows.
        is_new: [rows] bool.
        ranks: by scorer, [rows] among all and [rows] among what the user had not converted on.
    """

    facts: Facts
    is_new: np.ndarray
    ranks: dict[str, tuple[np.ndarray, np.ndarray]]


def slice_records(task: str, ranked: Ranked, config: EvaluationConfig) -> list[Record]:
    """All metrics over all rows and the new ones; by slice `recall@100`; by type of event where there are several.

    A slice with fewer than `min_slice_rows` rows has no record. `change` is the model's value less the last blessed model's, on
    the same users.
    """
    resampler = Resampler(ranked.facts.users, num_samples=config.bootstrap_samples, seed=config.seed)
    everything = np.ones(len(ranked.is_new), bool)
    records = []
    for novelty, place, rows in (("all", 0, everything), ("new", 1, ranked.is_new)):
        measured = {name: metrics_of(found[place], ranked.facts.values) for name, found in ranked.ranks.items()}

        def add(
            task: str, name: str, value: str, rows: np.ndarray, metrics: list[str],
            novelty: str = novelty, measured: dict = measured,
        ) -> None:  # fmt: skip
            keys = {"task": task, "slice": name, "value": value, "novelty": novelty}
            records.extend(_records(keys, measured, metrics, rows, resampler))

        if not rows.any():
            continue
        add(task, OVERALL, "", rows, list(next(iter(measured.values()))))
        for name, values in ranked.facts.slices.items():
            for value in _values(values, rows, config.min_slice_rows):
                add(task, name, value, rows & (values == value), [HEADLINE])
        events = _values(ranked.facts.events, rows, config.min_slice_rows)
        for event in events if len(events) > 1 else []:
            add(event, OVERALL, "", rows & (ranked.facts.events == event), [HEADLINE])
    return records


def _values(values: np.ndarray, rows: np.ndarray, least: int) -> list[str]:
    found, counts = np.unique(values[rows], return_counts=True)
    kept = (str(value) for value, count in zip(found, counts, strict=True) if count >= least)
    return sorted(kept, key=_first_number)


def _first_number(value: str) -> tuple[float, str]:
    """Bands in their order; what has no number after them."""
    found = re.match(r"(?:up to )?(\d+(?:\.\d+)?)", value)
    return (float(found.group(1)) if found else math.inf, value)


def _records(
    keys: dict[str, str],
    measured: dict[str, dict[str, Metric]],
    metrics: list[str],
    rows: np.ndarray,
    resampler: Resampler,
) -> list[Record]:
    support = {"num_rows": int(rows.sum()), "num_users": resampler.num_users(rows)}
    joined = resampler.measure([of[metric] for of in measured.values() for metric in metrics], rows)
    found = {name: joined[at * len(metrics) : (at + 1) * len(metrics)] for at, name in enumerate(measured)}
    records = []
    for place, metric in enumerate(metrics):
        if np.isnan(found[MODEL][place].value):
            continue  # no row has a value to weigh by
        record: Record = {**keys, "metric": metric, **support, BASELINE: None, "change": None}
        record.update({name: values[place].interval() for name, values in found.items()})
        if BASELINE in found:
            change = found[MODEL][place].minus(found[BASELINE][place])
            record["change"] = {**change.interval(), "standard_error": change.standard_error()}
        records.append(record)
    return records
