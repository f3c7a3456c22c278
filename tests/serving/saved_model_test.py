"""Loading and unloading a ScaNN retriever again and again, as refreshes make a server do."""

import numpy as np
import tensorflow as tf

from benchmarks.index_memory import MemoryGrowth
from serving import saved_model
from tfx_pipeline.index.scann_index import ScannIndex

_ITEMS, _DIM, _K, _LOADS = 15_000, 256, 10, 6
_INDEX_MB = _ITEMS * _DIM * 4 / 2**20


def test_what_an_unloaded_version_held_is_given_back(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(_ITEMS, _DIM)).astype(np.float32)
    index = ScannIndex(vectors, max_k=_K)

    @tf.function(input_signature=[tf.TensorSpec([None, _DIM], tf.float32, name="queries")])
    def search(queries):
        return {"positions": index(queries, tf.constant(_K))[1]}

    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    tf.saved_model.save(index, str(tmp_path), signatures={"search": search}, options=options)
    best = np.argsort(-vectors[:3] @ vectors.T, axis=1)[:, :_K]

    def load_and_ask():
        answer = saved_model.load(tmp_path).run("search", {"queries": vectors[:3]})
        np.testing.assert_array_equal(answer["positions"], best)

    load_and_ask()
    memory = MemoryGrowth()
    for _ in range(_LOADS):
        load_and_ask()
    assert memory.held_mb() < _LOADS * _INDEX_MB  # a load takes twice that: the variable, and ScaNN's copy
