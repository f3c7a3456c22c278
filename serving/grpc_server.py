"""Serves a model's newest version over gRPC until the process is asked to end. Imports TensorFlow."""

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving import saved_model
from serving.model_requests import ServedModels
from serving.model_service import ModelService
from serving.prediction_service import PredictionService
from serving.server_flags import ServerFlags
from serving.shutdown import Shutdown
from serving.version_poller import VersionPoller
from serving.versions import ModelVersions

_OPTIONS = (
    # Two servers on one port would share its connections: let the second fail.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
_CANCEL_S = 1.0
"""For telling the clients of cancelled requests."""


def serve(flags: ServerFlags, shutdown: Shutdown, *, drain_s: float) -> int:
    """Serves until `shutdown` asks to end, then finishes the running requests.

    Args:
        flags: Of `serving.model_server`.
        shutdown: Watches the signals already.
        drain_s: What is still running this many seconds after the end was asked for is cancelled.

    Returns:
        The exit status: 1 if the port is taken, or if polling ended of itself, since the server would go stale.
    """
    unregistered = saved_model.register_scann_ops()
    if unregistered:
        print(f"ScaNN retrievers will not load: {unregistered}", file=sys.stderr)
    # TensorFlow's own objects outlive every version: a collection after an unloading would go through them, and hold the
    # interpreter for part of a second.
    gc.collect()
    gc.freeze()
    versions = ModelVersions(flags.model_base_path, saved_model.load)
    server = _grpc_server(ServedModels(flags.model_name, versions), num_threads=flags.grpc_max_threads)
    try:
        port = server.add_insecure_port(f"{flags.host}:{flags.port}")
    except RuntimeError as error:
        print(f"cannot listen at {flags.host}:{flags.port}; choose another --port: {error}", file=sys.stderr)
        return 1
    poller = VersionPoller(
        versions,
        model_name=flags.model_name,
        base_path=flags.model_base_path,
        address=f"{flags.host}:{port}",
        wait_s=flags.file_system_poll_wait_seconds,
        on_end=shutdown.ask,
    )
    shutdown.drain_on_signal()
    server.start()
    poller.start()
    is_signalled = shutdown.wait()
    poller.stop()
    server.stop(drain_s).wait(drain_s + _CANCEL_S)
    return 0 if is_signalled else 1


def _grpc_server(models: ServedModels, *, num_threads: int) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(max_workers=num_threads), options=_OPTIONS)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(models), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(models), server)
    return server
