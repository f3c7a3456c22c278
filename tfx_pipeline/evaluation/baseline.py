"""The last blessed retriever, asked what the candidate is asked: its own towers, vocabulary and catalogue."""

import logging
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfx_pipeline.evaluation.ranks import vector_ranks
from tfx_pipeline.evaluation.rows import EvalRows
from tfx_pipeline.evaluation.rows import embed_rows
from tfx_pipeline.evaluation.rows import positions
from tfx_pipeline.index.catalog import Catalog

log = logging.getLogger(__name__)


class Baseline(NamedTuple):
    """A retriever of an earlier run.

    Attributes:
        towers: loaded SavedModel of its Trainer.
        catalog: its own.
        versions: `model_version` and `index_version`.
    """

    towers: Any
    catalog: Catalog
    versions: dict[str, str]


def load_baseline(towers: str, catalog: Path, versions: dict[str, str]) -> Baseline | None:
    """None, and a line in the log, where the artifacts are gone or from before the towers were recorded."""
    if not towers or not Path(towers).is_dir() or not catalog.is_dir():
        log.info(
            "The last blessed retriever, version %s, cannot be compared with: its towers or vectors are gone (%s)",
            versions["index_version"],
            towers or "towers not recorded",
        )
        return None
    return Baseline(tf.saved_model.load(towers), Catalog.load(catalog), versions)


def rank_baseline(baseline: Baseline, rows: EvalRows, catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the candidate's rows in the baseline's catalogue, as `vector_ranks`; infinite where it lacks the item.

    Args:
        baseline: whose ranks.
        rows: of the candidate, with all serialized examples.
        catalog: of the candidate, by which the rows name items.
    """
    place, is_there = positions(catalog.item_ids[rows.targets], baseline.catalog)
    kept = np.flatnonzero(is_there)
    queries = embed_rows([rows.examples[at] for at in kept], baseline.towers, baseline.catalog)
    known = [_translated(rows.known[at], catalog, baseline.catalog) for at in kept]
    found = np.full((2, len(rows.targets)), np.inf)
    found[:, kept] = vector_ranks(queries, baseline.catalog.vectors, place[kept], known)
    return found[0], found[1]


def _translated(known: np.ndarray, catalog: Catalog, other: Catalog) -> np.ndarray:
    place, is_there = positions(catalog.item_ids[known], other)
    return place[is_there]
