"""Loads a SavedModel for serving and runs its signatures. Imports TensorFlow."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from serving.versions import LoadError

_SERVING_TAG = "serve"
# What tf.saved_model.load raises for absent, truncated, inconsistent or foreign files and for unregistered operations:
# its C++ parts translate status codes to plain Python exceptions (a truncated file is an IndexError).
_LOAD_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    AttributeError,
    AssertionError,
    DecodeError,
    tf.errors.OpError,
)


class ServedModel:
    """A loaded SavedModel with the signature definitions that its file declares.

    Attributes:
        signature_defs: `SignatureDef` by signature name, as GetModelMetadata returns them.
    """

    def __init__(self, loaded: Any, signature_defs: Mapping[str, meta_graph_pb2.SignatureDef]) -> None:
        # The signatures refer to the variables weakly: `loaded` keeps them alive.
        self._loaded = loaded
        self.signature_defs = signature_defs

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef | None:
        """Definition of a signature that can be called, None if there is none."""
        return self.signature_defs.get(name) if name in self._loaded.signatures else None

    def run(self, name: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Outputs of signature `name` by name; raises `tf.errors.OpError` where an operation does."""
        try:
            return self._loaded.signatures[name](**inputs)
        except UnicodeDecodeError as error:
            # An operation quoted bytes of the request in its error, and TensorFlow could not hand the text to Python.
            raise tf.errors.InvalidArgumentError(None, None, error.object.decode(errors="replace")) from error


def load(path: Path) -> ServedModel:
    """Loads the version directory `path`.

    Raises:
        LoadError: With TensorFlow's text, and TensorFlow's code where it has one.
    """
    try:
        return ServedModel(tf.saved_model.load(str(path), tags=[_SERVING_TAG]), _read_signature_defs(path))
    except _LOAD_ERRORS as error:
        code = error.error_code if isinstance(error, tf.errors.OpError) else tf.errors.UNKNOWN
        raise LoadError(f"cannot load {path}: {type(error).__name__}: {error}", code=code) from error


def register_scann_ops() -> str | None:
    """Registers ScaNN's operations, without which a ScaNN retriever does not load.

    Returns:
        Why they are not registered: ScaNN is not installed, or not the one for this TensorFlow; None if they are.
    """
    if importlib.util.find_spec("scann") is None:
        return "scann is not installed"
    try:
        importlib.import_module("scann")
    except (ImportError, tf.errors.NotFoundError) as error:
        return str(error)
    return None


def _read_signature_defs(path: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for meta_graph in saved_model.meta_graphs:
        if _SERVING_TAG in meta_graph.meta_info_def.tags:
            return dict(meta_graph.signature_def)
    raise LoadError(f"no graph with the tag {_SERVING_TAG!r} in {path}; save with tf.saved_model.save")
