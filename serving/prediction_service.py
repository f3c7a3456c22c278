"""TF Serving's PredictionService over gRPC: what is answered is in `inference` and `example_inference`."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import grpc
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.apis import regression_pb2

from serving import example_inference
from serving import inference
from serving.calls import CallObserver
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.observed_calls import observed


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with a serving version, says in `model_spec` which one that was, and tells `observers` of every call."""

    def __init__(self, models: ServedModels, observers: Sequence[CallObserver] = ()) -> None:
        self._models = models
        self._observers = tuple(observers)

    def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs one signature on the request's named tensors."""
        return self._answer("Predict", inference.predict, request=request, context=context)

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signature definitions of a version."""
        return self._answer("GetModelMetadata", inference.metadata, request=request, context=context)

    def Classify(  # noqa: N802
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Labels and scores of tf.Examples, by a signature that classifies."""
        return self._answer("Classify", example_inference.classify, request=request, context=context)

    def Regress(  # noqa: N802
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """A number for each tf.Example, by a signature that regresses."""
        return self._answer("Regress", example_inference.regress, request=request, context=context)

    def MultiInference(  # noqa: N802
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Several signatures that classify or regress, on the same tf.Examples."""
        return self._answer("MultiInference", example_inference.multi_inference, request=request, context=context)

    def _answer(
        self, method: str, answer: Callable[[ServedModels, Any], Any], *, request: Any, context: grpc.ServicerContext
    ) -> Any:
        try:
            with observed(self._observers, api="GRPC", method=method, request=request) as answered:
                answered.response = answer(self._models, request)
        except RequestError as error:
            context.abort(error.code, error.text)
        return answered.response
