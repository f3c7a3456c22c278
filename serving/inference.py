"""Answers a request's message with an answer's message, for gRPC and REST alike. Imports TensorFlow."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import predict_pb2

from schemas.contract import SIGNATURE_DEFAULT
from serving import tensor_protos
from serving.model_requests import STATUS_BY_NUMBER
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_requests import invalid_argument
from serving.model_requests import model_spec
from serving.saved_model import ServedModel
from serving.signature_plan import SignaturePlan

SIGNATURE_DEF = "signature_def"
"""The one metadata field that TF Serving has."""

_PREDICT_METHODS = (
    tf.saved_model.PREDICT_METHOD_NAME,
    tf.saved_model.CLASSIFY_METHOD_NAME,
    tf.saved_model.REGRESS_METHOD_NAME,
)


def predict(models: ServedModels, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Runs one signature on the request's named tensors; raises `RequestError`."""
    spec = model_spec(request)
    name = signature_name(spec)
    response = predict_pb2.PredictResponse()
    with models.use(spec) as (version, model):
        plan = predict_plan(model, name)
        inputs = tensor_protos.input_arrays(plan, request.inputs)
        names = tensor_protos.output_names(plan, request.output_filter)
        outputs = run(model, name, inputs)
        write_model_spec(response.model_spec, spec, version=version)
        for output in names:
            tensor_protos.write_output(response.outputs[output], outputs[output])
    return response


def metadata(
    models: ServedModels, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signature definitions of a version; raises `RequestError`."""
    spec = model_spec(request)
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with models.use(spec) as (version, model):
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def predict_plan(model: ServedModel, name: str) -> SignaturePlan:
    """What Predict needs to know of signature `name`; raises `RequestError` if it has none that can be predicted with."""
    plan = model.plans.get(name)
    if plan is None:
        text = f'Serving signature key "{name}" not found.'
        raise RequestError(STATUS_BY_NUMBER[tf.errors.FAILED_PRECONDITION], text)
    if plan.method_name not in _PREDICT_METHODS:
        known = ", ".join(_PREDICT_METHODS)
        text = f"Expected prediction signature method_name to be one of {{{known}}}. Was: {plan.method_name}"
        raise RequestError(STATUS_BY_NUMBER[tf.errors.INTERNAL], text)
    return plan


def run(model: ServedModel, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of signature `name`; raises `RequestError` with the code and text of the operation that failed."""
    try:
        return model.run(name, inputs)
    except tf.errors.OpError as error:
        raise RequestError(STATUS_BY_NUMBER[error.error_code], error.message) from error


def signature_name(spec: model_pb2.ModelSpec) -> str:
    """The signature that `spec` asks for, by default `serving_default`."""
    return spec.signature_name or SIGNATURE_DEFAULT


def write_model_spec(written: model_pb2.ModelSpec, spec: model_pb2.ModelSpec, *, version: int) -> None:
    """Says in an answer which model, signature and version gave it."""
    written.name = spec.name
    written.signature_name = signature_name(spec)
    written.version.value = version
