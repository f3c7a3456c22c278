"""Loads a SavedModel for serving and runs its signatures. Imports TensorFlow."""

import importlib.util
import threading
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import model_file
from serving.model_session import new_session
from serving.signature_plan import SignaturePlan
from serving.versions import LoadError

Call = Callable[..., list[Any]]

# Entries of SignatureDef maps that are not signatures, but how to initialize and to train.
_INTERNAL_PREFIX = "__saved_model_"
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
    """A SavedModel in a session, as TF Serving holds it, with the signature definitions that its file declares.

    A session takes and gives numpy arrays in one call without the interpreter lock: for one request a third less time than
    eager tensors and a call of the signature's function, and with several threads nearly twice the throughput.

    Args:
        signature_defs: As the file declares them.
        calls: By the name of each signature that can be called: see `_call`. They keep the session.

    Attributes:
        signature_defs: `SignatureDef` by signature name, as GetModelMetadata returns them.
        plans: What a request needs to know of each signature that can be called.
        calls: As given.
    """

    def __init__(self, signature_defs: Mapping[str, meta_graph_pb2.SignatureDef], calls: Mapping[str, Call]) -> None:
        self.signature_defs = signature_defs
        self.plans = {name: SignaturePlan(signature_defs[name]) for name in calls}
        self.calls = calls

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of signature `name` by name, strings as objects; raises `tf.errors.OpError` where an operation does."""
        plan = self.plans[name]
        try:
            outputs = self.calls[name](*[inputs[expected.name] for expected in plan.inputs])
        except UnicodeDecodeError as error:
            # An operation quoted bytes of the request in its error, and TensorFlow could not hand the text to Python.
            raise tf.errors.InvalidArgumentError(None, None, error.object.decode(errors="replace")) from error
        return {
            output: value if isinstance(value, np.ndarray) else np.array(value, plan.output_dtypes[output])
            for output, value in zip(plan.output_names, outputs, strict=True)
        }


def load(path: Path) -> ServedModel:
    """Loads the version directory `path`.

    Raises:
        LoadError: With TensorFlow's text, and TensorFlow's code where it has one.
    """
    try:
        file = model_file.read(path)
        _check_assets(path, file.meta_graph)
        session = new_session(path, file)
        declared = dict(file.meta_graph.signature_def)
        callable_ones = {name: info for name, info in declared.items() if not name.startswith(_INTERNAL_PREFIX)}
        _check_signatures(path, session.graph, callable_ones)
        return ServedModel(declared, {name: _call(session, info) for name, info in callable_ones.items()})
    except _LOAD_ERRORS as error:
        code = error.error_code if isinstance(error, tf.errors.OpError) else tf.errors.UNKNOWN
        text = " ".join((error.message if isinstance(error, tf.errors.OpError) else str(error)).split())
        raise LoadError(f"cannot load {path}: {type(error).__name__}: {text}", code=code) from error


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


def _check_assets(path: Path, meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Raises `LoadError` if an asset is absent: not every graph reads all of them when it is loaded."""
    names = [asset.filename for asset in meta_graph.asset_file_def]
    absent = [name for name in names if not (path / "assets" / name).is_file()]
    if absent:
        raise LoadError(f"cannot load {path}: no file assets/{absent[0]}; push it again", code=tf.errors.NOT_FOUND)


def _check_signatures(path: Path, graph: tf.Graph, signature_defs: Mapping[str, meta_graph_pb2.SignatureDef]) -> None:
    """Raises `LoadError` unless the graph has each tensor that a signature declares, of the declared type."""
    for name, declared in signature_defs.items():
        for kind, infos in (("input", declared.inputs), ("output", declared.outputs)):
            for key, info in infos.items():
                if wrong := _mismatch(graph, info):
                    text = f"cannot load {path}: signature {name!r} declares {kind} {key!r} as {wrong}; export it again"
                    raise LoadError(text, code=tf.errors.INVALID_ARGUMENT)


def _mismatch(graph: tf.Graph, info: meta_graph_pb2.TensorInfo) -> str | None:
    """How `info` differs from the graph; None if it does not."""
    dtype = tf.dtypes.as_dtype(info.dtype)
    try:
        tensor = graph.get_tensor_by_name(info.name)
    except (KeyError, ValueError):
        return f"tensor {info.name!r}, which the graph does not have"
    return None if tensor.dtype == dtype else f"{dtype.name}, and the graph has {tensor.dtype.name}"


def _call(session: tf.compat.v1.Session, definition: meta_graph_pb2.SignatureDef) -> Call:
    """Runs a signature: takes its inputs and gives its outputs, each in the order of their sorted names.

    The first call optimizes the graph, for seconds where it is large: warm-up requests are for that.
    """
    options = config_pb2.CallableOptions()
    options.feed.extend(definition.inputs[name].name for name in sorted(definition.inputs))
    options.fetch.extend(definition.outputs[name].name for name in sorted(definition.outputs))
    made: list[Call] = []
    lock = threading.Lock()

    def call(*inputs: np.ndarray) -> list[Any]:
        if not made:
            with lock:
                if not made:
                    # What `make_callable` makes looks the names up at each call, as long again as a small graph takes.
                    made.append(session._make_callable_from_options(options))
        return made[0](*inputs)

    return call
