"""TF Serving's REST API: a method, a path and a body to a status and a JSON text. Knows nothing of sockets."""

import re
import urllib.parse
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from typing import NamedTuple

import grpc
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import regression_pb2

from serving import example_inference
from serving import inference
from serving import rest_answers
from serving import rest_examples
from serving import rest_json
from serving.calls import CallObserver
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_requests import invalid_argument
from serving.model_service import status_response
from serving.observed_calls import observed

_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_RUN = re.compile(rf"{_MODEL}:(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"{_MODEL}(?:/(metadata))?", re.IGNORECASE)
_MAX_VERSION = 2**63 - 1
_CLIENT_CLOSED_REQUEST = 499

_STATUSES = {
    grpc.StatusCode.CANCELLED: _CLIENT_CLOSED_REQUEST,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
"""All other codes are 500, as in TF Serving."""


class RestAnswer(NamedTuple):
    """An HTTP status and a body in JSON."""

    status: int
    text: str


def refused(error: RequestError) -> RestAnswer:
    """The answer to a request that cannot be answered."""
    return RestAnswer(_STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR), rest_answers.error(error.text))


class RestApi:
    """Answers REST requests with `models`, and tells `observers` of those that name a model to run."""

    def __init__(self, models: ServedModels, observers: Sequence[CallObserver]) -> None:
        self._models = models
        self._observers = tuple(observers)

    def answer(self, method: str, path: str, body: bytes) -> RestAnswer:
        """The answer to a request of HTTP `method` for `path`, without its query."""
        try:
            return RestAnswer(HTTPStatus.OK, self._answer(method, path, body))
        except RequestError as error:
            return refused(error)

    def _answer(self, method: str, path: str, body: bytes) -> str:
        pattern = {"POST": _RUN, "GET": _GET}.get(method)
        match = pattern.fullmatch(path) if pattern else None
        if match is None:
            if method == "GET" and path.lower() == "/v1/models":
                raise invalid_argument("Missing model name in request.")
            raise invalid_argument(f"Malformed request: {method} {path}")
        name, version, label, what = match.groups()
        spec = _spec(name, version=version, label=label)
        if method == "GET":
            return self._metadata(spec) if what else self._status(spec)
        return {"predict": self._predict, "classify": self._classify, "regress": self._regress}[what.lower()](
            spec, body
        )

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        request = predict_pb2.PredictRequest(model_spec=spec)
        with observed(self._observers, api="REST", method="Predict", request=request) as answered:
            is_row_form = self._write_predict(request, body)
            response = inference.predict(self._models, request)
            write = rest_answers.predictions if is_row_form else rest_answers.outputs
            text = write(response.outputs)
            answered.response = response
        return text

    def _classify(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        with observed(self._observers, api="REST", method="Classify", request=request) as answered:
            _write_examples(request, body)
            answered.response = example_inference.classify(self._models, request)
        return rest_answers.classifications(answered.response.result)

    def _regress(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        request = regression_pb2.RegressionRequest(model_spec=spec)
        with observed(self._observers, api="REST", method="Regress", request=request) as answered:
            _write_examples(request, body)
            answered.response = example_inference.regress(self._models, request)
        return rest_answers.regressions(answered.response.result)

    def _metadata(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[inference.SIGNATURE_DEF]
        )
        with observed(self._observers, api="REST", method="GetModelMetadata", request=request) as answered:
            answered.response = inference.metadata(self._models, request)
        return rest_answers.metadata(answered.response)

    def _status(self, spec: model_pb2.ModelSpec) -> str:
        return rest_answers.status(status_response(self._models.statuses(spec)))

    def _write_predict(self, request: predict_pb2.PredictRequest, body: bytes) -> bool:
        """Fills `request` from JSON; returns whether that is in row form."""
        try:
            content = rest_json.parse(body)
            request.model_spec.signature_name = rest_json.signature_name(content)
            name = inference.signature_name(request.model_spec)
            with self._models.use(request.model_spec) as (_, model):
                plan = model.plans.get(name)
            if plan is None:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            return rest_json.write_inputs(request, content, plan)
        except RecursionError:
            raise _too_deep() from None


def _write_examples(request: Any, body: bytes) -> None:
    try:
        content = rest_json.parse(body)
        request.model_spec.signature_name = rest_json.signature_name(content)
        rest_examples.write_examples(request.input, content)
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> RequestError:
    return invalid_argument("JSON Parse error: lists or objects are nested too deeply")


def _spec(name: str, *, version: str | None, label: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(name))
    if version:
        # Not int(version) alone: that takes quadratic time.
        if len(version) > len(str(_MAX_VERSION)) or int(version) > _MAX_VERSION:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label:
        spec.version_label = urllib.parse.unquote(label)
    return spec
