import numpy as np
import pytest
import tensorflow as tf

from schemas.features import feature_groups
from schemas.load import load_schema
from trainer.content_groups import ContentGroups
from trainer.content_groups import most_popular
from trainer.tables import CatalogTable

SIZES = {"item_id": 5, "category": 6, "advertiser_id": 4, "title": 9}


@pytest.fixture(scope="module")
def catalog():
    """4 items: one of another category, one without an advertiser, one without a category."""
    groups = feature_groups(load_schema())
    names = ("category", "advertiser_id", "title", "price")
    found = CatalogTable([groups[name] for name in names], 5, title_tokens=2)
    rows = {
        "item_id_xf": tf.range(1, 5, dtype=tf.int64),
        "category_xf": tf.constant([[1, 2, 0, 0], [1, 3, 4, 0], [1, 2, 0, 0], [0, 0, 0, 0]], tf.int64),
        "advertiser_id_xf": tf.constant([1, 3, 0, 3], tf.int64),
        "title_xf": tf.ragged.constant([[1, 2], [3], [], [1]], tf.int64, ragged_rank=1),
        "price_xf": tf.zeros([4]),
    }
    found.fill([rows])
    return found


def test_groups_are_levels_of_the_category_and_other_categorical_attributes(catalog):
    groups = ContentGroups(catalog, SIZES)
    assert groups.number == 10
    found = groups.of(tf.range(5))
    assert found.dtype == tf.int64
    of_item = [sorted(row[row != 0].tolist()) for row in found.numpy()]
    # Category's indices, then the advertiser's behind its 6: no text and no number.
    assert of_item == [[], [1, 2, 7], [1, 3, 4, 9], [1, 2], [9]]


def test_without_categorical_attributes_groups_are_words():
    features = feature_groups(load_schema())
    titles = CatalogTable([features["title"]], 5, title_tokens=2)
    titles.fill([{"item_id_xf": tf.constant([2], tf.int64), "title_xf": tf.ragged.constant([[8, 1]], tf.int64)}])
    groups = ContentGroups(titles, SIZES)
    assert groups.number == 9
    assert groups.of(tf.constant([1, 2], tf.int64)).numpy().tolist() == [[0, 0], [8, 1]]


def test_items_of_which_only_a_number_is_known_have_no_groups():
    features = feature_groups(load_schema())
    groups = ContentGroups(CatalogTable([features["price"]], 5, title_tokens=2), SIZES)
    assert groups.number == 0
    assert groups.of(tf.range(5)).shape == (5, 0)


def test_each_group_lists_its_most_popular_items_with_their_shares():
    groups = np.array([[0, 0], [1, 3], [1, 0], [1, 3], [2, 2], [1, 2]])
    found = most_popular(groups, np.array([50, 6, 3, 0, 4, 1]), num_groups=5, num_neighbors=2)
    assert found.items.tolist() == [[0, 0], [1, 2], [4, 5], [1, 0], [0, 0]]
    np.testing.assert_allclose(found.weights, [[0, 0], [0.6, 0.3], [0.8, 0.2], [1.0, 0], [0, 0]], rtol=1e-6)
    assert (found.items.dtype, found.weights.dtype) == (np.int32, np.float32)


def test_nothing_is_listed_without_groups_or_rows():
    none = most_popular(np.zeros((3, 0), np.int64), np.ones(3, int), num_groups=0, num_neighbors=4)
    assert none.items.shape == (0, 4)
    unsold = most_popular(np.ones((3, 1), np.int64), np.zeros(3, int), num_groups=2, num_neighbors=4)
    assert not unsold.items.any()
    assert not unsold.weights.any()
