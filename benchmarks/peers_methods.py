"""Peers of the model: each ranks all items for some users, from a matrix [users, items] of how often each converted on what."""

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.index_environment import ROOT
from benchmarks.index_environment import peers_python
from benchmarks.peers_tfrs import plain_vectors

Scores = Callable[[slice], np.ndarray]
"""Of a block of the users that are asked: [block, items] float32."""
_MAX_EASE_ITEMS = 16_000
_SMALL = 1e-6


def popularity(counts: sparse.csr_matrix, users: np.ndarray) -> Scores:
    """Share of the conversions, the same for everybody."""
    shares = _shares(counts)
    return lambda block: np.broadcast_to(shares, (len(users[block]), len(shares)))


def own_frequency(counts: sparse.csr_matrix, users: np.ndarray) -> Scores:
    """How often the user converted on the item, then popularity."""
    shares = _shares(counts)
    return lambda block: counts[users[block]].toarray() + shares


def item_knn(counts: sparse.csr_matrix, users: np.ndarray, *, neighbors: int, shrink: float) -> Scores:
    """Sum of the cosines of the user's items with the item, of each item's nearest only; of all, for less than popularity."""
    binary, shares = _binary(counts), _shares(counts)
    nearest = nearest_items(counts, neighbors=neighbors, shrink=shrink)
    return lambda block: (binary[users[block]] @ nearest).toarray() + _SMALL * shares


def nearest_items(counts: sparse.csr_matrix, *, neighbors: int, shrink: float) -> sparse.csr_matrix:
    """[items, items] cosines by the users that items share, of each column its nearest alone."""
    binary = _binary(counts)
    norms = np.sqrt(np.asarray(binary.sum(axis=0)).ravel()) + _SMALL
    together = (binary.T @ binary).tocoo()
    cosines = together.data / (norms[together.row] * norms[together.col] + shrink)
    cosines[together.row == together.col] = 0.0
    return _nearest(sparse.csr_matrix((cosines, (together.row, together.col)), together.shape), neighbors)


def ease(counts: sparse.csr_matrix, users: np.ndarray, *, ridge: float) -> Scores:
    """Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, on the commonest items."""
    shares = _shares(counts)
    common = np.sort(np.argsort(-shares, kind="stable")[:_MAX_EASE_ITEMS])
    binary = _binary(counts)[:, common]
    inverse = np.linalg.inv((binary.T @ binary).toarray() + ridge * np.eye(len(common)))
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)

    def score(block: slice) -> np.ndarray:
        found = np.broadcast_to(_SMALL * shares, (len(users[block]), len(shares))).astype(np.float32)
        found[:, common] += binary[users[block]] @ weights
        return found

    return score


def implicit_factors(
    counts: sparse.csr_matrix, users: np.ndarray, *, log_popularity: float = 0.0, **settings: Any
) -> Scores:
    """ALS or BPR; with `log_popularity`, so many times its log is added (BPR draws negatives by popularity)."""
    with tempfile.TemporaryDirectory() as folder:
        matrix, out = Path(folder) / "matrix.npz", Path(folder) / "factors.npz"
        sparse.save_npz(matrix, counts)
        command = [str(peers_python()), str(ROOT / "benchmarks/peers_implicit.py"), f"--matrix={matrix}"]
        subprocess.run(
            [*command, f"--out={out}", f"--settings={json.dumps(settings)}"], check=True, capture_output=True
        )
        found = np.load(out)
    return _products(found["users"][users], found["items"], counts, log_popularity=log_popularity)


def plain_two_tower(
    counts: sparse.csr_matrix, users: np.ndarray, *, log_popularity: float = 0.0, **settings: Any
) -> Scores:
    """TFRS's tutorial; with `log_popularity`, so many times its log is added (in-batch negatives are drawn by popularity)."""
    of_users, of_items = plain_vectors(counts, **settings)
    return _products(of_users[users], of_items, counts, log_popularity=log_popularity)


GRIDS: dict[str, tuple[Callable[..., Scores], list[dict[str, Any]]]] = {
    "popularity": (popularity, [{}]),
    "the user's own frequency": (own_frequency, [{}]),
    "item-kNN": (item_knn, [{"neighbors": n, "shrink": s} for n in (50, 200, 1000) for s in (0.0, 10.0)]),
    "EASE": (ease, [{"ridge": ridge} for ridge in (30.0, 100.0, 300.0, 1000.0)]),
    "ALS": (
        implicit_factors,
        [
            {"method": "als", "factors": f, "regularization": r, "alpha": a}
            for f in (32, 64, 128)
            for r in (1.0, 10.0)
            for a in (1.0, 10.0)
        ],
    ),
    "BPR": (
        implicit_factors,
        [
            {"method": "bpr", "factors": 64, "iterations": 200, "learning_rate": 0.05, "log_popularity": p}
            for p in (0.0, 0.5, 1.0)
        ],
    ),
    "plain TFRS two-tower": (
        plain_two_tower,
        [{"epochs": epochs, "log_popularity": p} for epochs in (3, 10, 30) for p in (0.0, 1.0)],
    ),
}
"""By name, the peer and the settings among which an earlier slice chooses."""


def _products(
    of_users: np.ndarray, of_items: np.ndarray, counts: sparse.csr_matrix, *, log_popularity: float
) -> Scores:
    offset = log_popularity * np.log(_shares(counts))
    return lambda block: of_users[block] @ of_items.T + offset


def _shares(counts: sparse.csr_matrix) -> np.ndarray:
    totals = np.asarray(counts.sum(axis=0)).ravel()
    return np.maximum(totals, 0.5).astype(np.float64) / totals.sum()


def _binary(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    found = counts.astype(np.float32)
    found.data[:] = 1.0
    return found


def _nearest(similarities: sparse.csr_matrix, number: int) -> sparse.csr_matrix:
    """Each column's greatest."""
    columns = similarities.tocsc()
    for column in range(columns.shape[1]):
        own = columns.data[columns.indptr[column] : columns.indptr[column + 1]]
        if len(own) > number:
            own[own < np.partition(own, -number)[-number]] = 0.0
    columns.eliminate_zeros()
    return columns.tocsr()
