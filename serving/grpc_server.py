"""Serves models over gRPC until the process is asked to end. Imports TensorFlow."""

import functools
import gc
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving import model_config
from serving import saved_model
from serving import warmup
from serving.health import HealthService
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_service import ModelService
from serving.periodic import PeriodicTask
from serving.prediction_service import PredictionService
from serving.saved_model import ServedModel
from serving.server_flags import ServerFlags
from serving.shutdown import Shutdown
from serving.version_poller import VersionPoller

_CANCEL_S = 1.0
"""For telling the clients of cancelled requests."""
_SWITCH_S = 0.0005
"""After which a thread yields the interpreter: a load is Python for seconds, and a request asks for it many times."""


def serve(flags: ServerFlags, shutdown: Shutdown, *, drain_s: float) -> int:
    """Serves until `shutdown` asks to end, then finishes the running requests.

    Args:
        flags: Of `serving.model_server`.
        shutdown: Watches the signals already.
        drain_s: What is still running this many seconds after the end was asked for is cancelled.

    Returns:
        The exit status: 1 if the flags' values cannot be used or the port is taken, or if polling ended of itself,
        since the server would go stale.
    """
    unregistered = saved_model.register_scann_ops()
    if unregistered:
        print(f"ScaNN retrievers will not load: {unregistered}", file=sys.stderr)
    models = ServedModels(_loader(flags), allow_unavailable_labels=flags.allow_version_labels_for_unavailable_models)
    health = HealthService(models)
    try:
        models.configure(model_config.from_flags(flags))
        server = grpc.server(ThreadPoolExecutor(max_workers=flags.grpc_max_threads), options=_options(flags))
        address = _listen(server, flags)
    except (OSError, ValueError, RequestError, RuntimeError) as error:
        print(f"cannot serve: {error}", file=sys.stderr)
        return 1
    poller = VersionPoller(models, address=address, on_change=health.update)
    _add_services(server, models, poller, health if flags.enable_grpc_healthcheck_service else None)
    _favour_requests()
    shutdown.drain_on_signal()
    server.start()
    tasks = _polling(flags, poller, on_end=shutdown.ask)
    for task in tasks:
        task.start()
    is_signalled = shutdown.wait()
    for task in tasks:
        task.stop()
    health.drain()
    server.stop(drain_s).wait(drain_s + _CANCEL_S)
    return 0 if is_signalled else 1


def _favour_requests() -> None:
    """Keeps what else runs in the process, foremost the load of a version, from delaying requests."""
    # What was imported lives as long as the process: garbage collections, which stop every request, leave it out.
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)


def _loader(flags: ServerFlags) -> Callable[[Path], ServedModel]:
    """Makes a model of a version directory: the one place where that is put together."""
    load: Callable[[Path], ServedModel] = saved_model.load
    if flags.enable_model_warmup:
        load = warmup.warmed(load, num_iterations=flags.num_request_iterations_for_warmup)
    return load


def _options(flags: ServerFlags) -> list[tuple[str, int | str]]:
    """Of the gRPC server; `--grpc_channel_arguments` wins over the others."""
    options: dict[str, int | str] = {
        # Two servers on one port would share its connections: let the second fail.
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": flags.max_request_bytes,
        "grpc.max_send_message_length": -1,
    }
    for argument in filter(None, flags.grpc_channel_arguments.split(",")):
        name, equals, value = argument.partition("=")
        if not (name and equals):
            raise ValueError(f"--grpc_channel_arguments must be name=value,... Received: {argument!r}")
        is_int = value.removeprefix("-").isdecimal() and value.isascii()
        options[name] = int(value) if is_int else value
    return list(options.items())


def _listen(server: grpc.Server, flags: ServerFlags) -> str:
    """Binds the port, and the Unix socket if one is asked for.

    Returns:
        The address with the port that was bound.

    Raises:
        RuntimeError: One of them cannot be bound.
    """
    try:
        port = server.add_insecure_port(f"{flags.host}:{flags.port}")
    except RuntimeError as error:
        raise RuntimeError(f"cannot listen at {flags.host}:{flags.port}; choose another --port: {error}") from error
    if flags.grpc_socket_path:
        server.add_insecure_port(f"unix:{flags.grpc_socket_path}")
    return f"{flags.host}:{port}"


def _add_services(
    server: grpc.Server, models: ServedModels, poller: VersionPoller, health: HealthService | None
) -> None:
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(models), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(models, poller.reload), server)
    if health is not None:
        server.add_generic_rpc_handlers((health.handler(),))


def _polling(flags: ServerFlags, poller: VersionPoller, *, on_end: Callable[[], None]) -> list[PeriodicTask]:
    """What looks for new versions and, if asked to, for another config."""
    wait_s = flags.file_system_poll_wait_seconds
    tasks = [PeriodicTask(poller.poll, name="version-poller", wait_s=wait_s, on_end=on_end)]
    file, wait_s = flags.model_config_file, flags.model_config_file_poll_wait_seconds
    if file is not None and wait_s:
        work = functools.partial(poller.replace_by_file, file)
        tasks.append(PeriodicTask(work, name="config-poller", wait_s=wait_s, on_end=on_end))
    return tasks
