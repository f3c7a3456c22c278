"""TF Serving's ModelService on the served model: GetModelStatus."""

import grpc
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc

from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_requests import model_spec
from serving.versions import VersionStatus


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Says which versions are loading, serving, gone or failed, and why they failed."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """State and error of every version, or of the one that the request names."""
        try:
            statuses = self._statuses(request)
        except RequestError as error:
            context.abort(error.code, error.text)
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in statuses:
            entry = response.model_version_status.add(version=status.number, state=int(status.state))
            entry.status.error_code = status.error_code
            entry.status.error_message = status.error
        return response

    def HandleReloadConfigRequest(self, request: object, context: grpc.ServicerContext) -> None:  # noqa: N802
        """Not offered: the one model is configured by flags."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server has one model, set by its flags; restart it")

    def _statuses(self, request: get_model_status_pb2.GetModelStatusRequest) -> list[VersionStatus]:
        spec = model_spec(request)
        known = self._models.versions.statuses() if spec.name == self._models.model_name else []
        if not spec.HasField("version"):
            if not known:
                text = f"Could not find any versions of model {spec.name}"
                raise RequestError(grpc.StatusCode.NOT_FOUND, text)
            return known
        asked = [status for status in known if status.number == spec.version.value]
        if not asked:
            text = f"Could not find version {spec.version.value} of model {spec.name}"
            raise RequestError(grpc.StatusCode.NOT_FOUND, text)
        return asked
