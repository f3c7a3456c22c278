"""Each purchase of the evaluation period as a query, with the history strictly before its touch: the model beside its peers.

`python -m benchmarks.purchases --root=DIR [--neighbors=200] [--shrink=10]`, of a finished run of `tfx_pipeline.local_runner`, made
for logs of sessions (RetailRocket), where the history within the session says most. The whole catalogue is ranked. Peers:
popularity; item-kNN on the users' train conversions, and on all of their train actions; and what was **seen** or put into the cart
**and not bought**, the latest first, then by item-kNN, or by popularity. Recall@k with its 95% interval by resampling users, and
the model's difference to the last of these on the same users.
"""

import argparse
import itertools
import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from scipy import sparse

from benchmarks.ablation_worker import artifact_folder
from benchmarks.peers_methods import nearest_items
from schemas import contract
from schemas import tables
from tfx_pipeline.evaluation.bootstrap import Resampler
from tfx_pipeline.evaluation.outcomes import Metric
from tfx_pipeline.evaluation.ranks import Scorer
from tfx_pipeline.evaluation.ranks import ranks
from tfx_pipeline.evaluation.ranks import vector_scorer
from tfx_pipeline.evaluation.rows import eval_rows
from tfx_pipeline.evaluation.rows import positions
from tfx_pipeline.evaluation.rows import rows_of_task
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.embed import load_towers
from tfx_pipeline.run_record import read_last_run

_SEEN = "seen, not bought"
_MODEL = "this model, as pushed"
_SMALL = 1e-6
_NUM_SAMPLES = 1000


class Histories(NamedTuple):
    """Per row, what was done before, newest first: positions in the catalogue, and events."""

    items: list[np.ndarray]
    events: list[np.ndarray]


def main() -> None:
    """Prints the table."""
    flags = _parse()
    run = read_last_run(flags.root / "metadata.sqlite", expected=())
    keys = ("MarketplaceExampleGen.examples", "Trainer.model", "Indexer.retriever")
    examples, model, retriever = (artifact_folder(run, key) for key in keys)
    catalog = Catalog.load(retriever / "catalog")
    towers = load_towers(str(model / "Format-Serving"))
    files = {name: sorted(map(str, (examples / f"Split-{name}").glob("*"))) for name in ("train", "eval")}
    purchases = only_purchases(rows_of_task(files["eval"], "conversion"))
    rows = eval_rows(purchases, towers, catalog, max_rows=len(purchases), seed=1)
    histories = read_histories(purchases, catalog)
    shares = catalog.positive_rates / max(_SMALL, float(catalog.positive_rates.sum()))
    scorers: dict[str, Scorer] = {"popularity": lambda block: np.tile(shares, (len(purchases[block]), 1))}
    for name, tasks in (("conversions", ("conversion",)), ("all actions", ("conversion", "engagement"))):
        counts = read_counts(files["train"], tasks, catalog)
        nearest = nearest_items(counts, neighbors=flags.neighbors, shrink=flags.shrink)
        scorers[f"item-kNN of {name}"] = knn_scorer(histories, nearest, shares)
    popularity, *knn = scorers.values()
    for then, scorer in (("item-kNN", knn[-1]), ("popularity", popularity)):
        scorers[f"{_SEEN}, then {then}"] = seen_scorer(histories, scorer)
    scorers[_MODEL] = vector_scorer(rows.queries, catalog.vectors)
    nothing = [np.zeros(0, np.int64)] * len(purchases)
    found = {name: ranks(scorer, rows.targets, nothing, num_items=len(shares))[0] for name, scorer in scorers.items()}
    users = np.array([user for user, *_ in rows.contexts])
    is_seen = np.array([target in items for target, items in zip(rows.targets, histories.items, strict=True)])
    print(table(found, users, is_seen, flags.ks))


def only_purchases(records: list[bytes]) -> list[bytes]:
    """Of serialized conversions."""
    events = tf.io.parse_example(records, {"event": tf.io.FixedLenFeature([], tf.string)})["event"].numpy()
    return list(itertools.compress(records, events == tables.PURCHASE.encode()))


def read_histories(records: list[bytes], catalog: Catalog) -> Histories:
    """Items outside the catalogue are left out."""
    names = (contract.HISTORY_ITEM_ID, contract.HISTORY_EVENT)
    parsed = tf.io.parse_example(records, {name: tf.io.RaggedFeature(tf.string) for name in names})
    lists, events = (parsed[name] for name in names)
    place, is_there = positions(lists.values.numpy().astype(np.bytes_), catalog)
    names_of = events.values.numpy()
    found = Histories([], [])
    for start, end in itertools.pairwise(lists.row_splits.numpy()):
        kept = is_there[start:end]
        found.items.append(place[start:end][kept])
        found.events.append(names_of[start:end][kept])
    return found


def read_counts(files: list[str], tasks: tuple[str, ...], catalog: Catalog) -> sparse.csr_matrix:
    """[users, items] train rows of the tasks."""
    records = [record for task in tasks for record in rows_of_task(files, task)]
    names = ("user_id", "item_id")
    parsed = tf.io.parse_example(records, {name: tf.io.FixedLenFeature([], tf.string) for name in names})
    _, users = np.unique(parsed["user_id"].numpy().astype(np.bytes_), return_inverse=True)
    items, is_there = positions(parsed["item_id"].numpy().astype(np.bytes_), catalog)
    cells = (np.ones(int(is_there.sum()), np.float32), (users[is_there], items[is_there]))
    return sparse.csr_matrix(cells, (int(users.max()) + 1, len(catalog.item_ids)))


def knn_scorer(histories: Histories, nearest: sparse.csr_matrix, shares: np.ndarray) -> Scorer:
    """Sum of the cosines of a history's distinct items with the item; of all, for less than popularity."""
    distinct = [np.unique(items) for items in histories.items]
    rows = np.repeat(np.arange(len(distinct)), [len(items) for items in distinct])
    cells = (np.ones(len(rows), np.float32), (rows, np.concatenate(distinct)))
    matrix = sparse.csr_matrix(cells, (len(distinct), len(shares)))
    return lambda block: (matrix[block] @ nearest).toarray() + _SMALL * shares


def seen_scorer(histories: Histories, others: Scorer) -> Scorer:
    """What was acted on and not bought, the latest first; then as the other scorer says."""

    def score(block: slice) -> np.ndarray:
        items, events = histories.items[block], histories.events[block]
        found = np.array(others(block), np.float32)
        for own, acted, kinds in zip(found, items, events, strict=True):
            is_left = ~np.isin(acted, acted[kinds == tables.PURCHASE.encode()])
            left = acted[is_left][::-1]  # the newest is written last
            own[left] = own.max() + 1.0 + np.arange(len(left))
        return found

    return score


def table(found: dict[str, np.ndarray], users: np.ndarray, is_seen: np.ndarray, ks: list[int]) -> str:
    """Markdown, of all purchases and of those of items that the history lacks, from each system's ranks."""
    resampler = Resampler(users, num_samples=_NUM_SAMPLES, seed=1)
    lines = []
    for kind, rows in (("all", np.ones(len(users), bool)), ("not in the history", ~is_seen)):
        lines += [f"{kind}: {rows.sum():,} purchases of {resampler.num_users(rows):,} users", ""]
        lines += ["| system | " + " | ".join(f"recall@{k}" for k in ks) + " |", "|" + "---|" * (len(ks) + 1)]
        by_name = {
            name: resampler.measure([Metric((own < k).astype(float), np.ones(len(users))) for k in ks], rows)
            for name, own in found.items()
        }
        for name, measured in by_name.items():
            lines.append(f"| {name} | " + " | ".join(_cell(one.interval()) for one in measured) + " |")
        *_, peer, model = by_name.values()
        ahead = [own.minus(other).interval() for own, other in zip(model, peer, strict=True)]
        lines += [f"| the difference of the last two | {' | '.join(_cell(one) for one in ahead)} |", ""]
    return "\n".join(lines)


def _cell(interval: dict[str, float]) -> str:
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**interval)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.purchases", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--neighbors", type=int, default=200)
    parser.add_argument("--shrink", type=float, default=10.0)
    parser.add_argument("--ks", type=lambda text: [int(k) for k in text.split(",")], default=[1, 10, 20, 100, 1000])
    return parser.parse_args()


if __name__ == "__main__":
    main()
