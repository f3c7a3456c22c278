"""The served model beside its peers, on the same users, items and metric code.

`python -m benchmarks.peers --root=DIR`, of a finished run of `tfx_pipeline.local_runner`. One query per user with a past, as of the
cut (split `queries`); every item with a train conversion is ranked; the truth is the distinct items among them that the user
converted on afterwards; recall@k is the mean over users. *New* leaves out what the user had converted on before. Each peer's
settings are the best of its grid on an earlier slice: the latest 15% of the train conversions, after the others. The model is the
one that the run pushed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import sparse

from benchmarks.peers_methods import GRIDS
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


def main() -> None:
    """Chooses settings, measures and prints the table."""
    flags = _parse()
    run = read_last_run(flags.root / "metadata.sqlite", expected=())
    folders = {key: run.uri(key) for key in ("MarketplaceExampleGen.examples", "Trainer.model", "Indexer.retriever")}
    if missing := [key for key, folder in folders.items() if folder is None]:
        raise SystemExit(f"The last run below {flags.root} must be a whole training. Missing: {missing}")
    examples, model, retriever = (Path(str(folder)) for folder in folders.values())
    catalog = Catalog.load(retriever / "catalog")
    conversions, user_ids = read_conversions(sorted(map(str, (examples / "Split-train").glob("*"))), catalog)
    task, scores = _task_and_model(examples, model, catalog, conversions, user_ids)
    print(f"{len(task.users):,} users with a past, {task.counts.shape[1]:,} items", file=sys.stderr)
    earlier = earlier_task(conversions, catalog)
    rows = {}
    for name, (peer, grid) in GRIDS.items():
        start_s = time.monotonic()
        tried = [
            (_value(earlier.ranks(peer(earlier.counts, earlier.users, **options)), flags.ks), options)
            for options in grid
        ]
        best = max(tried, key=lambda found: found[0])[1]
        rows[name] = task.ranks(peer(task.counts, task.users, **best))
        print(f"{name}: best of {len(grid)} {best or ''}, {time.monotonic() - start_s:.0f} s", file=sys.stderr)
    rows["this model, as pushed"] = task.ranks(scores)
    print(table(rows, flags.ks))


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


def earlier_task(conversions: Conversions, catalog: Catalog) -> Task:
    """The latest of the train conversions, after the others: nothing of the test period is seen."""
    cut_us = np.quantile(conversions.moments_us, 1 - _EARLIER_SHARE, method="higher")
    before, after = (Conversions(*(part[mask] for part in conversions)) for mask in _halves(conversions, cut_us))
    num_users = int(conversions.users.max()) + 1
    corpus, counts = _counts(before, num_users, len(catalog.item_ids))
    later = sparse.csr_matrix(
        (np.ones(len(after.users)), (after.users, after.items)), (num_users, len(catalog.item_ids))
    )
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


def _recalls(found: list[np.ndarray], k: int) -> np.ndarray:
    return np.array([np.mean(row < k) for row in found if len(row)])


def _value(found: tuple[list[np.ndarray], list[np.ndarray]], ks: list[int]) -> float:
    """Geometric mean of the columns: no column is bought with another."""
    return float(np.mean([np.log(np.mean(_recalls(ranks, k)) + 1e-9) for ranks in found for k in ks]))


def table(rows: dict[str, tuple[list[np.ndarray], list[np.ndarray]]], ks: list[int]) -> str:
    """Markdown, with the greatest standard error over users of each column."""
    columns = [(f"recall@{k} {kind}", place, k) for place, kind in enumerate(("all", "new")) for k in ks]
    lines = ["| peer | " + " | ".join(name for name, *_ in columns) + " |", "|" + "---|" * (len(columns) + 1)]
    errors: list[list[float]] = [[] for _ in columns]
    for name, found in rows.items():
        cells = []
        for number, (_, place, k) in enumerate(columns):
            recalls = _recalls(found[place], k)
            errors[number].append(float(recalls.std(ddof=1) / np.sqrt(len(recalls))))
            cells.append(f"{recalls.mean():.4f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("| standard error, at most | " + " | ".join(f"{max(found):.4f}" for found in errors) + " |")
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--ks", type=lambda text: [int(k) for k in text.split(",")], default=[20, 100, 1000])
    return parser.parse_args()


if __name__ == "__main__":
    main()
