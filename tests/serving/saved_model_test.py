"""Loading and unloading a ScaNN retriever again and again, as refreshes make a server do."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.index_memory import MemoryGrowth
from serving import saved_model
from tfx_pipeline.index.scann_index import ScannIndex

_ITEMS, _DIM, _K, _LOADS = 15_000, 256, 10, 6
_INDEX_MB = _ITEMS * _DIM * 4 / 2**20
_SIGNATURES = ("search", "search_again")


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(1).normal(size=(_ITEMS, _DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def saved(vectors, tmp_path_factory):
    """A retriever of two signatures that search the same index."""
    index = ScannIndex(vectors, max_k=_K)

    @tf.function(input_signature=[tf.TensorSpec([None, _DIM], tf.float32, name="queries")])
    def search(queries):
        return {"positions": index(queries, tf.constant(_K))[1]}

    folder = tmp_path_factory.mktemp("index")
    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    signatures = dict.fromkeys(_SIGNATURES, search)
    tf.saved_model.save(index, str(folder), signatures=signatures, options=options)
    return folder


@pytest.fixture
def ask(vectors):
    best = np.argsort(-vectors[:3] @ vectors.T, axis=1)[:, :_K]

    def asked(model, signature):
        np.testing.assert_array_equal(model.run(signature, {"queries": vectors[:3]})["positions"], best)

    return asked


def test_what_an_unloaded_version_held_is_given_back(saved, ask):
    ask(saved_model.load(saved), "search")
    memory = MemoryGrowth()
    for _ in range(_LOADS):
        ask(saved_model.load(saved), "search")
    assert memory.held_mb() < _LOADS * _INDEX_MB  # a load takes twice that: the variable, and ScaNN's copy


def test_all_signatures_search_one_copy_of_the_index(saved, ask):
    model = saved_model.load(saved)
    ask(model, "search")
    memory = MemoryGrowth()
    ask(model, "search_again")
    assert memory.held_mb() < _INDEX_MB / 2
