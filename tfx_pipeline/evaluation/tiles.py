"""Scores of queries and items, tile by tile: what is counted or kept of a tile before the next takes its place.

A tile fits a processor's cache, so that counting costs little beside the product, and memory grows neither with the items nor
with the queries. Each processor has its own rows; on as many, one product at a time would leave them waiting.
"""

import os
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

_ROWS = 512
_COLUMNS = 2048  # 4 MB of float32 scores
_PENDING = 4  # kept candidates beyond the best k, in k, before they are sorted out

Tile = tuple[int, np.ndarray]
"""First item, and scores [rows, columns] that the next tile overwrites."""


def count_above(queries: np.ndarray, items: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """How many items score above each limit of a row.

    Args:
        queries: [rows, dim] float32.
        items: [items, dim] float32; may be mapped from disk.
        limits: [rows, n] float32.

    Returns:
        [rows, n] int64.
    """

    def count(rows: slice) -> np.ndarray:
        found = np.zeros(limits[rows].shape, np.int64)
        above = np.empty((len(found), _COLUMNS), bool)
        for _, scores in _tiles(queries[rows], items):
            for number in range(limits.shape[1]):
                mask = np.greater(scores, limits[rows, number, np.newaxis], out=above[:, : scores.shape[1]])
                found[:, number] += [np.count_nonzero(row) for row in mask]  # by far the quickest of numpy's ways
        return found

    return _by_rows(count, len(queries), np.zeros(limits.shape, np.int64))


def top_k(queries: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact k best items of each row, best first; of equals, the first.

    Args:
        queries: [rows, dim] float32.
        items: [items, dim] float32; may be mapped from disk.
        k: at most the number of items.

    Returns:
        Positions [rows, k] int64 and scores [rows, k] float32.

    Raises:
        ValueError: k is not between 1 and the number of items.
    """
    if not 1 <= k <= len(items):
        raise ValueError(f"k must be between 1 and the number of items. Received: k={k} with {len(items)} items")
    scores = np.zeros((len(queries), k), np.float32)

    def search(rows: slice) -> np.ndarray:
        positions, scores[rows] = _best(queries[rows], items, k)
        return positions

    return _by_rows(search, len(queries), np.zeros((len(queries), k), np.int64)), scores


def _best(queries: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Keeps what beats the k-th best so far; few do, once some tiles are seen."""
    num_rows = len(queries)
    least = np.full(num_rows, -np.inf, np.float32)
    pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for first, scores in _tiles(queries, items):
        rows, columns = np.nonzero(scores > least[:, np.newaxis])
        pending.append((rows, columns + first, scores[rows, columns]))
        if sum(len(found[0]) for found in pending) > _PENDING * num_rows * k:
            pending = [_sorted_out(pending, k)]
            least = _last_of(pending[0], num_rows, k)
    rows, positions, values = _sorted_out(pending, k)
    return positions.reshape(num_rows, k), values.reshape(num_rows, k)


def _sorted_out(
    pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]], k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k best of each row, row by row, best first."""
    rows, positions, values = (np.concatenate(parts) for parts in zip(*pending, strict=True))
    order = np.lexsort((positions, -values, rows))
    rows, positions, values = rows[order], positions[order], values[order]
    starts = np.searchsorted(rows, np.arange(rows[-1] + 1 if len(rows) else 0))
    kept = np.arange(len(rows)) - starts[rows] < k
    return rows[kept], positions[kept], values[kept]


def _last_of(best: tuple[np.ndarray, np.ndarray, np.ndarray], num_rows: int, k: int) -> np.ndarray:
    rows, _, values = best
    ends = np.searchsorted(rows, np.arange(num_rows), side="right")
    is_full = np.bincount(rows, minlength=num_rows) == k
    return np.where(is_full, values[ends - 1], -np.inf).astype(np.float32)


def _tiles(queries: np.ndarray, items: np.ndarray) -> Iterator[Tile]:
    buffer = np.empty((len(queries), _COLUMNS), np.float32)
    for first in range(0, len(items), _COLUMNS):
        tile = items[first : first + _COLUMNS].T
        whole = tile.shape[1] == _COLUMNS
        yield first, np.matmul(queries, tile, out=buffer) if whole else queries @ tile


def _by_rows(work: Callable[[slice], np.ndarray], num_rows: int, found: np.ndarray) -> np.ndarray:
    """`found`, filled with what `work` gives for blocks of rows."""
    processors = len(os.sched_getaffinity(0))
    step = max(1, min(_ROWS, -(-num_rows // processors)))
    blocks = [slice(start, min(num_rows, start + step)) for start in range(0, num_rows, step)]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(processors) as pool:
        for rows, values in zip(blocks, pool.map(work, blocks), strict=True):
            found[rows] = values
    return found
