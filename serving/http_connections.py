"""HTTP connections of the REST API: a thread for each, a bounded number of threads for the work they ask for."""

import contextlib
import socket
import socketserver
import sys
import threading
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import Any

from serving import rest_answers
from serving.limits import ConcurrencyLimit
from serving.metrics import Metrics
from serving.model_requests import RequestError
from serving.rest_api import RestAnswer
from serving.rest_api import RestApi
from serving.rest_api import refused

_MAX_CONNECTIONS = 1024
_MAX_DISCARDED_BYTES = 2**24
_MAX_DISCARDING_S = 2.0
_GZIP = 16 + zlib.MAX_WBITS  # what zlib is told for gzip's header and end


class HttpServer(ThreadingHTTPServer):
    """Takes connections and has `api` answer their requests.

    Args:
        address: Host and port to listen at.
        api: What answers.
        num_threads: Requests answered at a time; connections that ask nothing do not count.
        timeout_s: Seconds for an answer, and for the next bytes of a request.
        max_request_bytes: Of a body.
        max_requests: Running and waiting; more are refused with 429. 0 for no limit.
        pages: What else can be read, by path.
    """

    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        api: RestApi,
        *,
        num_threads: int,
        timeout_s: float,
        max_request_bytes: int,
        max_requests: int,
        pages: Mapping[str, Metrics],
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.timeout_s = timeout_s
        self.max_request_bytes = max_request_bytes
        self.pages = pages
        self.is_draining = False
        self._api = api
        self._limit = ConcurrencyLimit(max_requests)
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="rest-request")
        self._changed = threading.Condition()
        self._connections: set[Any] = set()
        self._num_requests = 0
        super().__init__(address, _Connection)

    def server_bind(self) -> None:
        """Binds without asking a name server for this machine's name, as the standard library's server does."""
        socketserver.TCPServer.server_bind(self)

    def answer(self, method: str, path: str, body: bytes) -> RestAnswer:
        """The answer of one of the threads, or that there was none in time."""
        try:
            with self._limit.hold():
                future = self._executor.submit(self._api.answer, method, path, body)
                return future.result(self.timeout_s)
        except RequestError as error:
            return refused(error)
        except FutureTimeoutError:
            future.cancel()
            # What TensorFlow says of a run that takes too long. This one goes on: it cannot be cancelled.
            return RestAnswer(HTTPStatus.GATEWAY_TIMEOUT, rest_answers.error("Timed out waiting for notification"))

    def count_request(self, change: int) -> None:
        """Takes note that a request has begun, 1, or that its answer is sent, -1."""
        with self._changed:
            self._num_requests += change
            self._changed.notify_all()

    def drain(self, drain_s: float) -> None:
        """Waits until running requests are answered, then closes every connection."""
        self.is_draining = True
        with self._changed:
            self._changed.wait_for(lambda: not self._num_requests, timeout=drain_s)
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):  # its client closed it
                connection.shutdown(socket.SHUT_RDWR)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a connection a thread, unless there are too many: then closes it."""
        with self._changed:
            is_welcome = len(self._connections) < _MAX_CONNECTIONS
            if is_welcome:
                self._connections.add(request)
        if is_welcome:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def close_request(self, request: Any) -> None:
        """Forgets a connection."""
        with self._changed:
            self._connections.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that went away; defects are printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"
    server_version = "model_server"
    wbufsize = -1  # one packet for headers and body
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.timeout_s)

    def do_GET(self) -> None:
        """Answers a request of any method: the API says which it has."""
        path = self.path.partition("?")[0]
        body = self._read_body()
        if body is None:
            return
        page = self.server.pages.get(path) if self.command == "GET" else None
        if page is not None:
            self._send(HTTPStatus.OK, page.page(), content_type="text/plain")
        elif path.lower().startswith("/v1/"):
            self._run(path, body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND, f"Unexpected path: {path}")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Asks for the body only if it is not too large."""
        return self._body_size() is not None and super().handle_expect_100()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuses in JSON; what follows on the connection can be no request."""
        self.close_connection = True
        self._send(code, rest_answers.error(message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet: every request would be a line."""

    def _run(self, path: str, body: bytes) -> None:
        self.server.count_request(1)
        try:
            answer = self.server.answer(self.command, path, body)
            self._send(answer.status, answer.text)
        finally:
            self.server.count_request(-1)

    def _read_body(self) -> bytes | None:
        """The body, empty if there is none; None if the request was refused for it."""
        size = self._body_size()
        if size is None:
            return None
        body = self.rfile.read(size)
        if len(body) < size:  # the client went away
            self.close_connection = True
            return None
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        if encoding == "identity":
            return body
        if encoding != "gzip":
            self.send_error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding must be gzip. Received: {encoding}")
            return None
        return self._decompressed(body)

    def _decompressed(self, body: bytes) -> bytes | None:
        """Holds no more than a body may have, whatever it would grow to."""
        limit, gzip = self.server.max_request_bytes, zlib.decompressobj(_GZIP)
        try:
            found = gzip.decompress(body, limit + 1)
        except zlib.error as error:
            self.send_error(HTTPStatus.BAD_REQUEST, f"the body is no gzip: {error}")
            return None
        if len(found) > limit:
            self.send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must have at most {limit} bytes, also when decompressed"
            )
            return None
        if not gzip.eof:
            self.send_error(HTTPStatus.BAD_REQUEST, "the body is no whole gzip: its end is missing")
            return None
        return found

    def _body_size(self) -> int | None:
        if self.headers.get("Transfer-Encoding"):
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "send the body with its Content-Length, not in chunks")
            return None
        text = self.headers.get("Content-Length", "0")
        if not (text.isascii() and text.isdecimal()) or len(text) > 19:
            self.send_error(HTTPStatus.BAD_REQUEST, f"Content-Length is not a number. Received: {text}")
            return None
        if int(text) > self.server.max_request_bytes:
            limit = self.server.max_request_bytes
            self.send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must have at most {limit} bytes. Received: {text}"
            )
            self._discard()
            return None
        return int(text)

    def _discard(self) -> None:
        """Reads a little more: a connection closed on unread bytes is reset, and the answer may be lost with it."""
        self.connection.shutdown(socket.SHUT_WR)
        deadline_s = time.monotonic() + _MAX_DISCARDING_S
        self.connection.settimeout(_MAX_DISCARDING_S)
        left = _MAX_DISCARDED_BYTES
        while left > 0 and time.monotonic() < deadline_s:
            read = len(self.connection.recv(2**16))
            if not read:
                return
            left -= read

    def _send(self, status: int, text: str, *, content_type: str = "application/json") -> None:
        content = text.encode(errors="surrogateescape")
        self.send_response_only(status, None if status in HTTPStatus._value2member_map_ else "Client Closed Request")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection or self.server.is_draining:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
