"""The true purchase propensity of a synthetic market, which bounds what any ranking of it can reach."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ITEMS = "oracle_items"
USERS = "oracle_users"
QUERIES = "oracle_queries"


class Oracle:
    """Scores every item for a user and context by the law that the market was simulated with.

    The score is `q . v_item + bias_item`, with q the sum of the user's, the subject item's and the query's latent
    vectors, each times the surface's coefficient: the log probability of a reported purchase up to a constant per row.

    Args:
        items: item id -> position in `item_vectors`, `bias` and `available_from_us`.
        item_vectors: [items, dim] float32.
        bias: [items] float32.
        available_from_us: [items] int64, microseconds since 1970, UTC.
        users: user id -> position in `user_vectors`.
        user_vectors: [users, dim] float32.
        queries: query text -> position in `query_vectors`.
        query_vectors: [queries, dim] float32.
        coefficients: surface -> weights of `user`, `subject` and `query`.
    """

    def __init__(
        self,
        *,
        items: dict[str, int],
        item_vectors: np.ndarray,
        bias: np.ndarray,
        available_from_us: np.ndarray,
        users: dict[str, int],
        user_vectors: np.ndarray,
        queries: dict[str, int],
        query_vectors: np.ndarray,
        coefficients: dict[str, dict[str, float]],
    ) -> None:
        self._items = items
        self._item_vectors = item_vectors
        self._bias = bias
        self._available_from_us = available_from_us
        self._users = users
        self._user_vectors = user_vectors
        self._queries = queries
        self._query_vectors = query_vectors
        self._coefficients = coefficients

    @classmethod
    def load(cls, dataset: Path) -> "Oracle | None":
        """Reads the oracle of a dataset folder; None when the dataset has none (it is not synthetic)."""
        if not (dataset / ITEMS).is_dir():
            return None
        items = pq.read_table(dataset / ITEMS)
        users = pq.read_table(dataset / USERS)
        queries = pq.read_table(dataset / QUERIES)
        facts = json.loads((dataset / "source.json").read_text())
        return cls(
            items=_positions(items["item_id"]),
            item_vectors=_matrix(items["vector"]),
            bias=items["bias"].to_numpy().astype(np.float32),
            available_from_us=items["available_from"].to_numpy(),
            users=_positions(users["user_id"]),
            user_vectors=_matrix(users["vector"]),
            queries=_positions(queries["query"]),
            query_vectors=_matrix(queries["vector"]),
            coefficients=facts["oracle"]["coefficients"],
        )

    def scores(
        self,
        user_ids: Sequence[str],
        surfaces: Sequence[str],
        subject_item_ids: Sequence[str],
        queries: Sequence[str],
        item_ids: Sequence[str],
    ) -> np.ndarray:
        """True log propensity of each item, up to a constant per row; whether it was launched yet is not considered.

        Args:
            user_ids: [rows].
            surfaces: [rows]; `unknown` (a purchase without a touch) takes the coefficients of home.
            subject_item_ids: [rows]; read on surfaces that have a subject, else ignored (may be empty).
            queries: [rows]; read on surfaces that have a query, else ignored (may be empty).
            item_ids: [items], in the order of the scores' columns.

        Returns:
            [rows, items] float32. Give blocks of rows: the matrix is dense.

        Raises:
            ValueError: a surface, user, item or query that the market does not have; lists of different lengths.
        """
        lengths = {len(user_ids), len(surfaces), len(subject_item_ids), len(queries)}
        if len(lengths) > 1:
            raise ValueError(
                "user_ids, surfaces, subject_item_ids and queries must be of one length. Received: "
                f"{len(user_ids)}, {len(surfaces)}, {len(subject_item_ids)}, {len(queries)}"
            )
        weights = self._weights(surfaces)
        vectors = weights[:, :1] * self._user_vectors[_lookup(self._users, user_ids, "user")]
        for column, ids, index, table, name in (
            (1, subject_item_ids, self._items, self._item_vectors, "subject item"),
            (2, queries, self._queries, self._query_vectors, "query"),
        ):
            rows = np.flatnonzero(weights[:, column])
            found = _lookup(index, [ids[row] for row in rows], name)
            vectors[rows] += weights[rows, column, None] * table[found]
        columns = _lookup(self._items, item_ids, "item")
        return vectors @ self._item_vectors[columns].T + self._bias[columns]

    def available_from_us(self, item_ids: Sequence[str]) -> np.ndarray:
        """[items] int64: when each item was launched, microseconds since 1970, UTC.

        Raises:
            ValueError: an item that the market does not have.
        """
        return self._available_from_us[_lookup(self._items, item_ids, "item")]

    def _weights(self, surfaces: Sequence[str]) -> np.ndarray:
        unknown = sorted(set(surfaces) - set(self._coefficients))
        if unknown:
            raise ValueError(f"surface must be one of {sorted(self._coefficients)}. Received: {unknown[0]!r}")
        by_surface = {name: (row["user"], row["subject"], row["query"]) for name, row in self._coefficients.items()}
        return np.array([by_surface[name] for name in surfaces], dtype=np.float32).reshape(-1, 3)


def _lookup(index: dict[str, int], ids: Sequence[str], name: str) -> np.ndarray:
    try:
        return np.fromiter((index[value] for value in ids), dtype=np.int64, count=len(ids))
    except KeyError as error:
        raise ValueError(
            f"{name} must be one of the simulated market's. Received: {error.args[0]!r}; give ids of the same dataset."
        ) from error


def _positions(column: pa.ChunkedArray) -> dict[str, int]:
    return {value: position for position, value in enumerate(column.to_pylist())}


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32).reshape(len(column), -1)
