"""What became of a request: told to whoever watches, such as the metrics and the request log."""

from typing import Any
from typing import NamedTuple
from typing import Protocol

import grpc


class Call(NamedTuple):
    """One finished request.

    Attributes:
        api: `GRPC` or `REST`.
        method: Such as `Predict`, `Classify`, `GetModelMetadata`.
        model_name: As the request names it, which need not be a model that is served.
        version: Of the model that answered; None if none did.
        signature_name: Of the model; "" where the method has none.
        code: OK or why it failed.
        latency_s: From the decoded request to the answer's message, in seconds.
        request: The request's message.
        response: The answer's message; None if it failed.
    """

    api: str
    method: str
    model_name: str
    version: int | None
    signature_name: str
    code: grpc.StatusCode
    latency_s: float
    request: Any
    response: Any


class CallObserver(Protocol):
    """Hears of every finished request, on the thread that answered it: be quick, and never raise."""

    def observe(self, call: Call) -> None:
        """Takes note of one call."""
