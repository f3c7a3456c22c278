"""Development model server: `tensorflow_model_server`'s flags and gRPC API, for where TF Serving cannot be installed.

    python -m serving.model_server --port=8500 --model_name=retriever --model_base_path=DIR

A stand-in: production runs TF Serving. TensorFlow is imported once the flags are known to be right.
"""

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from schemas.contract import MODEL_NAME
from serving.version_poller import VersionPoller
from serving.versions import ModelVersions

if TYPE_CHECKING:
    from serving.model_requests import ServedModels
    from serving.saved_model import ServedModel

_DRAIN_S = 10.0
_GRPC_OPTIONS = (
    # Two servers on one port would share its connections: let the second fail.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C, then finishes the running requests; returns the exit status."""
    flags = _parse_flags(argv)
    # Level 2 would still print three lines about CUDA plugins at every start; failures to load are reported here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google.api_core")
    from serving import saved_model
    from serving.model_requests import ServedModels

    unregistered = saved_model.register_scann_ops()
    if unregistered:
        print(f"ScaNN retrievers will not load: {unregistered}", file=sys.stderr)
    versions = ModelVersions(flags.model_base_path, saved_model.load)
    server = _grpc_server(ServedModels(flags.model_name, versions), num_threads=flags.num_threads)
    try:
        port = server.add_insecure_port(f"{flags.host}:{flags.port}")
    except RuntimeError as error:
        print(f"cannot listen at {flags.host}:{flags.port}; choose another --port: {error}", file=sys.stderr)
        return 1
    return _serve(server, versions, flags=flags, address=f"{flags.host}:{port}")


def _serve(
    server: grpc.Server, versions: "ModelVersions[ServedModel]", *, flags: argparse.Namespace, address: str
) -> int:
    """Serves until a signal and drains; returns 1 if polling ended of itself, since the server would go stale."""
    ended, signalled = threading.Event(), threading.Event()

    def on_signal(number: int, frame: object) -> None:
        signalled.set()
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    poller = VersionPoller(
        versions,
        model_name=flags.model_name,
        base_path=flags.model_base_path,
        address=address,
        wait_s=flags.file_system_poll_wait_seconds,
        on_end=ended.set,
    )
    server.start()
    poller.start()
    ended.wait()
    poller_died = not signalled.is_set()
    server.stop(_DRAIN_S).wait()
    poller.stop(_DRAIN_S)
    return 1 if poller_died else 0


def _grpc_server(models: "ServedModels", *, num_threads: int) -> grpc.Server:
    from tensorflow_serving.apis import model_service_pb2_grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    from serving.model_service import ModelService
    from serving.prediction_service import PredictionService

    server = grpc.server(ThreadPoolExecutor(max_workers=num_threads), options=_GRPC_OPTIONS)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(models), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(models), server)
    return server


def _parse_flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m serving.model_server", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0 picks a free one and prints it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, loopback)")
    parser.add_argument("--model_name", default=MODEL_NAME, help="name that requests use (default: %(default)s)")
    parser.add_argument("--model_base_path", type=Path, required=True, help="folder of numbered version directories")
    parser.add_argument(
        "--file_system_poll_wait_seconds", type=_positive(float), default=1.0, help="seconds between two looks at it"
    )
    parser.add_argument(
        "--num_threads", type=_positive(int), default=4 * (os.cpu_count() or 1), help="requests answered at a time"
    )
    flags, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"unknown flag {' '.join(unknown)}; the known flags are in the usage above")
    if flags.model_base_path.exists() and not flags.model_base_path.is_dir():
        parser.error(f"--model_base_path must be a folder. Received: {flags.model_base_path}")
    return flags


def _positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def number(text: str) -> int | float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"must be above 0. Received: {text}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
