"""How a client reaches its model servers: load balancing, bounded retries, TLS, and errors that say what to do."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from serving.results import RetrieverError

MAX_ATTEMPTS = 5
"""gRPC's own limit. The pauses between so many attempts add up to more than a pause between two connections."""

_RETRY_BUFFER_BYTES = 2**26
# A request above gRPC's default buffer (256 KiB, about 50 users with full histories) would never be sent again.
_CHANNEL_OPTIONS = (
    ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # gRPC's own pause between connection attempts grows to two minutes, longer than any retry here waits.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Or a DNS record could change the retries below.
    ("grpc.service_config_disable_resolution", 1),
)
_REST_PORT_SIGNS = ("HTTP/2", "http1.x")


@dataclass(frozen=True)
class Tls:
    """Certificates in PEM form, each as its content or as the path of its file.

    Attributes:
        ca_cert: Of the authority that signed the server's certificate; None for the public ones that gRPC brings.
        client_cert: Of this client, for a server that asks for one (mutual TLS); with `client_key`.
        client_key: Private key of `client_cert`.
        server_name: What the server's certificate must be for, where that is not the host in the server's address.
    """

    ca_cert: Path | str | bytes | None = None
    client_cert: Path | str | bytes | None = None
    client_key: Path | str | bytes | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        """Raises `ValueError` unless certificate and key come together."""
        if (self.client_cert is None) != (self.client_key is None):
            given = "client_cert" if self.client_key is None else "client_key"
            raise ValueError(f"mutual TLS needs client_cert and client_key. Received: {given} only")

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel; raises `OSError` for a file that cannot be read."""
        return grpc.ssl_channel_credentials(_pem(self.ca_cert), _pem(self.client_key), _pem(self.client_cert))


@dataclass(frozen=True)
class Connection:
    """One connection to each server, kept and shared by all calls.

    Attributes:
        server: host:port, or a gRPC target that names several servers, such as `dns:///retriever:8500` or
            `ipv4:10.0.0.1:8500,10.0.0.2:8500`.
        max_attempts: How often a request is sent while the server is UNAVAILABLE.
        round_robin: Whether requests take turns between the servers; else they go to the first that can be reached.
        tls: None for plain text.
        compression: Of the requests; None for none.
    """

    server: str
    max_attempts: int
    round_robin: bool
    tls: Tls | None
    compression: grpc.Compression | None

    def __post_init__(self) -> None:
        """Raises `ValueError` on a value out of range."""
        if not self.server:
            raise ValueError("server must be host:port, such as localhost:8500. Received: ''")
        if not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise ValueError(f"max_attempts must be between 1 and {MAX_ATTEMPTS}. Received: {self.max_attempts}")

    def open(self, module: Any) -> Any:
        """A channel of `module`: `grpc`, or `grpc.aio` for asyncio."""
        options = [*_CHANNEL_OPTIONS, ("grpc.service_config", json.dumps(self._service_config()))]
        if self.tls is None:
            return module.insecure_channel(self.server, options=options, compression=self.compression)
        if self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return module.secure_channel(self.server, self.tls.credentials(), options=options, compression=self.compression)

    def failure(self, error: Any, *, timeout_s: float) -> RetrieverError:
        """What to raise for an `error` of gRPC, in a call that had `timeout_s` seconds."""
        code, text = error.code(), error.details() or ""
        remedies = {
            grpc.StatusCode.UNAVAILABLE: self._remedy_if_unavailable(text),
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from {self.server} in {timeout_s} s, "
            "retries included: check that it runs, or raise timeout_s",
            grpc.StatusCode.NOT_FOUND: "check the model name, and by model_status() that a version is AVAILABLE",
            grpc.StatusCode.UNIMPLEMENTED: f"is {self.server} a TF Serving gRPC port (8500, not 8501)?",
            grpc.StatusCode.RESOURCE_EXHAUSTED: "ask later, or for fewer users at a time: lower max_batch_size",
            grpc.StatusCode.UNAUTHENTICATED: "send what the server asks for, such as metadata={'authorization': ...}",
        }
        return RetrieverError(code.name, text, remedies.get(code, ""))

    def _remedy_if_unavailable(self, text: str) -> str:
        if any(sign in text for sign in _REST_PORT_SIGNS):
            return f"{self.server} does not speak gRPC: is it the REST port (8501)? gRPC's is 8500"
        tls = (
            "check that the server expects TLS, and the certificates" if self.tls else "or give tls if it expects that"
        )
        return (
            f"no server answers at {self.server}: start it with "
            f"python -m serving.model_server --port=PORT --model_base_path=DIR, {tls}"
        )

    def _service_config(self) -> dict[str, Any]:
        """Retries and load balancing for gRPC itself, which does both below sync and asyncio channels alike.

        Only UNAVAILABLE is sent again: there the request was not run, or was turned away by a full queue or a server
        that ends, and another attempt may meet a free one. DEADLINE_EXCEEDED has no time left; RESOURCE_EXHAUSTED would
        load a server that asked for less; all other codes say what the request or the model would get again.
        The pauses double from 0.1 s to 1 s, each up to a fifth longer or shorter by chance.
        """
        retries = {
            "maxAttempts": self.max_attempts,
            "initialBackoff": "0.1s",
            "maxBackoff": "1s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        method: dict[str, Any] = {"name": [{}]} | ({"retryPolicy": retries} if self.max_attempts > 1 else {})
        balancing = "round_robin" if self.round_robin else "pick_first"
        return {"methodConfig": [method], "loadBalancingConfig": [{balancing: {}}]}


def _pem(source: Path | str | bytes | None) -> bytes | None:
    return source if source is None or isinstance(source, bytes) else Path(source).read_bytes()
