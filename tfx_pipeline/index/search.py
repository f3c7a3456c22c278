"""The best items that pass: asked of the index first, of all items where the index's answer does not settle it."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfx_pipeline.index.filters import RULES_SPEC
from tfx_pipeline.index.filters import ItemFilters
from tfx_pipeline.index.filters import Rules
from tfx_pipeline.index.filters import gather
from tfx_pipeline.index.filters import no_rules

NOTHING = tf.float32.min
"""Score of a place that holds no item."""
_GROWTH = 4


class Query(NamedTuple):
    """The rows of a batch.

    Attributes:
        vectors: [batch, dim] float32.
        listed: [batch, n] int32, positions in the catalogue of items with a bonus, each once; -1 for none.
        bonuses: [batch, n] float32, theirs; 0 for none.
    """

    vectors: tf.Tensor
    listed: tf.Tensor
    bonuses: tf.Tensor


class Found(NamedTuple):
    """The answer.

    Attributes:
        scores: [batch, k] float32, best first; `NOTHING` behind the last item.
        positions: [batch, k] int32 in the catalogue; any number where the score is `NOTHING`.
        is_settled: [batch] bool, whether no item that was not looked at can belong to the answer.
    """

    scores: tf.Tensor
    positions: tf.Tensor
    is_settled: tf.Tensor

    def num_found(self) -> tf.Tensor:
        """[batch] int32, how many places hold an item."""
        return _num_items(self.scores)


class Search(tf.Module):
    """Searches an index with bonuses and filters.

    Args:
        index: maps queries and k to scores and positions, best first; with `vectors`.
        filters: of the same items.
        max_k: most results that the index gives, beside those that bonuses may push out.
        is_exact: whether the index itself looks at all items.
    """

    def __init__(self, index: tf.Module, filters: ItemFilters, *, max_k: int, is_exact: bool) -> None:
        super().__init__(name="search")
        self._index = index
        self._filters = filters
        self._max_k = max_k
        self._is_exact = is_exact
        self._num_items, dim = index.vectors.shape
        query = Query(_spec([None, dim], tf.float32), _spec([None, None], tf.int32), _spec([None, None], tf.float32))
        # Traced once for all signatures: the graph is a third as large.
        self._traced = tf.function(
            self._filtered, autograph=False, input_signature=[query, RULES_SPEC, _spec([], tf.int32)]
        )

    def available(self, query: Query, k: tf.Tensor) -> Found:
        """The best k available items; looks no further than the index's k while all of those are available."""
        rules = no_rules(tf.shape(query.vectors)[0])
        found = self._by_index(query, k, fetch=k, passing=lambda at: gather(self._filters.is_available, at))
        return self._settled(found, query, rules, lambda query, rules: self.filtered(query, rules, k))

    def filtered(self, query: Query, rules: Rules, k: tf.Tensor) -> Found:
        """The best k items that pass the rules."""
        return self._traced(query, rules, k)

    def _filtered(self, query: Query, rules: Rules, k: tf.Tensor) -> Found:
        if self._is_exact:
            return self._by_all(query, rules, k)
        found = self._by_index(
            query,
            k,
            fetch=tf.constant(self._max_k),
            passing=lambda at: self._filters.pass_at(rules, at),
            limits=rules.max_per_advertiser,
        )
        return self._settled(found, query, rules, lambda query, rules: self._by_all(query, rules, k))

    def _settled(self, found: Found, query: Query, rules: Rules, search: Callable[[Query, Rules], Found]) -> Found:
        """`found`, its unsettled rows searched again."""
        rows = tf.where(~found.is_settled)

        def again() -> Found:
            asked = tf.nest.map_structure(lambda values: tf.gather(values, rows[:, 0]), (query, rules))
            return tf.nest.map_structure(
                lambda old, new: tf.tensor_scatter_nd_update(old, rows, new), found, search(*asked)
            )

        return tf.cond(tf.size(rows) == 0, lambda: found, again)

    def _by_index(
        self,
        query: Query,
        k: tf.Tensor,
        *,
        fetch: tf.Tensor,
        passing: Callable[[tf.Tensor], tf.Tensor],
        limits: tf.Tensor | None = None,
    ) -> Found:
        """The best k of what the index gives and of the listed items.

        The index is asked for as many more as bonuses are below 0: what is raised can only enter, but what is lowered may
        leave its answer. A row is settled by k items of the index that pass, or if all of them pass.
        """
        lowered = tf.math.count_nonzero(query.bonuses < 0, axis=1, dtype=tf.int32)
        width = tf.minimum(fetch + tf.reduce_max(tf.pad(lowered, [[1, 0]])), self._num_items)
        scores, positions = self._index(query.vectors, width)
        is_found = scores > NOTHING  # an index may find fewer than it was asked for
        passes = passing(positions) & is_found
        is_listed = tf.reduce_any(positions[:, :, tf.newaxis] == query.listed[:, tf.newaxis, :], axis=2)
        listed = tf.maximum(query.listed, 0)
        products = tf.einsum("bd,bnd->bn", query.vectors, gather(self._index.vectors, listed))
        raised = tf.where((query.listed >= 0) & passing(listed), products + query.bonuses, NOTHING)
        scores = tf.concat([tf.where(passes & ~is_listed, scores, NOTHING), raised], axis=1)
        positions = tf.concat([positions, query.listed], axis=1)
        is_whole = tf.reduce_all(passes, axis=1)
        is_all = (width == self._num_items) & tf.reduce_all(is_found, axis=1)
        if limits is not None:
            within = self._within_limits(scores, positions, limits)
            is_whole &= tf.reduce_all(within | (scores == NOTHING), axis=1)
            scores = tf.where(within, scores, NOTHING)
        is_settled = is_whole | is_all | (_num_items(scores[:, :width]) >= k)
        best, places = tf.math.top_k(scores, k=k)
        return Found(best, tf.gather(positions, places, batch_dims=1), is_settled)

    def _by_all(self, query: Query, rules: Rules, k: tf.Tensor) -> Found:
        """The best k of all items; looks at more of them until the limits leave k."""
        places = tf.where(query.listed >= 0)
        listed = tf.stack([tf.cast(places[:, 0], tf.int32), tf.gather_nd(query.listed, places)], axis=1)
        products = tf.matmul(query.vectors, self._index.vectors, transpose_b=True)
        raised = tf.tensor_scatter_nd_add(products, listed, tf.gather_nd(query.bonuses, places))
        scores = tf.where(self._filters.pass_all(rules), raised, NOTHING)
        num_passing = _num_items(scores)

        def look_at(width: tf.Tensor) -> Found:
            top, positions = tf.math.top_k(scores, k=width)
            within = self._within_limits(top, positions, rules.max_per_advertiser)
            best, places = tf.math.top_k(tf.where(within, top, NOTHING), k=k)
            is_settled = (_num_items(best) == k) | (num_passing <= width)
            return Found(best, tf.gather(positions, places, batch_dims=1), is_settled)

        def widen(width: tf.Tensor, _: Found) -> tuple[tf.Tensor, Found]:
            wider = tf.minimum(_GROWTH * width, self._num_items)
            return wider, look_at(wider)

        _, found = tf.while_loop(lambda _, found: ~tf.reduce_all(found.is_settled), widen, (k, look_at(k)))
        return found

    def _within_limits(self, scores: tf.Tensor, positions: tf.Tensor, limits: tf.Tensor) -> tf.Tensor:
        """[batch, n] bool, whether an item is among its advertiser's best; limits [batch], 0 for none."""

        def within() -> tf.Tensor:
            codes = gather(self._filters.advertisers.codes, tf.maximum(positions, 0))
            limit = limits[:, tf.newaxis]
            return (limit <= 0) | (codes == 0) | (_ranks_within(codes, scores) < limit)

        return tf.cond(tf.reduce_any(limits > 0), within, lambda: tf.ones_like(scores, tf.bool))


def _spec(shape: list[int | None], dtype: tf.DType) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


def _ranks_within(groups: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """[batch, n] int32, how many of the same group [batch, n] score more."""
    by_score = tf.argsort(scores, direction="DESCENDING", stable=True)
    by_group = tf.argsort(tf.gather(groups, by_score, batch_dims=1), stable=True)
    order = tf.gather(by_score, by_group, batch_dims=1)
    ordered = tf.gather(groups, order, batch_dims=1)
    ranks = tf.range(tf.shape(scores)[1]) - tf.searchsorted(ordered, ordered)
    return tf.gather(ranks, tf.argsort(order), batch_dims=1)


def _num_items(scores: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(scores > NOTHING, axis=1, dtype=tf.int32)
