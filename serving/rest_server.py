"""The REST API over HTTP/1.1: connections that stay open, bounded work, bodies and time."""

import threading
from collections.abc import Mapping
from collections.abc import Sequence

from serving.calls import CallObserver
from serving.http_connections import HttpServer
from serving.metrics import Metrics
from serving.model_requests import ServedModels
from serving.rest_api import RestApi

_POLL_S = 0.05


class RestServer:
    """Answers REST requests from threads of its own.

    Args:
        models: What to serve.
        observers: Told of every request that names a model to run.
        host: Address to listen at.
        port: To listen at; 0 picks a free one.
        num_threads: Requests answered at a time; open connections that ask nothing do not count.
        timeout_s: Seconds for an answer, and for the next bytes of a request.
        max_request_bytes: A request with a larger body is refused with 413 before it is read.
        max_requests: Running and waiting; more are refused with 429. 0 for no limit.
        pages: What else can be read, such as metrics, by path.

    Raises:
        OSError: It cannot listen there.
    """

    def __init__(
        self,
        models: ServedModels,
        observers: Sequence[CallObserver],
        *,
        host: str,
        port: int,
        num_threads: int,
        timeout_s: float,
        max_request_bytes: int,
        max_requests: int = 0,
        pages: Mapping[str, Metrics],
    ) -> None:
        self._server = HttpServer(
            (host, port),
            RestApi(models, observers),
            num_threads=num_threads,
            timeout_s=timeout_s,
            max_request_bytes=max_request_bytes,
            max_requests=max_requests,
            pages=pages,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="rest", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def start(self) -> None:
        """Starts to answer."""
        self._thread.start()

    def stop(self, drain_s: float) -> None:
        """Takes no more connections, waits for running requests at most `drain_s` seconds, and closes them all."""
        self._server.shutdown()
        self._thread.join()
        self._server.drain(drain_s)
