"""What the peers are asked: users with a past, as of the cut and as of an earlier one, and the ranks of what they then bought."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import sparse

from benchmarks.peers_methods import Scores
from tfx_pipeline.evaluation.ranks import set_ranks
from tfx_pipeline.evaluation.ranks import vector_scorer
from tfx_pipeline.evaluation.rows import read_user_rows
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.embed import load_towers
from tfx_pipeline.run_record import read_last_run

_EARLIER_SHARE = 0.15
_READ_BATCH = 8192


class Conversions(NamedTuple):
    """Of the train split: [n] users, items (positions in the catalogue) and moments."""

    users: np.ndarray
    items: np.ndarray
    moments_us: np.ndarray


class Task(NamedTuple):
    """What is ranked for whom.

    Attributes:
        counts: [users, items] conversions before the cut.
        users: [n] rows of `counts` that are asked.
        targets: per asked user, items converted on afterwards.
        known: per asked user, items converted on before.
    """

    counts: sparse.csr_matrix
    users: np.ndarray
    targets: list[np.ndarray]
    known: list[np.ndarray]

    def ranks(self, scores: Callable[[slice], np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Per user the ranks of the targets, of all and of new."""
        return set_ranks(scores, self.targets, self.known, num_items=self.counts.shape[1])


def tasks_of(root: Path) -> tuple[Task, Task, Scores]:
    """Of a run's last training: the task as of its cut, an earlier one for choosing settings, and the pushed model's scores.

    Raises:
        SystemExit: the run is no whole training.
    """
    run = read_last_run(root / "metadata.sqlite", expected=())
    folders = {key: run.uri(key) for key in ("MarketplaceExampleGen.examples", "Trainer.model", "Indexer.retriever")}
    if missing := [key for key, folder in folders.items() if folder is None]:
        raise SystemExit(f"The last run below {root} must be a whole training. Missing: {missing}")
    examples, model, retriever = (Path(str(folder)) for folder in folders.values())
    catalog = Catalog.load(retriever / "catalog")
    conversions, user_ids = read_conversions(sorted(map(str, (examples / "Split-train").glob("*"))), catalog)
    task, scores = _task_and_model(examples, model, catalog, conversions, user_ids)
    return task, earlier_task(conversions, num_items=len(catalog.item_ids)), scores


def read_conversions(files: list[str], catalog: Catalog) -> tuple[Conversions, np.ndarray]:
    """Conversions by users' places, and the users' sorted ids [users] bytes."""
    spec = {"task": tf.string, "user_id": tf.string, "item_id": tf.string, "timestamp_us": tf.int64}
    features = {name: tf.io.FixedLenFeature([], kind) for name, kind in spec.items()}
    found: dict[str, list[np.ndarray]] = {name: [] for name in spec}
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_READ_BATCH):
        parsed = tf.io.parse_example(batch, features)
        is_conversion = (parsed["task"] == "conversion").numpy()
        for name, values in parsed.items():
            found[name].append(values.numpy()[is_conversion])
    user_ids, users = np.unique(np.concatenate(found["user_id"]).astype(np.bytes_), return_inverse=True)
    items = np.searchsorted(catalog.item_ids, np.concatenate(found["item_id"]).astype(np.bytes_))
    return Conversions(users, items, np.concatenate(found["timestamp_us"])), user_ids


def earlier_task(conversions: Conversions, *, num_items: int) -> Task:
    """The latest of the train conversions, after the others: nothing of the test period is seen."""
    cut_us = np.quantile(conversions.moments_us, 1 - _EARLIER_SHARE, method="higher")
    before, after = (Conversions(*(part[mask] for part in conversions)) for mask in _halves(conversions, cut_us))
    num_users = int(conversions.users.max()) + 1
    corpus, counts = _counts(before, num_users, num_items)
    later = sparse.csr_matrix((np.ones(len(after.users)), (after.users, after.items)), (num_users, num_items))
    targets = [_places(later.indices[later.indptr[user] : later.indptr[user + 1]], corpus) for user in range(num_users)]
    return _with_past(counts, np.arange(num_users), targets)


def _halves(conversions: Conversions, cut_us: float) -> tuple[np.ndarray, np.ndarray]:
    return conversions.moments_us < cut_us, conversions.moments_us >= cut_us


def _task_and_model(
    examples: Path, model: Path, catalog: Catalog, conversions: Conversions, user_ids: np.ndarray
) -> tuple[Task, Scores]:
    towers = load_towers(str(model / "Format-Serving"))
    files = sorted(map(str, (examples / "Split-queries").glob("*")))
    rows = read_user_rows(files, towers, catalog, max_rows=sys.maxsize, seed=1)
    ids = tf.io.parse_example(rows.examples, {"user_id": tf.io.FixedLenFeature([], tf.string)})["user_id"].numpy()
    corpus, counts = _counts(conversions, len(user_ids), len(catalog.item_ids))
    place = np.minimum(np.searchsorted(user_ids, ids.astype(np.bytes_)), len(user_ids) - 1)
    is_there = user_ids[place] == ids.astype(np.bytes_)
    targets = [
        _places(found, corpus) if there else corpus[:0] for found, there in zip(rows.targets, is_there, strict=True)
    ]
    task = _with_past(counts, place, targets)
    asked = np.flatnonzero(
        [len(found) > 0 and counts[user].nnz > 0 for found, user in zip(targets, place, strict=True)]
    )
    whole = vector_scorer(rows.queries, catalog.vectors)

    def score(block: slice) -> np.ndarray:
        return np.concatenate([whole(slice(row, row + 1))[:, corpus] for row in asked[block]])

    return task, score


def _with_past(counts: sparse.csr_matrix, users: np.ndarray, targets: list[np.ndarray]) -> Task:
    asked = [row for row, user in enumerate(users) if len(targets[row]) and counts[user].nnz]
    known = [np.sort(counts[users[row]].indices).astype(np.int64) for row in asked]
    return Task(counts, users[asked], [targets[row] for row in asked], known)


def _counts(conversions: Conversions, num_users: int, num_items: int) -> tuple[np.ndarray, sparse.csr_matrix]:
    """The corpus, [items] positions in the catalogue of what has a conversion, and [users, items of the corpus] counts."""
    cells = (np.ones(len(conversions.users), np.float32), (conversions.users, conversions.items))
    counts = sparse.csr_matrix(cells, (num_users, num_items))
    corpus = np.unique(conversions.items)
    return corpus, counts[:, corpus].tocsr()


def _places(items: np.ndarray, corpus: np.ndarray) -> np.ndarray:
    """Where the items stand in the corpus, those outside left out."""
    return np.flatnonzero(np.isin(corpus, items))
