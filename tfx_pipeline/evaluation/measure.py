"""Measures a retriever: recall over the full catalogue beside popularity's, the best possible, and the index's loss."""

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from tfx_pipeline.evaluation.ranks import constant_ranks
from tfx_pipeline.evaluation.ranks import macro_recall_at
from tfx_pipeline.evaluation.ranks import ranks
from tfx_pipeline.evaluation.ranks import recall_at
from tfx_pipeline.evaluation.ranks import set_ranks
from tfx_pipeline.evaluation.ranks import vector_ranks
from tfx_pipeline.evaluation.ranks import vector_scorer
from tfx_pipeline.evaluation.rows import EvalRows
from tfx_pipeline.evaluation.rows import UserRows
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.sources.oracle import Oracle

KS = (10, 100, 1000)
_INDEX_SAMPLE = 512

Metrics = dict[str, Any]
Ranks = dict[str, tuple[np.ndarray, np.ndarray]]


def rank_rows(rows: EvalRows, catalog: Catalog, oracle: Oracle | None) -> Ranks:
    """By scorer, the ranks of `eval` conversions among all and among what the user had not converted on.

    Scorers: `model`, `popularity` and, on a simulated market, `best_possible`.
    """
    found = {
        "model": vector_ranks(rows.queries, catalog.vectors, rows.targets, rows.known),
        "popularity": constant_ranks(np.asarray(catalog.positive_rates), rows.targets, rows.known),
    }
    if oracle:
        scorer = _oracle_scorer(oracle, rows, catalog)
        found["best_possible"] = ranks(scorer, rows.targets, rows.known, num_items=len(catalog.item_ids))
    return found


def measure_rows(found: Ranks, is_new: np.ndarray) -> Metrics:
    """Recall of `eval` conversions: model, popularity and, on a simulated market, the best possible.

    `new` are the conversions on what the user had not converted on, ranked among what the user had not: what the user had is
    left out, the model's and popularity's alike.
    """
    metrics: Metrics = {}
    for place, (kind, mask) in enumerate((("all", np.ones(len(is_new), dtype=bool)), ("new", is_new))):
        metrics[kind] = {"num_rows": int(mask.sum())}
        for name, values in found.items():
            metrics[kind][name] = {f"recall@{k}": recall_at(values[place][mask], k) for k in KS}
        if "best_possible" in found and mask.any():
            metrics[kind]["share_of_best_possible"] = {
                key: value / metrics[kind]["best_possible"][key] for key, value in metrics[kind]["model"].items()
            }
    return metrics


def measure_users(rows: UserRows, catalog: Catalog) -> Metrics:
    """Macro-averaged recall over users as of the cut; `new` leaves out what the user had converted on before.

    `all_with_history` and `new_with_history` are the same over the users of whom anything is known: to the others a model can give
    little but popularity.
    """
    num_items = len(catalog.item_ids)
    popularity = catalog.positive_rates
    scorers = {
        "model": vector_scorer(rows.queries, catalog.vectors),
        "popularity": lambda block: np.broadcast_to(popularity, (block.stop - block.start, num_items)),
    }
    metrics: Metrics = {"all": {}, "new": {}, "all_with_history": {}, "new_with_history": {}}
    for name, scorer in scorers.items():
        of_all, of_new = set_ranks(scorer, rows.targets, rows.known, num_items=num_items)
        with_history = (list(itertools.compress(found, rows.has_history)) for found in (of_all, of_new))
        for values, found in zip(metrics.values(), (of_all, of_new, *with_history), strict=True):
            values["num_users"] = sum(len(row) > 0 for row in found)
            values[name] = {f"recall@{k}": macro_recall_at(found, k) for k in KS}
    return metrics


def measure_index(retriever: Any, rows: EvalRows, catalog: Catalog) -> Metrics:
    """Share of the exact top 100 that the served signature returns; NaN without rows."""
    k = min(contract.DEFAULT_K, len(catalog.item_ids))
    examples = rows.examples[:_INDEX_SAMPLE]
    if not examples:
        return {"num_queries": 0, f"recall@{k}_of_exact": float("nan")}
    answered = retriever.signatures[contract.SIGNATURE_DEFAULT](examples=tf.constant(examples))
    served = answered[contract.OUTPUT_ITEM_IDS].numpy()
    scores = vector_scorer(rows.queries, catalog.vectors)(slice(len(examples)))
    exact = catalog.item_ids[np.argpartition(-scores, k - 1, axis=1)[:, :k]]
    shared = [
        len(set(ours) & set(theirs)) / k
        for ours, theirs in zip(served.astype(object), exact.astype(object), strict=True)
    ]
    return {"num_queries": len(examples), f"recall@{k}_of_exact": float(np.mean(shared))}


def _oracle_scorer(oracle: Oracle, rows: EvalRows, catalog: Catalog) -> Any:
    item_ids = [item_id.decode() for item_id in catalog.item_ids]

    def score(block: slice) -> np.ndarray:
        users, surfaces, subjects, queries = (list(column) for column in zip(*rows.contexts[block], strict=True))
        return oracle.scores(users, surfaces, subjects, queries, item_ids)

    return score
