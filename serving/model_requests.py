"""What all requests to the model server share: the model spec, and errors with TF Serving's codes and texts."""

import contextlib
from collections.abc import Iterator

import grpc
from tensorflow_serving.apis import model_pb2

from serving.saved_model import ServedModel
from serving.versions import ModelVersions
from serving.versions import VersionNotFoundError

STATUS_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(Exception):
    """A request that cannot be answered, with the gRPC code and text to send back."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid_argument(text: str) -> RequestError:
    """The error for a request that is wrong whatever the server's state."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, text)


def model_spec(request: object) -> model_pb2.ModelSpec:
    """The request's model spec; raises `RequestError` unless it has one that names a model and no version label."""
    if not request.HasField("model_spec"):  # type: ignore[attr-defined]
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec  # type: ignore[attr-defined]
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    if spec.HasField("version_label"):
        raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
    return spec


class ServedModels:
    """The one model that this server has, found by model spec."""

    def __init__(self, model_name: str, versions: ModelVersions[ServedModel]) -> None:
        self.model_name = model_name
        self.versions = versions

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[tuple[int, ServedModel]]:
        """Holds the version and model that `spec` asks for; raises `RequestError` NOT_FOUND if it is not served."""
        number = spec.version.value if spec.HasField("version") else None
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        not_found = RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
        if spec.name != self.model_name:
            raise not_found
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(self.versions.use(number))
            except VersionNotFoundError:
                raise not_found from None
            yield held
