import dataclasses

import numpy as np
import pytest
from planted_catalog import catalog_of

from tfx_pipeline.index.catalog import Catalog


def test_the_catalogue_reloads_as_it_was(tmp_path):
    given = {
        "positive_rates": np.array([0.5, 0.0, 0.25], np.float32),
        "indices": np.array([2, 0, 1]),
        "advertisers": np.array([b"x", b"", "y-東".encode()]),
        "categories": np.array([b"a > b", b"a", b""]),
        "prices": np.array([1.5, np.nan, 2.0], np.float32),
        "is_available": np.array([True, False, True]),
    }
    catalog = catalog_of([b"a", b"b", "ü".encode()], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], **given)
    catalog.save(tmp_path / "catalog")
    loaded = Catalog.load(tmp_path / "catalog")
    for name in (*(field.name for field in dataclasses.fields(catalog)), "position_of_index"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(catalog, name))


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([2, 5, 3], [-1, -1, 0, 2, -1, 1]),
        ([0, 1, 0], [-1, 1]),  # two items that the towers do not know
        ([0, 0, 0], [-1]),
    ],
)
def test_positions_by_index(indices, expected):
    catalog = catalog_of([b"a", b"b", b"c"], np.eye(3), indices=np.array(indices))
    assert catalog.position_of_index.tolist() == expected


@pytest.mark.parametrize(
    ("item_ids", "vectors", "text"),
    [
        ([b"a", b"a"], [[1.0], [1.0]], r"Item ids must be unique. Received more than once: \[b'a'\]"),
        ([b"b", b"a"], [[1.0], [1.0]], r"Item ids must be sorted. Received: \[b'b', b'a'\]"),
        ([b"a", b"b"], [[1.0], [float("nan")]], "Item vectors must be finite"),
        ([], np.zeros((0, 1)), "The catalog split is empty"),
    ],
)
def test_an_unusable_catalogue_is_refused(item_ids, vectors, text):
    with pytest.raises(ValueError, match=text):
        catalog_of(item_ids, vectors)
