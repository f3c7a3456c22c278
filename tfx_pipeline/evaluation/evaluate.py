"""All that is measured of a retriever on the rows of an evaluation period."""

import logging
from dataclasses import replace
from typing import Any
from typing import NamedTuple

import numpy as np

from tfx_pipeline.evaluation import rows as eval_rows
from tfx_pipeline.evaluation.baseline import Baseline
from tfx_pipeline.evaluation.baseline import rank_baseline
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.facts import first_positives
from tfx_pipeline.evaluation.facts import known_before
from tfx_pipeline.evaluation.facts import row_facts
from tfx_pipeline.evaluation.measure import measure_rows
from tfx_pipeline.evaluation.measure import measure_users
from tfx_pipeline.evaluation.measure import rank_rows
from tfx_pipeline.evaluation.outcomes import recall_curve
from tfx_pipeline.evaluation.retrieved import K
from tfx_pipeline.evaluation.retrieved import best_items
from tfx_pipeline.evaluation.retrieved import describe
from tfx_pipeline.evaluation.retrieved import popular_items
from tfx_pipeline.evaluation.rows import EvalRows
from tfx_pipeline.evaluation.rows import Queries
from tfx_pipeline.evaluation.rows import UserRows
from tfx_pipeline.evaluation.rows import embed_rows
from tfx_pipeline.evaluation.samples import sample_users
from tfx_pipeline.evaluation.slices import BASELINE
from tfx_pipeline.evaluation.slices import CONVERSION
from tfx_pipeline.evaluation.slices import ENGAGEMENT
from tfx_pipeline.evaluation.slices import MODEL
from tfx_pipeline.evaluation.slices import POPULARITY
from tfx_pipeline.evaluation.slices import Ranked
from tfx_pipeline.evaluation.slices import slice_records
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.sources.oracle import Oracle

log = logging.getLogger(__name__)

_SHOWN_USERS = 1_000
_SCORERS = (MODEL, POPULARITY, BASELINE)


class Splits(NamedTuple):
    """TFRecords of each split that is read."""

    train: list[str]
    eval: list[str]
    queries: list[str]
    catalog: list[str]


class Evaluated(NamedTuple):
    """What was measured.

    Attributes:
        metrics: for `metrics.json`.
        rows: the conversions.
        conversions: their ranks and facts.
    """

    metrics: dict[str, Any]
    rows: EvalRows
    conversions: Ranked


def evaluate(
    splits: Splits,
    towers: Any,
    catalog: Catalog,
    *,
    baseline: Baseline | None,
    oracle: Oracle | None,
    config: EvaluationConfig,
) -> Evaluated:
    """Ranks every item for every row, and measures.

    Args:
        splits: files.
        towers: loaded SavedModel of the candidate's Trainer.
        catalog: of the candidate.
        baseline: the last blessed retriever, on the same rows.
        oracle: of a simulated market.
        config: sample sizes and slices.
    """
    first_sold_us = first_positives(splits.train, catalog)
    rows = eval_rows.read_eval_rows(splits.eval, towers, catalog, max_rows=config.max_rows, seed=config.seed)
    users = eval_rows.read_user_rows(splits.queries, towers, catalog, max_rows=config.max_rows, seed=config.seed)
    log.info(
        "Ranking %s conversions and %s users over %s items",
        len(rows.targets),
        len(users.targets),
        len(catalog.item_ids),
    )
    rows, ranked, found = _ranked(rows, splits, catalog, first_sold_us, baseline=baseline, oracle=oracle, config=config)
    log.info("Measuring slices, with %s resamples of the users", config.bootstrap_samples)
    metrics: dict[str, Any] = {
        "eval": measure_rows(found, rows.is_new),
        "queries": measure_users(users, catalog),
        "slices": slice_records(CONVERSION, ranked, config),
        "recall_curve": recall_curve(
            {name: of[0] for name, of in ranked.ranks.items()}, num_items=len(catalog.item_ids)
        ),
        "retrieved": _retrieved(users, catalog, baseline),
        "samples": sample_users(users, catalog, splits.catalog, seed=config.seed),
    }
    if engagements := _engagements(splits, towers, catalog, config):
        _, ranked_engagements, _ = _ranked(
            engagements, splits, catalog, first_sold_us, baseline=baseline, oracle=None, config=config
        )
        metrics["slices"] += slice_records(ENGAGEMENT, ranked_engagements, config)
    return Evaluated(metrics, rows, ranked)


def _ranked(
    rows: EvalRows,
    splits: Splits,
    catalog: Catalog,
    first_sold_us: np.ndarray,
    *,
    baseline: Baseline | None,
    oracle: Oracle | None,
    config: EvaluationConfig,
) -> tuple[EvalRows, Ranked, dict]:
    facts = row_facts(rows.examples, rows.targets, catalog, first_sold_us, config.slice_features)
    users = np.char.encode(facts.users) if len(facts.users) else np.zeros(0, np.bytes_)
    rows = eval_rows.with_known(rows, users, known_before(splits.queries, set(users), catalog))
    found = rank_rows(rows, catalog, oracle)
    if baseline:
        found[BASELINE] = rank_baseline(baseline, rows, catalog)
    compared = {name: found[name] for name in _SCORERS if name in found}
    return rows, Ranked(facts, rows.is_new, compared), found


def _engagements(splits: Splits, towers: Any, catalog: Catalog, config: EvaluationConfig) -> EvalRows | None:
    """A quarter as many as conversions: a click is cheaper, and says less."""
    records = eval_rows.without_gone(eval_rows.rows_of_task(splits.eval, ENGAGEMENT), catalog)
    if not records:
        return None
    most = max(1, config.max_rows // 4)
    return eval_rows.eval_rows(records, towers, catalog, max_rows=most, seed=config.seed)


def _retrieved(users: UserRows, catalog: Catalog, baseline: Baseline | None) -> dict[str, Any]:
    """What the first users of the sample are shown."""
    shown = replace(users.queries, vectors=users.queries.vectors[:_SHOWN_USERS])
    k = min(K, len(catalog.item_ids))
    num_users = len(shown.vectors)
    if not num_users:
        return {"k": k, "num_users": 0}
    found = {
        "k": k,
        "num_users": num_users,
        MODEL: describe(best_items(shown, catalog.vectors, k)[0], catalog),
        POPULARITY: describe(popular_items(catalog, num_users, k), catalog),
        BASELINE: None,
    }
    if baseline:
        queries: Queries = embed_rows(users.examples[:_SHOWN_USERS], baseline.towers, baseline.catalog)
        places = best_items(queries, baseline.catalog.vectors, min(k, len(baseline.catalog.item_ids)))[0]
        found[BASELINE] = describe(places, baseline.catalog)
    return found
