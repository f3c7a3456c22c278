"""Puts a SavedModel into a session by TF Serving's steps, without keeping the interpreter from requests meanwhile.

TensorFlow's own loader parses and imports a graph in one piece that holds the interpreter: a fifth of a second for a
retriever with 11,000 nodes, in which every request to the version that still serves waits.
"""

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import op_def_registry

from serving.model_file import ModelFile
from serving.model_file import operations

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Else each call's functions are walked through for the shapes of its outputs, which nobody asks for.
_NO_SHAPES = "_disable_call_shape_inference"
_INIT_OP = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


def new_session(path: Path, file: ModelFile) -> tf.compat.v1.Session:
    """A session with the graph, its variables restored and its tables filled.

    Args:
        path: The version directory.
        file: Read from it.

    Raises:
        tf.errors.OpError, ValueError: The graph, a variable or a table is not as it should be.
    """
    _check_operations(file.functions)
    config = tf.compat.v1.ConfigProto()
    # A second pass makes a retriever no faster, and its first call take a third longer.
    config.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    _add_functions(session.graph, file.functions)
    _add_nodes(session.graph, file.graph)
    _initialize(session, path, file.meta_graph)
    return session


def _check_operations(functions: Iterable[bytes]) -> None:
    """Else a session finds at the first call what this TensorFlow lacks."""
    absent = sorted(name for name in operations(functions) if op_def_registry.get(name) is None)
    if absent:
        text = f"Op type not registered {absent[0]!r}; install the package that has it where the server runs"
        raise tf.errors.NotFoundError(None, None, text)


def _add_functions(graph: tf.Graph, functions: Iterable[bytes]) -> None:
    """By TensorFlow's C functions, which need no interpreter; `tf.graph_util.import_graph_def` does."""
    with graph._c_graph.get() as handle:
        for serialized in functions:
            function = pywrap_tf_session.TF_FunctionImportFunctionDef(serialized)
            try:
                pywrap_tf_session.TF_GraphCopyFunction(handle, function, None)
            finally:
                pywrap_tf_session.TF_DeleteFunction(function)


def _add_nodes(graph: tf.Graph, graph_def: graph_pb2.GraphDef) -> None:
    for node in graph_def.node:
        if node.op in _CALLS:
            node.attr[_NO_SHAPES].b = True
    with graph.as_default():
        tf.graph_util.import_graph_def(graph_def, name="")


def _initialize(session: tf.compat.v1.Session, path: Path, meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    assets = {asset.tensor_info.name: str(path / "assets" / asset.filename) for asset in meta_graph.asset_file_def}
    saver = meta_graph.saver_def
    if saver.restore_op_name:
        variables = {saver.filename_tensor_name: str(path / "variables" / "variables")}
        session.run(session.graph.get_operation_by_name(saver.restore_op_name), variables | assets)
    if init_op := _init_op(meta_graph):
        session.run(session.graph.as_graph_element(init_op), assets)


def _init_op(meta_graph: meta_graph_pb2.MetaGraphDef) -> str | None:
    """What fills the tables; SavedModels of TensorFlow 1 name it in a collection."""
    if _INIT_OP in meta_graph.signature_def:
        return meta_graph.signature_def[_INIT_OP].outputs[_INIT_OP].name
    for name in _INIT_COLLECTIONS:
        if values := meta_graph.collection_def[name].node_list.value:
            return values[0]
    return None
