"""Associations: which items go with which, counted in the train rows, for a few neighbours of each item.

A vector of a few dozen numbers holds tastes, not each of the pairs in which tens of thousands of items are seen. Two kinds, for a
log may hold either: what follows on an item within a session, and what its users have at any time.
"""

import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
from threadpoolctl import threadpool_limits

from trainer.preprocessing import PADDING

log = logging.getLogger(__name__)

MAX_BACK = 30
"""Rows of the same user before a row that a transition to it is counted from."""
_MAX_ITEMS_PER_USER = 1_000  # the latest; who has more is a reseller or a robot, and its pairs grow with the square
_MAX_ROWS = 5_000_000  # the latest
_MAX_TARGETS = 200_000  # the most frequent items
_MIN_USERS = 2  # of a target: one user tells no pair from another
_BLOCK = 512
_PROGRESS_S = 10.0


class Rows(NamedTuple):
    """Train rows in any order, [rows] int64 each.

    Attributes:
        users: a number for each user.
        moments_us: microseconds.
        items: indices; `PADDING` is no item.
    """

    users: np.ndarray
    moments_us: np.ndarray
    items: np.ndarray

    def at(self, chosen: np.ndarray) -> "Rows":
        """The rows of a mask or of places."""
        return Rows(*(column[chosen] for column in self))


class Neighbors(NamedTuple):
    """For each item the items that go with it.

    Attributes:
        items: [num_items, n] int32, strongest first, `PADDING` where there are fewer.
        weights: [num_items, n] float32, > 0, and 0 at padding.
    """

    items: np.ndarray
    weights: np.ndarray


def transitions(rows: Rows, *, num_items: int, num_neighbors: int) -> Neighbors:
    """What users turn to after an item: the share of each next item, the nearer the more.

    A row on item j counts for each of the same user's earlier items i with weight `1 / (1 + rows strictly between)`; the weight of
    j for i is its share of all that follows i, with one more count that shrinks what is rare. Rows of one moment are no
    transition: neither is in the other's history.

    Args:
        rows: of training; above 5 million, the latest.
        num_items: entries of the item table, padding included.
        num_neighbors: kept for each item.
    """
    rows = _latest(rows)
    order = np.lexsort((rows.moments_us, rows.users))
    users, moments, items = rows.at(order)
    places = np.arange(len(users))
    is_user_start = np.r_[True, users[1:] != users[:-1]][: len(users)]
    is_moment_start = is_user_start | np.r_[True, moments[1:] != moments[:-1]][: len(users)]
    user_start = np.maximum.accumulate(np.where(is_user_start, places, 0))
    moment_start = np.maximum.accumulate(np.where(is_moment_start, places, 0))
    ends = np.r_[np.flatnonzero(is_moment_start)[1:], len(users)]
    moment_end = ends[np.cumsum(is_moment_start) - 1] if len(users) else places
    counts = scipy.sparse.csr_matrix((num_items, num_items))
    for back in range(1, MAX_BACK + 1):
        sources = moment_start - back
        later = np.flatnonzero(sources >= user_start)
        earlier = sources[later]
        is_pair = (items[earlier] != items[later]) & (items[earlier] != PADDING) & (items[later] != PADDING)
        later, earlier = later[is_pair], earlier[is_pair]
        weights = 1.0 / (1.0 + moment_start[later] - moment_end[earlier])
        counts += scipy.sparse.csr_matrix((weights, (items[earlier], items[later])), shape=counts.shape)
    totals = np.asarray(counts.sum(axis=1))[:, 0]
    return strongest(scipy.sparse.diags(1.0 / (totals + 1.0)) @ counts, num_neighbors)


def cooccurrences(rows: Rows, *, num_items: int, num_neighbors: int, ridge: float) -> Neighbors:
    """What the users of an item have at any time: each item predicted from its neighbours by ridge regression.

    fsSLIM (Ning & Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011), by ridge as in EASE (Steck,
    WWW 2019): on X [users, items] of 0 and 1, w_j solves `(X_n' X_n + ridge) w_j = X_n' x_j` for the `num_neighbors` items n of
    greatest `n_ij / sqrt(n_i + ridge)`. Only positive weights are kept. What another item explains away has little weight.

    Args:
        rows: of training; of a user's items the latest 1,000.
        num_items: entries of the item table, padding included.
        num_neighbors: that an item is predicted from, and that are kept for each item.
        ridge: in users, > 0.
    """
    matrix = _users_by_items(_latest(rows), num_items)
    # On a hundred unknowns a second thread costs more than it saves: 26 s against 11 s.
    with threadpool_limits(1, "blas"):
        found = list(_regressions(matrix, num_neighbors, ridge))
    empty = (np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    sources, targets, weights = (np.concatenate(parts) for parts in zip(empty, *found, strict=True))
    return strongest(scipy.sparse.csr_matrix((weights, (sources, targets)), (num_items, num_items)), num_neighbors)


def _regressions(
    matrix: scipy.sparse.csr_matrix, num_neighbors: int, ridge: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each target: its neighbours, the target as often, and their positive weights."""
    by_item = matrix.tocsc()
    frequency = np.diff(by_item.indptr).astype(np.float64)
    targets = np.argsort(-frequency, kind="stable")[:_MAX_TARGETS]
    targets = targets[frequency[targets] >= _MIN_USERS]
    told_s = time.monotonic()
    for start in range(0, len(targets), _BLOCK):
        block = targets[start : start + _BLOCK]
        shared = (by_item[:, block].T @ matrix).tocsr()  # [block, items] users in common
        shared.sort_indices()
        for row, target in enumerate(block):
            near, counts = (part[shared.indptr[row] : shared.indptr[row + 1]] for part in (shared.indices, shared.data))
            likeness = np.where(near == target, 0.0, counts / np.sqrt(frequency[near] + ridge))
            best = np.argsort(-likeness, kind="stable")[: min(num_neighbors, len(near) - 1)]  # without the target
            columns = by_item[:, near[best]]
            gram = (columns.T @ columns).toarray()
            gram[np.diag_indices(len(best))] += ridge
            weights = scipy.linalg.solve(gram, counts[best], assume_a="pos") if len(best) else np.zeros(0)
            is_positive = weights > 0
            yield near[best][is_positive], np.full(is_positive.sum(), target), weights[is_positive]
        if time.monotonic() - told_s > _PROGRESS_S:
            told_s = time.monotonic()
            log.info("Co-occurrences: %s of %s items", start + len(block), len(targets))


def _latest(rows: Rows) -> Rows:
    if len(rows.items) <= _MAX_ROWS:
        return rows
    log.info("Associations: the latest %s of %s rows", _MAX_ROWS, len(rows.items))
    return rows.at(np.argpartition(-rows.moments_us, _MAX_ROWS - 1)[:_MAX_ROWS])


def _users_by_items(rows: Rows, num_items: int) -> scipy.sparse.csr_matrix:
    """[users, items] of 1, each user's latest items."""
    rows = rows.at(rows.items != PADDING)
    order = np.lexsort((-rows.moments_us, rows.items, rows.users))
    users, _, items = rows.at(order)
    moments = rows.moments_us[order]
    is_first = np.r_[True, (users[1:] != users[:-1]) | (items[1:] != items[:-1])][: len(users)]  # the latest of a pair
    users, items, moments = users[is_first], items[is_first], moments[is_first]
    order = np.lexsort((items, -moments, users))
    users, items = users[order], items[order]
    places = np.arange(len(users))
    is_start = np.r_[True, users[1:] != users[:-1]][: len(users)]
    kept = places - np.maximum.accumulate(np.where(is_start, places, 0)) < _MAX_ITEMS_PER_USER
    of_user = np.cumsum(is_start) - 1
    shape = (int(is_start.sum()), num_items)
    return scipy.sparse.csr_matrix((np.ones(int(kept.sum())), (of_user[kept], items[kept])), shape=shape)


def strongest(pairs: scipy.sparse.spmatrix, num_neighbors: int) -> Neighbors:
    """The greatest of each row, > 0; of equals, the least index."""
    pairs = pairs.tocoo()
    order = np.lexsort((pairs.col, -pairs.data, pairs.row))
    rows, columns, values = pairs.row[order], pairs.col[order], pairs.data[order]
    places = np.arange(len(rows))
    is_start = np.r_[True, rows[1:] != rows[:-1]][: len(rows)]
    place = places - np.maximum.accumulate(np.where(is_start, places, 0))
    kept = (place < num_neighbors) & (values > 0)
    items = np.full((pairs.shape[0], num_neighbors), PADDING, np.int32)
    weights = np.zeros((pairs.shape[0], num_neighbors), np.float32)
    items[rows[kept], place[kept]] = columns[kept]
    weights[rows[kept], place[kept]] = values[kept]
    return Neighbors(items, weights)
