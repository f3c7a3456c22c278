"""Puts the model server together, and serves until the process is asked to end. Imports TensorFlow."""

import functools
import gc
import sys
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving import batching_parameters
from serving import grpc_listener
from serving import model_config
from serving import saved_model
from serving import text_configs
from serving import warmup
from serving.batching import batched
from serving.calls import CallObserver
from serving.health import HealthService
from serving.metrics import Metrics
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_service import ModelService
from serving.periodic import PeriodicTask
from serving.prediction_service import PredictionService
from serving.request_log import RequestLogger
from serving.rest_server import RestServer
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
        The exit status: 1 if the flags' values cannot be used or a port is taken, or if polling ended of itself,
        since the server would go stale.
    """
    unregistered = saved_model.register_scann_ops()
    if unregistered:
        print(f"ScaNN retrievers will not load: {unregistered}", file=sys.stderr)
    metrics, request_log = Metrics(), RequestLogger({})
    observers = (metrics, request_log)
    try:
        models = ServedModels(
            _loader(flags), allow_unavailable_labels=flags.allow_version_labels_for_unavailable_models
        )
        models.configure(model_config.from_flags(flags))
        server = grpc_listener.build(flags)
        rest = _rest_server(flags, models, observers, metrics)
        address = grpc_listener.listen(server, flags)
    except (OSError, ValueError, RequestError, RuntimeError) as error:
        print(f"cannot serve: {error}", file=sys.stderr)
        return 1
    health = HealthService(models)
    poller = VersionPoller(
        models, address=address, on_change=functools.partial(_follow, models, health=health, request_log=request_log)
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(models, observers), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(models, poller.reload), server)
    if flags.enable_grpc_healthcheck_service:
        server.add_generic_rpc_handlers((health.handler(),))
    _favour_requests()
    shutdown.drain_on_signal()
    server.start()
    if rest:
        rest.start()
        print(f"REST API at http://{flags.host}:{rest.port}", flush=True)
    tasks = _polling(flags, poller, on_end=shutdown.ask)
    for task in tasks:
        task.start()
    is_signalled = shutdown.wait()
    for task in tasks:
        task.stop()
    health.drain()
    _drain(server, rest, drain_s=drain_s)
    request_log.close()
    return 0 if is_signalled else 1


def _loader(flags: ServerFlags) -> Callable[[Path], ServedModel]:
    """Makes a model of a version directory: the one place where that is put together."""
    load: Callable[[Path], ServedModel] = saved_model.load
    if flags.enable_batching:
        load = batched(load, batching_parameters.read(flags.batching_parameters_file))
    if flags.enable_model_warmup:
        load = warmup.warmed(load, num_iterations=flags.num_request_iterations_for_warmup)
    return load


def _rest_server(
    flags: ServerFlags, models: ServedModels, observers: Sequence[CallObserver], metrics: Metrics
) -> RestServer | None:
    """The REST API, if it has a port; raises `ValueError` and `OSError`."""
    path = text_configs.prometheus_path(flags.monitoring_config_file) if flags.monitoring_config_file else None
    if not flags.rest_api_port:
        if path:
            print(f"Nobody can read the metrics at {path}: give --rest_api_port", file=sys.stderr)
        return None
    try:
        return RestServer(
            models,
            observers,
            host=flags.host,
            port=flags.rest_api_port,
            num_threads=flags.rest_api_num_threads,
            timeout_s=flags.rest_api_timeout_in_ms / 1000,
            max_request_bytes=flags.max_request_bytes,
            max_requests=flags.max_concurrent_requests,
            pages={path: metrics} if path else {},
        )
    except OSError as error:
        where = f"{flags.host}:{flags.rest_api_port}"
        raise OSError(f"cannot listen at {where}; choose another --rest_api_port: {error}") from error


def _follow(models: ServedModels, *, health: HealthService, request_log: RequestLogger) -> None:
    """Passes on what changed in the models."""
    health.update()
    request_log.update({config.name: config.log for config in models.configs() if config.log})


def _favour_requests() -> None:
    """Keeps what Python does beside the requests from holding them up."""
    # What was imported lives as long as the process: garbage collections, which stop every request, leave it out.
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)


def _polling(flags: ServerFlags, poller: VersionPoller, *, on_end: Callable[[], None]) -> list[PeriodicTask]:
    """What looks for new versions and, if asked to, for another config."""
    wait_s = flags.file_system_poll_wait_seconds
    tasks = [PeriodicTask(poller.poll, name="version-poller", wait_s=wait_s, on_end=on_end)]
    file, wait_s = flags.model_config_file, flags.model_config_file_poll_wait_seconds
    if file is not None and wait_s:
        work = functools.partial(poller.replace_by_file, file)
        tasks.append(PeriodicTask(work, name="config-poller", wait_s=wait_s, on_end=on_end))
    return tasks


def _drain(server: grpc.Server, rest: RestServer | None, *, drain_s: float) -> None:
    stopped = server.stop(drain_s)
    if rest:
        rest.stop(drain_s)
    stopped.wait(drain_s + _CANCEL_S)
