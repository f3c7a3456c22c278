"""Loads a SavedModel for serving and runs its signatures. Imports TensorFlow."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from serving.signature_plan import SignaturePlan
from serving.versions import LoadError

_SERVING_TAG = "serve"
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
    """A loaded SavedModel with the signature definitions that its file declares.

    Attributes:
        signature_defs: `SignatureDef` by signature name, as GetModelMetadata returns them.
        plans: What a request needs to know of each signature that can be called.
    """

    def __init__(self, loaded: Any, signature_defs: Mapping[str, meta_graph_pb2.SignatureDef]) -> None:
        # The signatures refer to the variables weakly: `loaded` keeps them alive.
        self._loaded = loaded
        self.signature_defs = signature_defs
        self.plans = {name: SignaturePlan(signature_defs[name]) for name in loaded.signatures if name in signature_defs}
        self._functions = dict(loaded.signatures)

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef | None:
        """Definition of a signature that can be called, None if there is none."""
        return self.signature_defs.get(name) if name in self._loaded.signatures else None

    def mismatch(self, name: str, declared: meta_graph_pb2.SignatureDef) -> str | None:
        """How `declared` differs from the function of signature `name`; None if it does not."""
        if name not in self._loaded.signatures:
            return "is declared, and the graph has no function for it"
        function = self._loaded.signatures[name]
        _, inputs = function.structured_input_signature
        for kind, stated, actual in (
            ("inputs", declared.inputs, inputs),
            ("outputs", declared.outputs, function.structured_outputs),
        ):
            stated_types = {key: tf.dtypes.as_dtype(info.dtype).name for key, info in stated.items()}
            actual_types = {key: spec.dtype.name for key, spec in actual.items()}
            if stated_types != actual_types:
                return f"declares the {kind} {stated_types}, and its function has {actual_types}"
        return None

    def run(self, name: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Outputs of signature `name` by name; raises `tf.errors.OpError` where an operation does."""
        function = self._functions[name]
        arguments = [inputs[keyword] for keyword in function._arg_keywords]
        try:
            # What calling `function` does once it has bound and checked the arguments, which takes it a fifth of a
            # request: the request path has checked them already.
            return function._call_flat(arguments, function.captured_inputs)
        except UnicodeDecodeError as error:
            # An operation quoted bytes of the request in its error, and TensorFlow could not hand the text to Python.
            raise tf.errors.InvalidArgumentError(None, None, error.object.decode(errors="replace")) from error


def load(path: Path) -> ServedModel:
    """Loads the version directory `path`.

    Raises:
        LoadError: With TensorFlow's text, and TensorFlow's code where it has one.
    """
    try:
        meta_graph = _read_meta_graph(path)
        _check_assets(path, meta_graph)
        model = ServedModel(tf.saved_model.load(str(path), tags=[_SERVING_TAG]), dict(meta_graph.signature_def))
    except _LOAD_ERRORS as error:
        code = error.error_code if isinstance(error, tf.errors.OpError) else tf.errors.UNKNOWN
        raise LoadError(f"cannot load {path}: {type(error).__name__}: {error}", code=code) from error
    _check_signatures(path, model)
    return model


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


def _read_meta_graph(path: Path) -> meta_graph_pb2.MetaGraphDef:
    try:
        serialized = (path / "saved_model.pb").read_bytes()
    except FileNotFoundError:
        text = f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
        raise LoadError(text, code=tf.errors.NOT_FOUND) from None
    for meta_graph in saved_model_pb2.SavedModel.FromString(serialized).meta_graphs:
        if _SERVING_TAG in meta_graph.meta_info_def.tags:
            return meta_graph
    raise LoadError(f"no graph with the tag {_SERVING_TAG!r} in {path}; save with tf.saved_model.save")


def _check_assets(path: Path, meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Raises `LoadError` if an asset is absent: not every graph reads all of them when it is loaded."""
    names = [asset.filename for asset in meta_graph.asset_file_def]
    absent = [name for name in names if not (path / "assets" / name).is_file()]
    if absent:
        raise LoadError(f"cannot load {path}: no file assets/{absent[0]}; push it again", code=tf.errors.NOT_FOUND)


def _check_signatures(path: Path, model: ServedModel) -> None:
    """Raises `LoadError` unless each signature that the file declares is a function with these inputs and outputs."""
    for name, declared in model.signature_defs.items():
        if name.startswith(_INTERNAL_PREFIX):
            continue
        wrong = model.mismatch(name, declared)
        if wrong:
            text = f"cannot load {path}: signature {name!r} {wrong}; export it again"
            raise LoadError(text, code=tf.errors.INVALID_ARGUMENT)
