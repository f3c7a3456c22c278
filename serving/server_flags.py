"""The model server's flags: those of `tensorflow_model_server` that it honours, and three of its own."""

import argparse
import os
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from pathlib import Path
from typing import Any

from schemas.contract import MODEL_NAME

_LARGEST_MESSAGE = 2**31 - 1
_LOOPBACK = ("127.0.0.1", "::1", "[::1]", "localhost")


@dataclass(frozen=True)
class ServerFlags:
    """Values of the flags; names, meanings and defaults are `tensorflow_model_server`'s but for those marked own.

    Attributes:
        port: gRPC port; 0 picks a free one and prints it (TF Serving: 0 switches gRPC off).
        host: Own. Address to listen at; loopback unless set.
        grpc_socket_path: Unix socket to listen at too; "" for none.
        grpc_channel_arguments: Comma-separated name=value options of the gRPC server.
        grpc_max_threads: Requests answered at a time.
        enable_grpc_healthcheck_service: Whether grpc.health.v1.Health is offered (TF Serving: off unless asked).
        rest_api_port: HTTP port of the REST API; 0 switches it off.
        rest_api_num_threads: HTTP requests answered at a time.
        rest_api_timeout_in_ms: Milliseconds for an HTTP request.
        model_name: Name that requests use, unless `model_config_file` names the models.
        model_base_path: Folder of numbered version directories; None with `model_config_file`.
        model_config_file: ModelServerConfig in text form; None without.
        model_config_file_poll_wait_seconds: Seconds between two looks at that file; 0 reads it once.
        file_system_poll_wait_seconds: Seconds between two looks at the version folders.
        allow_version_labels_for_unavailable_models: Whether a label may name a version that does not serve yet.
        enable_model_warmup: Whether a version replays assets.extra/tf_serving_warmup_requests before it serves.
        num_request_iterations_for_warmup: How often it replays them.
        enable_batching: Whether concurrent requests are merged into one run of the graph.
        batching_parameters_file: BatchingParameters in text form; None takes the defaults.
        monitoring_config_file: MonitoringConfig in text form, which names the Prometheus path; None without.
        ssl_config_file: SSLConfig in text form: key, certificate, and the clients' authority for mutual TLS.
        max_request_bytes: Own. A larger request is refused with RESOURCE_EXHAUSTED, over HTTP with 413.
        max_concurrent_requests: Own. Beyond so many running and waiting requests, more are refused with
            RESOURCE_EXHAUSTED, over HTTP with 429; 0 for no limit.
    """

    port: int = 8500
    host: str = "127.0.0.1"
    grpc_socket_path: str = ""
    grpc_channel_arguments: str = ""
    grpc_max_threads: int = 4 * (os.cpu_count() or 1)
    enable_grpc_healthcheck_service: bool = True
    rest_api_port: int = 0
    rest_api_num_threads: int = 4 * (os.cpu_count() or 1)
    rest_api_timeout_in_ms: int = 30_000
    model_name: str = MODEL_NAME
    model_base_path: Path | None = None
    model_config_file: Path | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    file_system_poll_wait_seconds: float = 1.0
    allow_version_labels_for_unavailable_models: bool = False
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    enable_batching: bool = False
    batching_parameters_file: Path | None = None
    monitoring_config_file: Path | None = None
    ssl_config_file: Path | None = None
    max_request_bytes: int = 64 * 2**20
    max_concurrent_requests: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError` on a value out of range, a file that is absent, or flags that exclude each other."""
        if (self.model_base_path is None) == (self.model_config_file is None):
            raise ValueError("give --model_base_path=DIR for one model, or --model_config_file=FILE for several")
        if self.model_base_path is not None and self.model_base_path.exists() and not self.model_base_path.is_dir():
            raise ValueError(f"--model_base_path must be a folder. Received: {self.model_base_path}")
        if self.batching_parameters_file and not self.enable_batching:
            raise ValueError("--batching_parameters_file needs --enable_batching")
        for name in ("grpc_max_threads", "rest_api_num_threads", "rest_api_timeout_in_ms", "max_request_bytes"):
            self._check_range(name, least=1)
        for name in ("port", "rest_api_port", "max_concurrent_requests", "model_config_file_poll_wait_seconds"):
            self._check_range(name, least=0)
        self._check_range("num_request_iterations_for_warmup", least=1)
        if self.file_system_poll_wait_seconds <= 0:
            raise ValueError(
                f"--file_system_poll_wait_seconds must be above 0. Received: {self.file_system_poll_wait_seconds}"
            )
        if self.max_request_bytes > _LARGEST_MESSAGE:
            raise ValueError(f"--max_request_bytes is at most {_LARGEST_MESSAGE}. Received: {self.max_request_bytes}")
        for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file", "ssl_config_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"--{name} must be a file. Received: {path}")

        if self.ssl_config_file and self.rest_api_port and self.host not in _LOOPBACK:
            raise ValueError(
                "the REST API has no TLS: with --ssl_config_file it is offered at loopback only. "
                f"Received: --host={self.host}; leave out --rest_api_port, or put a TLS proxy before it"
            )

    def _check_range(self, name: str, *, least: int) -> None:
        value = getattr(self, name)
        if value < least:
            raise ValueError(f"--{name} must be {least} or more. Received: {value}")


def parse_flags(argv: Sequence[str] | None, *, description: str) -> ServerFlags:
    """The flags of the command line; a wrong or unknown one ends the process with status 2 and a list of the flags."""
    parser = argparse.ArgumentParser(prog="python -m serving.model_server", description=description, allow_abbrev=False)
    meanings = _meanings()
    for field in fields(ServerFlags):
        parser.add_argument(f"--{field.name}", default=field.default, help=meanings[field.name], **_parsing(field.type))
    values, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"unknown flag {' '.join(unknown)}; the known flags are in the usage above")
    try:
        return ServerFlags(**vars(values))
    except ValueError as error:
        parser.error(str(error))


def _parsing(kind: Any) -> dict[str, Any]:
    if kind is bool:
        # As TF Serving's: --flag, --flag=true and --flag=false.
        return {"type": _boolean, "nargs": "?", "const": True, "metavar": "BOOL"}
    parsers: dict[Any, Callable[[str], Any]] = {int: int, float: float, str: str}
    return {"type": parsers.get(kind, Path), "metavar": getattr(kind, "__name__", "FILE").upper()}


def _boolean(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"must be true or false. Received: {text!r}")
    return values[text.lower()]


def _meanings() -> dict[str, str]:
    """The help of each flag, from the docstring of `ServerFlags`: one text, in one place."""
    lines = (ServerFlags.__doc__ or "").split("Attributes:")[1].splitlines()
    meanings: dict[str, str] = {}
    name = ""
    for line in lines:
        if line.startswith(" " * 8) and not line.startswith(" " * 12):
            name, _, text = line.strip().partition(": ")
            meanings[name] = text
        elif line.strip():
            meanings[name] += " " + line.strip()
    return {name: text.replace("%", "%%") for name, text in meanings.items()}
