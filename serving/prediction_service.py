"""TF Serving's PredictionService on the served model: Predict and GetModelMetadata."""

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from schemas.contract import SIGNATURE_DEFAULT
from serving import tensor_protos
from serving.model_requests import STATUS_BY_NUMBER
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_requests import invalid_argument
from serving.model_requests import model_spec

_SIGNATURE_DEF = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with the serving version, and says in `model_spec` which one that was."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs one signature on the request's named tensors."""
        try:
            return self._predict(request)
        except RequestError as error:
            context.abort(error.code, error.text)
        except tf.errors.OpError as error:
            context.abort(STATUS_BY_NUMBER[error.error_code], error.message)

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signature definitions of a version."""
        try:
            return self._metadata(request)
        except RequestError as error:
            context.abort(error.code, error.text)

    def Classify(self, request: object, context: grpc.ServicerContext) -> None:  # noqa: N802
        """Not offered: retrievers have Predict signatures only."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Classify is not offered by this server; use Predict")

    def Regress(self, request: object, context: grpc.ServicerContext) -> None:  # noqa: N802
        """Not offered: retrievers have Predict signatures only."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Regress is not offered by this server; use Predict")

    def MultiInference(self, request: object, context: grpc.ServicerContext) -> None:  # noqa: N802
        """Not offered: retrievers have Predict signatures only."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "MultiInference is not offered by this server; use Predict")

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        spec = model_spec(request)
        signature_name = spec.signature_name or SIGNATURE_DEFAULT
        with self._models.use(spec) as (version, model):
            signature = model.signature(signature_name)
            if signature is None:
                text = f'Serving signature key "{signature_name}" not found.'
                raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, text)
            inputs = tensor_protos.input_tensors(signature, request.inputs)
            names = tensor_protos.output_names(signature, list(request.output_filter))
            outputs = model.run(signature_name, inputs)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = spec.name
            response.model_spec.signature_name = signature_name
            response.model_spec.version.value = version
            for name in names:
                response.outputs[name].CopyFrom(tensor_protos.output_proto(outputs[name]))
        return response

    def _metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        spec = model_spec(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURE_DEF:
                raise invalid_argument(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._models.use(spec) as (version, model):
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)
            response.model_spec.name = spec.name
            response.model_spec.version.value = version
            response.metadata[_SIGNATURE_DEF].Pack(signatures)
        return response
