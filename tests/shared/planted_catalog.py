"""Catalogues of given vectors, with attributes that a test does not care about."""

import numpy as np

from tfx_pipeline.index.catalog import Catalog


def catalog_of(item_ids, vectors, **given):
    """A catalogue of ids [items] and vectors [items, dim]; `given` names further arrays."""
    number = len(item_ids)
    arrays = {
        "positive_rates": np.zeros(number, np.float32),
        "indices": np.zeros(number, np.int64),
        "advertisers": np.full(number, b"", np.bytes_),
        "categories": np.full(number, b"", np.bytes_),
        "prices": np.full(number, np.nan, np.float32),
        "is_available": np.ones(number, bool),
    }
    vectors = np.asarray(vectors, np.float32)
    return Catalog(np.asarray(item_ids, np.bytes_), vectors, **{**arrays, **given})
