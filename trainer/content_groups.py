"""Content groups: what items have in common by their attributes, whoever bought them."""

import numpy as np
import scipy.sparse
import tensorflow as tf

from trainer.associations import Neighbors
from trainer.associations import strongest
from trainer.preprocessing import PADDING
from trainer.tables import CatalogTable

_CATEGORICAL = ("id", "categorical", "path")


class ContentGroups:
    """The groups that an item belongs to: one for each level of its category, its advertiser, and every categorical attribute.

    In a catalogue without any of these, one for each word of a text. (Beside categories, words cost 4% of The Complete Journey's
    recall at 1,000.)

    Args:
        catalog: attributes of the items.
        sizes: entries by vocabulary, padding included.
    """

    def __init__(self, catalog: CatalogTable, sizes: dict[str, int]) -> None:
        self._catalog = catalog
        categorical = [feature for feature in catalog.content if feature.treatment in _CATEGORICAL]
        self._features = categorical or list(catalog.content)
        widths = [sizes[feature.vocabulary] for feature in self._features]
        self._starts = np.cumsum([0, *widths])[:-1].tolist()
        self.number = sum(widths)
        """Of groups; the first is no group."""

    def of(self, items: tf.Tensor) -> tf.Tensor:
        """int64 [n] -> int64 [n, groups of an item], `PADDING` where there are fewer."""
        values = [tf.cast(self._catalog.lookup(feature, items), tf.int64) for feature in self._features]
        if not values:
            return tf.zeros([tf.size(items), 0], tf.int64)
        starts = zip(values, self._starts, strict=True)
        return tf.concat([tf.where(found == PADDING, found, found + start) for found, start in starts], axis=1)


def most_popular(groups: np.ndarray, counts: np.ndarray, *, num_groups: int, num_neighbors: int) -> Neighbors:
    """Of each group the items that are converted on most, each with its share of the group.

    Args:
        groups: [num_items, n] int64 groups of each item, `PADDING` where there are fewer.
        counts: [num_items] >= 0 train rows of each item; an item without any is not listed.
        num_groups: the first, `PADDING`, is none.
        num_neighbors: kept for each group.

    Returns:
        Of groups instead of items: [num_groups, num_neighbors] items and shares in (0, 1].
    """
    places, columns = np.nonzero((groups != PADDING) & (counts > 0)[:, np.newaxis])
    cells = (np.ones(len(places)), (groups[places, columns], places))
    pairs = scipy.sparse.csr_matrix(cells, (num_groups, len(counts)))
    pairs.data = counts[pairs.indices].astype(np.float64)  # an item that has a word twice belongs to it once
    totals = np.maximum(np.asarray(pairs.sum(axis=1))[:, 0], 1.0)
    return strongest(scipy.sparse.diags(1.0 / totals) @ pairs, num_neighbors)
