import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from planted_clusters import brute_force
from planted_clusters import popular
from planted_clusters import recall
from tensorflow.core.protobuf import saved_model_pb2

from tfx_pipeline.index.ivf import IvfIndex

_WITHOUT_SCANN = """
import sys
sys.modules["scann"] = None  # an import of it fails
import numpy as np
import tensorflow as tf
given = np.load(sys.argv[1] + "/given.npz")
search = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
found = search(queries=tf.constant(given["queries"]), k=tf.constant(100))
np.savez(sys.argv[1] + "/found.npz", **found)
from tensorflow.python.framework import op_def_registry
operations = given["operations"].tolist()
print([name for name in operations if op_def_registry.get(name) is None])
"""


@pytest.fixture(scope="module")
def data():
    return popular(6_000, 16, num_queries=64)


@pytest.fixture(scope="module")
def index(data):
    return IvfIndex(data[0])


@pytest.fixture(scope="module")
def search(index, data):
    """Positions of the best 100 for every query, by blocks searched and candidates reordered."""
    number = tf.TensorSpec([], tf.int32)

    @tf.function(autograph=False, input_signature=[number, number])
    def run(num_searched, num_reordered):
        return index.search(tf.constant(data[1]), tf.constant(100), num_searched, num_reordered)[1]

    return run


@pytest.fixture(scope="module")
def saved(index, tmp_path_factory):
    @tf.function(autograph=False)
    def search(queries, k):
        return dict(zip(("scores", "positions"), index(queries, k), strict=True))

    folder = tmp_path_factory.mktemp("ivf")
    specs = tf.TensorSpec([None, 17], tf.float32, "queries"), tf.TensorSpec([], tf.int32, "k")
    tf.saved_model.save(index, str(folder), search.get_concrete_function(*specs))  # allows no other namespace
    return folder


def operations_of(folder):
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    functions = {function.signature.name for function in graph.library.function}
    return sorted({node.op for node in nodes} - functions)


def test_a_process_that_cannot_import_scann_answers_the_same_with_tensorflows_own_operations(index, data, saved):
    operations = operations_of(saved)
    assert {"GatherV2", "MatMul", "TopKV2"} <= set(operations)
    assert not any("scann" in name.lower() for name in operations)
    np.savez(saved / "given.npz", queries=data[1], operations=operations)
    command = [sys.executable, "-c", _WITHOUT_SCANN, str(saved)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "[]"  # operations that TensorFlow does not know
    scores, positions = index(tf.constant(data[1]), tf.constant(100))
    with np.load(saved / "found.npz") as found:
        np.testing.assert_array_equal(found["positions"], positions)
        np.testing.assert_allclose(found["scores"], scores, atol=1e-6)


def test_more_blocks_find_more_until_all_are_found(index, search, data):
    items, queries = data
    expected = brute_force(queries, items, 100)[1]
    found = [recall(search(tf.constant(row[0].num_searched), tf.constant(200)), expected) for row in index.efforts()]
    assert found[0] < 0.95
    assert (np.diff(found) >= 0).all()
    assert found[-1] == 1


def test_residuals_order_nearly_as_floats(index, search, data):
    items, queries = data
    every_block = tf.constant(index.efforts()[-1][0].num_searched)
    found = recall(search(every_block, tf.constant(100)), brute_force(queries, items, 100)[1])
    assert 0.98 <= found < 1


def test_blocks_with_too_few_items_are_filled_up_exactly():
    """The best items are outliers in leaves of a few: three blocks hold fewer than 90."""
    items = np.vstack([np.zeros((3_000, 4)), 100 * np.random.default_rng(1).normal(size=(200, 4))]).astype(np.float32)
    index = IvfIndex(items)
    queries = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
    _, positions = index.search(tf.constant(queries), tf.constant(90), 1, 90)
    scores = np.take_along_axis(queries @ items.T, positions.numpy(), axis=1)
    np.testing.assert_allclose(scores, brute_force(queries, items, 90)[0], rtol=1e-5)


def test_the_copy_costs_less_than_half_of_the_vectors(index, data):
    size = {variable.name: variable.numpy().nbytes for variable in index.variables}
    vectors = size.pop("item_vectors:0")
    assert vectors == data[0].nbytes
    assert sum(size.values()) < 0.6 * vectors  # 1/4 for int8, positions of 4 bytes an item, gaps
