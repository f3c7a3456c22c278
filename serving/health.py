"""The standard gRPC health service, grpc.health.v1.Health, without the package grpcio-health-checking."""

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from serving import wire
from serving.model_requests import ServedModels

SERVICE = "grpc.health.v1.Health"
ALL_MODELS = ""
"""The service name that asks for every configured model."""


class Health(enum.IntEnum):
    """Numbered as in grpc.health.v1."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


@dataclass(eq=False)
class _Watcher:
    """A running Watch; `send` takes a response, or None to end."""

    service: str
    send: Callable[[Any], None]
    last_sent: Health | None = None


def _non_blocking(watch: Any) -> Any:
    """Makes gRPC hand `watch` a function to send with: as a generator each watcher would keep a thread of the server."""
    watch.experimental_non_blocking = True
    return watch


class HealthService:
    """Says of each model by its name whether a version of it serves, and by "" whether that is so of all.

    Safe from any thread.

    Args:
        models: What to report on.
    """

    def __init__(self, models: ServedModels) -> None:
        self._models = models
        self._is_draining = False
        self._response = wire.message_class("HealthCheckResponse")
        # One message at a time to a watcher. Not for leaving: gRPC says so on the thread that also finishes a send.
        self._sending = threading.Lock()
        self._watchers: set[_Watcher] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """What to add to a gRPC server."""
        codec = {
            "request_deserializer": wire.message_class("HealthCheckRequest").FromString,
            "response_serializer": self._response.SerializeToString,
        }
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check, **codec),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, **codec),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def update(self) -> None:
        """Tells the watchers what changed; call it after each change of what serves."""
        with self._sending:
            for watcher in list(self._watchers):
                self._tell(watcher)

    def drain(self) -> None:
        """From now on nothing serves: the watchers are told, and released so that they do not delay the end."""
        with self._sending:  # or a watcher that is being told could be released with its old state
            self._is_draining = True
        self.update()

    def _check(self, request: Any, context: grpc.ServicerContext) -> Any:
        health = self._health(request.service)
        if health is Health.SERVICE_UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.service}")
        return self._response(status=health)

    @_non_blocking
    def _watch(self, request: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        watcher = _Watcher(request.service, send)
        with self._sending:
            self._watchers.add(watcher)
            self._tell(watcher)
        if not context.add_callback(lambda: self._watchers.discard(watcher)):
            self._watchers.discard(watcher)

    def _health(self, service: str) -> Health:
        names = {config.name for config in self._models.configs()}
        if service != ALL_MODELS and service not in names:
            return Health.SERVICE_UNKNOWN
        asked = names if service == ALL_MODELS else {service}
        serves = not self._is_draining and all(self._models.versions(name).available() for name in asked)
        return Health.SERVING if serves else Health.NOT_SERVING

    def _tell(self, watcher: _Watcher) -> None:
        health = self._health(watcher.service)
        if health is not watcher.last_sent:
            watcher.last_sent = health
            watcher.send(self._response(status=health))
        if self._is_draining:
            self._watchers.discard(watcher)
            watcher.send(None)
