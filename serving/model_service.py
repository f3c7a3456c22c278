"""TF Serving's ModelService: the state of versions, and other models by a request."""

from collections.abc import Callable
from collections.abc import Sequence

import grpc
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2_grpc

from serving import model_config
from serving.model_config import ModelConfig
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_requests import invalid_argument
from serving.versions import VersionStatus


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Says which versions are loading, serving, gone or failed, and why they failed; replaces the models.

    Args:
        models: What to report on.
        reload: Replaces the models, or raises `RequestError`.
    """

    def __init__(self, models: ServedModels, reload: Callable[[Sequence[ModelConfig]], None]) -> None:
        self._models = models
        self._reload = reload

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """State and error of every version, or of the one that the request names."""
        try:
            if not request.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            return status_response(self._models.statuses(request.model_spec))
        except RequestError as error:
            context.abort(error.code, error.text)

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the models by those of the request, and answers when the new ones serve."""
        try:
            self._reload(_configs(request))
        except RequestError as error:
            context.abort(error.code, error.text)
        # Its status is OK by default: as in TF Serving an error is the call's status, and no response is sent.
        return model_management_pb2.ReloadConfigResponse()


def status_response(statuses: Sequence[VersionStatus]) -> get_model_status_pb2.GetModelStatusResponse:
    """What is known of versions, as a message."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        entry = response.model_version_status.add(version=status.number, state=int(status.state))
        entry.status.error_code = status.error_code
        entry.status.error_message = status.error
    return response


def _configs(request: model_management_pb2.ReloadConfigRequest) -> list[ModelConfig]:
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    try:
        return model_config.from_proto(request.config.model_config_list)
    except ValueError as error:
        raise invalid_argument(str(error)) from error
