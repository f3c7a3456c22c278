import numpy as np
import pytest
from planted_clusters import clustered

from tfx_pipeline.index.partition import num_leaves
from tfx_pipeline.index.partition import partition


@pytest.mark.parametrize(
    ("num_items", "expected"),
    [(1, 1), (127, 1), (128, 2), (6_400, 100), (1_000_000, 4_000)],  # one a block; 4 x sqrt(1,000,000)
)
def test_leaves_follow_from_the_size(num_items, expected):
    assert num_leaves(num_items) == expected


@pytest.mark.parametrize("num_items", [1, 64, 65, 5_000])
def test_every_item_is_in_one_block(num_items):
    blocks = partition(clustered(num_items, 6, num_queries=1)[0])
    assert blocks.shape[1] == 64
    assert sorted(blocks[blocks >= 0].tolist()) == list(range(num_items))
    assert ((blocks >= 0).sum(axis=1) > 0).all()


def test_a_leaf_is_cut_along_its_longest_axis():
    """100 items are one leaf and two blocks: the halves lie far apart on the second axis."""
    random = np.random.default_rng(3)
    side = random.permutation(np.repeat([-5.0, 5.0], 50))
    items = np.stack([random.normal(size=100), side], axis=1).astype(np.float32)
    blocks = partition(items)
    assert [len(set(side[row[row >= 0]])) for row in blocks] == [1, 1]
