"""A gRPC channel to a model server: bounded retries while it is unreachable, and errors that say what to do."""

import time
from collections.abc import Callable
from typing import Any
from typing import NoReturn

import grpc

from serving import wire

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # gRPC's own pause between connection attempts grows to two minutes, longer than any retry here waits.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_FIRST_BACKOFF_S = 0.1


class RetrieverError(Exception):
    """A request that the model server did not answer.

    Attributes:
        code: gRPC status name, such as `NOT_FOUND`.
        text: What the server, or gRPC, said.
        remedy: What to do about it, empty if unknown.
    """

    def __init__(self, code: str, text: str, remedy: str = "") -> None:
        super().__init__(f"{code}: {text}" + (f"; {remedy}" if remedy else ""))
        self.code = code
        self.text = text
        self.remedy = remedy


class ServerChannel:
    """Sends messages to the server at `server`, host:port.

    Args:
        server: Where the server listens, such as `localhost:8500`.
        timeout_s: Seconds for a call with its retries.
        max_attempts: How often a call is tried while the server is UNAVAILABLE; other errors are never retried.
    """

    def __init__(self, server: str, *, timeout_s: float, max_attempts: int) -> None:
        if timeout_s <= 0 or max_attempts < 1:
            raise ValueError(f"timeout_s and max_attempts must be positive. Received: {timeout_s}, {max_attempts}")
        self._server = server
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._channel = grpc.insecure_channel(server, options=_CHANNEL_OPTIONS)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def call(self, method: str, request: Any, *, response: str) -> Any:
        """The answer of `method`, a message named `response`; raises `RetrieverError`."""
        parse = wire.message_class(response).FromString
        send = self._channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=parse
        )
        return self._with_retries(lambda timeout_s: send(request, timeout=timeout_s))

    def _with_retries(self, attempt: Callable[[float], Any]) -> Any:
        deadline = time.monotonic() + self._timeout_s
        num_attempts = 0
        while True:
            num_attempts += 1
            try:
                return attempt(max(0.0, deadline - time.monotonic()))
            except grpc.RpcError as error:
                pause_s = _FIRST_BACKOFF_S * 2 ** (num_attempts - 1)
                worth_it = num_attempts < self._max_attempts and time.monotonic() + pause_s < deadline
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not worth_it:
                    self._raise(error)
            time.sleep(pause_s)

    def _raise(self, error: Any) -> NoReturn:
        remedies = {
            grpc.StatusCode.UNAVAILABLE: f"no server answers at {self._server}: start it with "
            "python -m serving.model_server --port=PORT --model_base_path=DIR",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer in {self._timeout_s} s: raise timeout_s",
            grpc.StatusCode.NOT_FOUND: "check the model name, and by model_status() that a version is AVAILABLE",
            grpc.StatusCode.UNIMPLEMENTED: f"is {self._server} a TF Serving gRPC port (8500, not 8501)?",
        }
        raise RetrieverError(error.code().name, error.details(), remedies.get(error.code(), "")) from error
