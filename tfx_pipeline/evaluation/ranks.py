"""Exact ranks over the whole catalogue, in blocks, so that memory does not grow with rows x items.

A rank is the number of items that score higher, 0 for the best. Items that tie with the target count half: the expected rank
when ties are broken at random. Scores of vectors tie when they differ by rounding alone, for a product's last bits depend on
where in a tile it is computed.
"""

from collections.abc import Callable
from collections.abc import Iterator

import numpy as np

from tfx_pipeline.evaluation import device_counts
from tfx_pipeline.evaluation import tiles
from tfx_pipeline.evaluation.rows import Queries

_CELLS = 32_000_000  # of one block of scores: 128 MB as float32

_ROUNDING = 5e-7
"""Of a score relative to the product of the norms: a few steps of float32."""

Scorer = Callable[[slice], np.ndarray]
"""Rows of queries -> scores [rows, items] float32."""


def vector_scorer(queries: Queries, items: np.ndarray) -> Scorer:
    """Inner products with the items' vectors [items, dim], and each row's bonuses."""
    transposed = np.ascontiguousarray(items.T)

    def score(rows: slice) -> np.ndarray:
        scores = queries.vectors[rows] @ transposed
        for own, listed, bonuses in zip(scores, queries.listed[rows], queries.bonuses[rows], strict=True):
            own[listed] += bonuses
        return scores

    return score


def blocks(num_rows: int, num_items: int) -> Iterator[slice]:
    """Slices of rows whose scores fit one block."""
    step = max(1, _CELLS // max(1, num_items))
    for start in range(0, num_rows, step):
        yield slice(start, min(num_rows, start + step))


def ranks(
    scorer: Scorer, targets: np.ndarray, known: list[np.ndarray], *, num_items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each row's target, 0 is best: among all items, and among what the user does not know.

    Items that tie with the target count half: the expected rank when ties are broken at random.

    Args:
        scorer: scores of a block of rows.
        targets: [rows] int positions.
        known: per row, positions of items that are left out of the second rank; the target among them has no such rank.
        num_items: of the catalogue.

    Returns:
        [rows] float64 each.
    """
    everything, unknown = np.empty(len(targets)), np.empty(len(targets))
    for rows in blocks(len(targets), num_items):
        scores = scorer(rows)
        own = scores[np.arange(len(scores)), targets[rows]][:, np.newaxis]
        better = np.count_nonzero(scores > own, axis=1)
        equal = np.count_nonzero(scores == own, axis=1) - 1
        everything[rows] = better + equal / 2
        left_out = [
            np.count_nonzero(row[places] > value) + np.count_nonzero(row[places] == value) / 2
            for row, places, value in zip(scores, known[rows], own[:, 0], strict=True)
        ]
        unknown[rows] = everything[rows] - left_out
    return everything, unknown


def vector_ranks(
    queries: Queries, items: np.ndarray, targets: np.ndarray, known: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """As `ranks`, of inner products with the items' vectors [items, dim] and each row's bonuses, far quicker.

    All items are counted by their inner products alone, and those that have a bonus are then counted anew.
    """
    listed = [np.union1d(own, given).astype(np.int64) for own, given in zip(queries.listed, known, strict=True)]
    own = np.empty(len(targets), np.float32)
    lists = []
    for row, target in enumerate(targets):
        places = np.r_[target, listed[row]]
        plain = np.asarray(items[places] @ queries.vectors[row], np.float32)
        bonuses = np.zeros(len(places), np.float32)
        with_bonus = np.searchsorted(listed[row], queries.listed[row])
        bonuses[1 + with_bonus] = queries.bonuses[row]
        bonuses[0] = bonuses[1:][listed[row] == target].sum()
        own[row] = plain[0] + bonuses[0]
        lists.append((plain, bonuses))
    tolerance = _ROUNDING * np.linalg.norm(queries.vectors, axis=1) * _greatest_norm(items)
    limits = np.stack([own + tolerance, own - tolerance], axis=1)
    count_above = device_counts.count_above if device_counts.has_gpu() else tiles.count_above
    counts = count_above(queries.vectors, items, limits).sum(axis=1) / 2
    everything, unknown = np.empty(len(targets)), np.empty(len(targets))
    for row, (plain, bonuses) in enumerate(lists):
        others = listed[row] != targets[row]
        before = _share_before(plain[1:][others], limits[row])
        after = _share_before((plain + bonuses)[1:][others], limits[row])
        everything[row] = counts[row] - _share_before(plain[:1], limits[row])[0] + (after - before).sum()
        is_known = np.isin(listed[row][others], known[row])
        unknown[row] = everything[row] - after[is_known].sum()
    return everything, unknown


def _share_before(scores: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """1 above both limits, a half between them: what an item adds to a rank."""
    return ((scores > limits[0]).astype(float) + (scores > limits[1])) / 2


def _greatest_norm(items: np.ndarray) -> float:
    return max(
        float(np.linalg.norm(items[start : start + 65_536], axis=1).max()) for start in range(0, len(items), 65_536)
    )


def constant_ranks(scores: np.ndarray, targets: np.ndarray, known: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """As `ranks`, of scores [items] that are the same for every row."""
    of_items = _ranks_in(np.sort(scores), scores)
    everything = of_items[targets]
    unknown = np.empty(len(targets))
    for row, (target, left_out) in enumerate(zip(targets, known, strict=True)):
        others = scores[left_out[left_out != target]]
        value = scores[target]
        unknown[row] = everything[row] - np.count_nonzero(others > value) - np.count_nonzero(others == value) / 2
    return everything, unknown


def set_ranks(
    scorer: Scorer, targets: list[np.ndarray], known: list[np.ndarray], *, num_items: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ranks of several targets per row: among all items, and of the new ones among what the user does not know.

    Args:
        scorer: scores of a block of rows.
        targets: per row, positions of the items to find.
        known: per row, positions of items that the user had before.
        num_items: of the catalogue.

    Returns:
        Per row the ranks of all targets, and the ranks of the targets that are not known, with known items left out.
    """
    everything, new_only = [], []
    for rows in blocks(len(targets), num_items):
        for offset, scores in enumerate(scorer(rows)):
            row = rows.start + offset
            ordered = np.sort(scores)
            everything.append(_ranks_in(ordered, scores[targets[row]]))
            new = np.setdiff1d(targets[row], known[row])
            own = scores[new]
            new_only.append(_ranks_in(ordered, own) - _ranks_in(np.sort(scores[known[row]]), own, is_own_among=False))
    return everything, new_only


def _ranks_in(ordered: np.ndarray, values: np.ndarray, *, is_own_among: bool = True) -> np.ndarray:
    """Rank of values in ascending `ordered`: number greater, plus half of the ties with others."""
    after = np.searchsorted(ordered, values, side="right")
    ties = after - np.searchsorted(ordered, values, side="left") - int(is_own_among)
    return (len(ordered) - after) + ties / 2


def recall_at(found: np.ndarray, k: int) -> float:
    """Share of ranks below k; NaN without rows."""
    return float(np.mean(found < k)) if len(found) else float("nan")


def macro_recall_at(found: list[np.ndarray], k: int) -> float:
    """Mean over rows of the share of a row's targets that rank below k; rows without targets do not count."""
    shares = [float(np.mean(row < k)) for row in found if len(row)]
    return float(np.mean(shares)) if shares else float("nan")
