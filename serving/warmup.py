"""Replays a version's recorded requests before it serves, so that its first caller does not wait for the first runs."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import input_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from schemas.contract import WARMUP_REQUESTS
from serving import example_inference
from serving import inference
from serving import tensor_protos
from serving.model_requests import RequestError
from serving.model_requests import invalid_argument
from serving.saved_model import ServedModel
from serving.versions import LoadError

MAX_RECORDS = 1000


def warmed(load: Callable[[Path], ServedModel], *, num_iterations: int) -> Callable[[Path], ServedModel]:
    """`load` and a replay of the warm-up file, if there is one; as in TF Serving, a request that fails is a `LoadError`.

    Args:
        load: Makes a model of a version directory.
        num_iterations: How often each request is run.
    """

    def load_and_warm(path: Path) -> ServedModel:
        model = load(path)
        file = path / WARMUP_REQUESTS
        if file.exists():
            try:
                _replay(model, file, num_iterations=num_iterations)
            except RequestError as error:
                raise LoadError(f"warm-up with {file} failed: {error.text}", code=error.code.value[0]) from error
            except tf.errors.OpError as error:
                raise LoadError(f"warm-up with {file} failed: {error.message}", code=error.error_code) from error
        return model

    return load_and_warm


def _replay(model: ServedModel, file: Path, *, num_iterations: int) -> None:
    for position, record in enumerate(_records(file)):
        if position == MAX_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
        try:
            log = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError:
            raise invalid_argument(f"Failed to parse warmup record: {record!r:.100} from {file}") from None
        for _ in range(num_iterations):
            _run(model, log)


def _records(file: Path) -> Iterator[bytes]:
    try:
        for record in tf.data.TFRecordDataset(str(file)):
            yield record.numpy()
    except tf.errors.DataLossError as error:
        text = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise tf.errors.DataLossError(None, None, text) from error


def _run(model: ServedModel, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        _run_signature(model, request.model_spec, request.inputs)
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        _run_signature(model, request.model_spec, _examples(request.input))
    elif kind == "multi_inference_log":
        for task in log.multi_inference_log.request.tasks:
            _run_signature(model, task.model_spec, _examples(log.multi_inference_log.request.input))
    elif kind is not None:
        number = prediction_log_pb2.PredictionLog.DESCRIPTOR.fields_by_name[kind].number
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def _run_signature(model: ServedModel, spec: model_pb2.ModelSpec, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    """Runs the signature that `spec` names; its model and version are those of the recording, and do not matter."""
    name = inference.signature_name(spec)
    inference.run(model, name, tensor_protos.input_arrays(inference.predict_plan(model, name), inputs))


def _examples(received: input_pb2.Input) -> dict[str, tensor_pb2.TensorProto]:
    examples = example_inference.serialized_examples(received)
    return {tf.saved_model.CLASSIFY_INPUTS: tf.make_tensor_proto(examples, tf.string)}
