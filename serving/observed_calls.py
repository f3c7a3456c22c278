"""Tells whoever watches what became of a request, in the one place that times it."""

import contextlib
import time
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import grpc

from schemas.contract import SIGNATURE_DEFAULT
from serving.calls import Call
from serving.calls import CallObserver
from serving.model_requests import RequestError


class Answer:
    """Holds the answer's message once there is one."""

    def __init__(self) -> None:
        self.response: Any = None


@contextlib.contextmanager
def observed(observers: Sequence[CallObserver], *, api: str, method: str, request: Any) -> Iterator[Answer]:
    """Times the block, which puts its answer into what it is given, and tells `observers` how it ended."""
    answer = Answer()
    code = grpc.StatusCode.UNKNOWN
    started_s = time.perf_counter()
    try:
        yield answer
        code = grpc.StatusCode.OK
    except RequestError as error:
        code = error.code
        raise
    finally:
        latency_s = time.perf_counter() - started_s
        if observers:
            call = _call(request, answer.response, api=api, method=method, code=code, latency_s=latency_s)
            for observer in observers:
                observer.observe(call)


def _call(request: Any, response: Any, *, api: str, method: str, code: grpc.StatusCode, latency_s: float) -> Call:
    asked, answered = _spec(request), _spec(response)
    has_signature = method in ("Predict", "Classify", "Regress")
    return Call(
        api=api,
        method=method,
        model_name=asked.name if asked else "",
        version=answered.version.value if answered else None,
        signature_name=(asked.signature_name if asked else "") or SIGNATURE_DEFAULT if has_signature else "",
        code=code,
        latency_s=latency_s,
        request=request,
        response=response,
    )


def _spec(message: Any) -> Any:
    """The model spec of a message; of MultiInference, of its first task or result; None without."""
    if message is None:
        return None
    if hasattr(message, "model_spec"):
        return message.model_spec
    parts = message.tasks if hasattr(message, "tasks") else message.results
    return parts[0].model_spec if parts else None
