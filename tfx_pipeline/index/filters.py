"""Which items a request may get back: what is known of the items, and what the rows of a request ask of them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from schemas import contract
from schemas.tables import CATEGORY_SEPARATOR
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.labels import Labels
from tfx_pipeline.index.labels import StringTable
from tfx_pipeline.index.variables import rows_of

_STRINGS = (
    contract.INPUT_EXCLUDE_ITEM_IDS,
    contract.INPUT_ALLOW_ADVERTISER_IDS,
    contract.INPUT_DENY_ADVERTISER_IDS,
    contract.INPUT_ALLOW_CATEGORIES,
    contract.INPUT_DENY_CATEGORIES,
)
INPUT_SPECS = {
    **{name: tf.TensorSpec([None, None], tf.string, name=name) for name in _STRINGS},
    contract.INPUT_MIN_PRICE: tf.TensorSpec([None], tf.float32, name=contract.INPUT_MIN_PRICE),
    contract.INPUT_MAX_PRICE: tf.TensorSpec([None], tf.float32, name=contract.INPUT_MAX_PRICE),
    contract.INPUT_MAX_PER_ADVERTISER: tf.TensorSpec([None], tf.int32, name=contract.INPUT_MAX_PER_ADVERTISER),
}
"""The named inputs of filters."""


class Rules(NamedTuple):
    """What the rows of a batch ask of items.

    Attributes:
        excluded: [batch, n] int32 positions in the catalogue, -1 for none.
        advertisers: [batch, advertisers + 1] bool, which are wanted, by code; one column where all are.
        categories: the same of categories.
        min_price: [batch] float32, NaN for none.
        max_price: [batch] float32, NaN for none.
        max_per_advertiser: [batch] int32, 0 or less for no limit.
    """

    excluded: tf.Tensor
    advertisers: tf.Tensor
    categories: tf.Tensor
    min_price: tf.Tensor
    max_price: tf.Tensor
    max_per_advertiser: tf.Tensor


RULES_SPEC = Rules(
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None, None], tf.bool),
    tf.TensorSpec([None, None], tf.bool),
    tf.TensorSpec([None], tf.float32),
    tf.TensorSpec([None], tf.float32),
    tf.TensorSpec([None], tf.int32),
)


class ItemFilters(tf.Module):
    """What filters know of the items; prices and availability may be assigned in a loaded SavedModel.

    Args:
        catalog: the items.

    Attributes:
        prices: [items] float32, NaN where unknown.
        is_available: [items] bool.
        advertisers: of the items.
    """

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(name="filters")
        separator = CATEGORY_SEPARATOR.encode()
        self.prices = tf.Variable(catalog.prices.astype(np.float32), trainable=False, name="prices")
        self.is_available = tf.Variable(catalog.is_available, trainable=False, name="is_available")
        self.advertisers = Labels(catalog.advertisers, separator=None, name="advertisers")
        self._categories = Labels(catalog.categories, separator=separator, name="categories")
        self._positions = StringTable(catalog.item_ids, name="item_ids")

    def rules(self, inputs: dict[str, tf.Tensor]) -> Rules:
        """The rules of named inputs."""
        return Rules(
            self._positions(inputs[contract.INPUT_EXCLUDE_ITEM_IDS]),
            _wanted(
                self.advertisers,
                allow=inputs[contract.INPUT_ALLOW_ADVERTISER_IDS],
                deny=inputs[contract.INPUT_DENY_ADVERTISER_IDS],
            ),
            _wanted(
                self._categories,
                allow=inputs[contract.INPUT_ALLOW_CATEGORIES],
                deny=inputs[contract.INPUT_DENY_CATEGORIES],
            ),
            inputs[contract.INPUT_MIN_PRICE],
            inputs[contract.INPUT_MAX_PRICE],
            inputs[contract.INPUT_MAX_PER_ADVERTISER],
        )

    def pass_at(self, rules: Rules, positions: tf.Tensor) -> tf.Tensor:
        """[batch, n] bool, which of the items at positions [batch, n] the rules let through."""
        is_excluded = tf.reduce_any(positions[:, :, tf.newaxis] == rules.excluded[:, tf.newaxis, :], axis=2)
        return self._pass(rules, positions) & ~is_excluded

    def pass_all(self, rules: Rules) -> tf.Tensor:
        """[batch, items] bool, which items the rules let through."""
        places = tf.where(rules.excluded >= 0)
        excluded = tf.stack([tf.cast(places[:, 0], tf.int32), tf.gather_nd(rules.excluded, places)], axis=1)
        return tf.tensor_scatter_nd_update(
            self._pass(rules, None), excluded, tf.zeros_like(excluded[:, 0], dtype=tf.bool)
        )

    def _pass(self, rules: Rules, positions: tf.Tensor | None) -> tf.Tensor:
        def of(values: tf.Variable) -> tf.Tensor:
            return values.read_value() if positions is None else rows_of(values, positions)

        prices = of(self.prices)
        low, high = rules.min_price[:, tf.newaxis], rules.max_price[:, tf.newaxis]
        return (
            of(self.is_available)
            & _looked_up(rules.advertisers, lambda: of(self.advertisers.codes))
            & _looked_up(rules.categories, lambda: of(self._categories.codes))
            & (tf.math.is_nan(low) | (prices >= low))
            & (tf.math.is_nan(high) | (prices <= high))
        )


def no_rules(num_rows: tf.Tensor) -> Rules:
    """Rules that let every available item through."""
    everything, unknown = tf.ones([num_rows, 1], tf.bool), tf.fill([num_rows], contract.MISSING_FLOAT)
    excluded, no_limit = tf.zeros([num_rows, 0], tf.int32), tf.zeros([num_rows], tf.int32)
    return Rules(excluded, everything, everything, unknown, unknown, no_limit)


def _wanted(labels: Labels, *, allow: tf.Tensor, deny: tf.Tensor) -> tf.Tensor:
    """[batch, labels + 1] bool by code; one column, for all, where no row names a label."""
    allows = tf.reduce_any(allow != contract.MISSING_STRING, axis=1, keepdims=True)
    denies = tf.reduce_any(deny != contract.MISSING_STRING, axis=1, keepdims=True)
    return tf.cond(
        tf.reduce_any(allows | denies),
        lambda: (~allows | labels.cover(allow)) & ~labels.cover(deny),
        lambda: tf.ones_like(allows),
    )


def _looked_up(wanted: tf.Tensor, codes_of_items: Callable[[], tf.Tensor]) -> tf.Tensor:
    """[batch, n] bool of codes [batch, n], or [n] for all rows; one column where none need be looked up."""

    def look_up() -> tf.Tensor:
        codes = codes_of_items()
        return tf.gather(wanted, codes, axis=1) if codes.shape.rank == 1 else tf.gather(wanted, codes, batch_dims=1)

    return tf.cond(tf.shape(wanted)[1] == 1, lambda: wanted, look_up)
