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
_SAMPLE = 16_384  # items

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
    """Collects what beats a limit that some more than k items beat, by a sample; rows where fewer do, without one."""
    limits = _sampled_limits(queries, items, k)
    positions, scores = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    for again in (False, True):
        asked = np.flatnonzero(np.isnan(limits)) if again else np.arange(len(queries))
        limits = np.full(len(asked), -np.inf, np.float32) if again else limits
        if not len(asked):
            break
        rows, columns, values = _collect(queries[asked], items, limits)
        ends = np.cumsum(np.bincount(rows, minlength=len(asked)))
        for place, (row, start, end) in enumerate(zip(asked, np.r_[0, ends[:-1]], ends, strict=True)):
            if end - start < k:
                limits[place] = np.nan
                continue
            best = np.argsort(-values[start:end], kind="stable")[:k]
            positions[row], scores[row] = columns[start:end][best], values[start:end][best]
    return positions, scores


def _sampled_limits(queries: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """[rows] scores that at least k items exceed but by bad luck: four standard deviations of the sample's count."""
    if len(items) <= _SAMPLE:
        return np.full(len(queries), -np.inf, np.float32)
    sample = np.sort(np.random.default_rng(0).choice(len(items), _SAMPLE, replace=False))
    expected = _SAMPLE * k / len(items)
    place = int(np.ceil(expected + 4 * np.sqrt(expected) + 3))
    if place >= _SAMPLE:
        return np.full(len(queries), -np.inf, np.float32)
    scores = queries @ np.asarray(items[sample]).T
    return np.partition(scores, _SAMPLE - place - 1, axis=1)[:, _SAMPLE - place - 1]


def _collect(queries: np.ndarray, items: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and scores above the rows' limits, row by row, columns ascending."""
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for first, scores in _tiles(queries, items):
        above = np.flatnonzero(scores > limits[:, np.newaxis])
        parts.append((above // scores.shape[1], above % scores.shape[1] + first, scores.ravel()[above]))
    rows, columns, values = (np.concatenate(found) for found in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    return rows[order], columns[order], values[order]


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
