"""What a retriever's SavedModel says of itself: signatures, versions, limits; it is read, not loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from schemas import contract

_ORDER = (
    contract.SIGNATURE_RETRIEVE,
    contract.SIGNATURE_RETRIEVE_FILTERED,
    contract.SIGNATURE_DEFAULT,
    contract.SIGNATURE_EMBED_QUERY,
    contract.SIGNATURE_EMBED_ITEM,
)
_INIT_OP = "__saved_model_init_op"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ITEM_IDS = "_item_ids"
_GRAPH = "saved_model.pb"


class TensorFacts(NamedTuple):
    """A named input or output; -1 in `shape` is any size."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Signature(NamedTuple):
    """Inputs and outputs, each sorted by name."""

    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


class ModelFacts(NamedTuple):
    """A SavedModel.

    Attributes:
        signatures: by name, in the order of the contract, then others.
        versions: `model_version` and `index_version`, those that it names.
        num_items: of the catalogue; None if it does not say.
        max_k: most results; None if it has no warm-up requests, which ask for so many.
        known_item_id: of an item in a warm-up request's history; "" without one.
        libraries: of operations that are not TensorFlow's own, such as `Scann`.
    """

    signatures: dict[str, Signature]
    versions: dict[str, str]
    num_items: int | None
    max_k: int | None
    known_item_id: str
    libraries: list[str]


def newest_model(folder: Path) -> Path:
    """The SavedModel in a folder: itself, or the largest version in it.

    Raises:
        ValueError: there is none.
    """
    if (folder / _GRAPH).is_file():
        return folder
    versions = [path.parent for path in folder.glob(f"*/{_GRAPH}") if path.parent.name.isdecimal()]
    if not versions:
        raise ValueError(f"DIR must be a SavedModel or a folder of versions. Received: {folder}, without {_GRAPH}")
    return max(versions, key=lambda path: int(path.name))


def read_model(model: Path) -> ModelFacts:
    """Reads the graph's signatures, the versions among the variables and the warm-up requests.

    Raises:
        ValueError: it is no retriever's.
    """
    graph = saved_model_pb2.SavedModel.FromString((model / _GRAPH).read_bytes()).meta_graphs[0]
    known = [name for name in _ORDER if name in graph.signature_def]
    names = [*known, *sorted(set(graph.signature_def) - {*known, _INIT_OP})]
    if contract.SIGNATURE_RETRIEVE not in known:
        raise ValueError(f"{model} must have the signature {contract.SIGNATURE_RETRIEVE}. Received: {', '.join(names)}")
    signatures = {name: _signature(graph.signature_def[name]) for name in names}
    variables = tf.train.load_checkpoint(str(model / "variables/variables"))
    shapes = variables.get_variable_to_shape_map()
    outputs = (contract.OUTPUT_MODEL_VERSION, contract.OUTPUT_INDEX_VERSION)
    versions = {name: variables.get_tensor(name + _VALUE).decode() for name in outputs if name + _VALUE in shapes}
    num_items = next(iter(shapes.get(_ITEM_IDS + _VALUE, [])), None)
    asked = _warm_up_inputs(model / contract.WARMUP_REQUESTS)
    ks = [int(tf.make_ndarray(inputs[contract.INPUT_K]).max()) for inputs in asked if contract.INPUT_K in inputs]
    return ModelFacts(signatures, versions, num_items, max(ks, default=None), _item_id(asked), _libraries(graph))


def _signature(definition: meta_graph_pb2.SignatureDef) -> Signature:
    return Signature(*(_tensors(side) for side in (definition.inputs, definition.outputs)))


def _tensors(infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> list[TensorFacts]:
    return [
        TensorFacts(
            name, tf.dtypes.as_dtype(infos[name].dtype).name, tuple(dim.size for dim in infos[name].tensor_shape.dim)
        )
        for name in sorted(infos)
    ]


def _warm_up_inputs(file: Path) -> list[Mapping]:
    """Inputs of the recorded Predict requests, as TensorProtos by name."""
    if not file.is_file():
        return []
    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request.inputs for record in records]


def _item_id(asked: list[Mapping]) -> str:
    histories = (inputs[contract.HISTORY_ITEM_ID] for inputs in asked if contract.HISTORY_ITEM_ID in inputs)
    ids = (item_id.decode() for history in histories for item_id in tf.make_ndarray(history).flatten())
    return next((item_id for item_id in ids if item_id != contract.MISSING_STRING), "")


def _libraries(graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """Namespaces of operations; TensorFlow's own have none."""
    nodes = [node.op for function in graph.graph_def.library.function for node in function.node_def]
    nodes += [node.op for node in graph.graph_def.node]
    return sorted({op.split(">")[0] for op in nodes if ">" in op})
