"""Reads `saved_model.pb`: the graph for serving, with its functions left as the bytes that the file holds.

Most of a retriever's file are functions. Parsing them into Python's messages holds the interpreter for as long as several
requests take, and freeing them again; who imports them takes bytes. A submessage and bytes are the same on the wire, so
that the messages declared here parse the original's down to the functions, and keep the rest as unknown fields.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from typing import NamedTuple

import tensorflow as tf
from google.protobuf import descriptor_pool
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import wire
from serving.versions import LoadError
from serving.wire import Field

_SERVING_TAG = "serve"
_PACKAGE = "conversion_retrieval.model_file"
# Names and numbers are TensorFlow's.
_MESSAGES = {
    "SavedModel": (Field("meta_graphs", 2, "[]bytes"),),
    "MetaGraphDef": (Field("graph_def", 2, "bytes"),),
    "GraphDef": (Field("library", 2, "bytes"),),
    "FunctionDefLibrary": (Field("function", 1, "[]bytes"),),
    "FunctionDef": (Field("signature", 1, "OpDef"), Field("node_def", 3, "[]NodeDef")),
    "OpDef": (Field("name", 1, "string"),),
    "NodeDef": (Field("op", 2, "string"),),
}


class ModelFile(NamedTuple):
    """The graph for serving in its parts.

    Attributes:
        meta_graph: Signatures, assets, saver and what initializes; its graph is empty.
        graph: The nodes, and the functions' gradients.
        functions: Each a serialized `FunctionDef`.
    """

    meta_graph: meta_graph_pb2.MetaGraphDef
    graph: graph_pb2.GraphDef
    functions: list[bytes]


def read(path: Path) -> ModelFile:
    """The graph with the tag `serve` of the version directory `path`.

    Raises:
        LoadError: No such file, or no such graph in it.
        google.protobuf.message.DecodeError: The file is no SavedModel.
    """
    try:
        serialized = (path / "saved_model.pb").read_bytes()
    except FileNotFoundError:
        text = f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
        raise LoadError(text, code=tf.errors.NOT_FOUND) from None
    for outer in _message_class("SavedModel").FromString(serialized).meta_graphs:
        rest, graph = _split(outer, "MetaGraphDef", "graph_def")
        meta_graph = meta_graph_pb2.MetaGraphDef.FromString(rest)
        if _SERVING_TAG in meta_graph.meta_info_def.tags:
            nodes, library = _split(graph, "GraphDef", "library")
            gradients, functions = _split(library, "FunctionDefLibrary", "function")
            graph_def = graph_pb2.GraphDef.FromString(nodes)
            graph_def.library.MergeFromString(gradients)
            return ModelFile(meta_graph, graph_def, list(functions))
    raise LoadError(f"no graph with the tag {_SERVING_TAG!r} in {path}; save with tf.saved_model.save")


def operations(functions: Iterable[bytes]) -> set[str]:
    """The operations of which serialized functions are made, without calls of each other by name."""
    used: set[str] = set()
    own: set[str] = set()
    for serialized in functions:
        function = _message_class("FunctionDef").FromString(serialized)
        own.add(function.signature.name)
        used.update(node.op for node in function.node_def)
    return used - own


def _split(serialized: bytes, message: str, field: str) -> tuple[bytes, Any]:
    """A serialized `message` without its `field`, and that field."""
    outer = _message_class(message).FromString(serialized)
    value = getattr(outer, field)
    taken = value if isinstance(value, bytes) else list(value)
    outer.ClearField(field)
    return outer.SerializeToString(), taken


@functools.cache
def _message_class(name: str) -> Any:
    return wire.generated_class(_pool(), f"{_PACKAGE}.{name}")


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    return wire.new_pool(_PACKAGE, _MESSAGES)
