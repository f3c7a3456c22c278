import numpy as np
import tensorflow as tf

from tfx_pipeline.components.indexer import tuning_queries


def records(folder, rows):
    with tf.io.TFRecordWriter(str(folder / "rows.gz"), "GZIP") as file:
        for row in rows:
            file.write(row)
    return [str(folder / "rows.gz")]


def test_an_index_is_tuned_on_the_users_that_the_towers_embed(market, towers, market_catalog, tmp_path):
    rows = market.serialized(market.evaluation[:5])
    expected = towers.signatures["embed_query_examples"](examples=tf.constant(rows))["embedding"]
    np.testing.assert_allclose(tuning_queries(towers, records(tmp_path, rows), market_catalog), expected, atol=1e-6)


def test_without_users_it_is_tuned_on_items_as_if_they_were_users(towers, market_catalog, tmp_path):
    found = tuning_queries(towers, records(tmp_path, []), market_catalog)
    np.testing.assert_array_equal(found[:, :-1], market_catalog.vectors[:, :-1])
    np.testing.assert_array_equal(found[:, -1], 1)
    np.testing.assert_array_less(market_catalog.vectors[:, -1], 0)  # the logarithm of a share
