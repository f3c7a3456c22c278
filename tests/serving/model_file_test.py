"""The parts of a SavedModel's file, beside TensorFlow's own messages; and models that TensorFlow 1 would have written."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import function

from serving import model_file
from serving import saved_model
from serving.versions import LoadError


@pytest.fixture
def scaled(tmp_path):
    """A model that doubles, by a function in a function."""
    module = tf.Module()
    module.factor = tf.Variable(2.0)
    inner = tf.function(lambda values: values * module.factor, autograph=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="values")])
    def outer(values):
        return {"scaled": inner(values)}

    tf.saved_model.save(module, str(tmp_path), signatures={"scale": outer})
    return tmp_path


def test_the_parts_are_those_of_the_file(scaled):
    (whole,) = saved_model_pb2.SavedModel.FromString((scaled / "saved_model.pb").read_bytes()).meta_graphs
    file = model_file.read(scaled)
    library = whole.graph_def.library.function
    assert file.functions == [serialized.SerializeToString() for serialized in library]
    assert file.graph.node == whole.graph_def.node
    assert file.meta_graph.signature_def["scale"] == whole.signature_def["scale"]
    assert file.meta_graph.saver_def == whole.saver_def
    ops = {node.op for serialized in library for node in serialized.node_def}
    assert model_file.operations(file.functions) == ops


def test_function_with_an_unknown_operation_is_refused_when_it_is_loaded(scaled):
    path = scaled / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for serialized in content.meta_graphs[0].graph_def.library.function:
        for node in serialized.node_def:
            node.op = "Missing>Op" if node.op == "Mul" else node.op
    path.write_bytes(content.SerializeToString())
    with pytest.raises(LoadError, match="Op type not registered 'Missing>Op'; install the package") as failure:
        saved_model.load(scaled)
    assert failure.value.code == tf.errors.NOT_FOUND


def test_model_of_tensorflow_1_whose_functions_call_each_other_by_name_answers(tmp_path):
    @function.Defun(tf.float32)
    def doubled(values):
        return 2.0 * values

    @function.Defun(tf.float32)
    def doubled_and_one(values):
        return doubled(values) + 1.0

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        values = tf.compat.v1.placeholder(tf.float32, [None], name="values")
        offset = tf.compat.v1.get_variable("offset", initializer=10.0)
        outputs = {"sums": doubled_and_one(values) + offset}
        session.run(offset.initializer)
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "1"), {"values": values}, outputs)
    answer = saved_model.load(tmp_path / "1").run("serving_default", {"values": np.array([1.0, 4.0], np.float32)})
    np.testing.assert_array_equal(answer["sums"], [13.0, 19.0])  # 2 * 1 + 1 + 10 and 2 * 4 + 1 + 10
