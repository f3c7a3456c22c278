"""The systems that `benchmarks.serving` compares, started and ready to be measured."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import grpc

from schemas.contract import SIGNATURE_RETRIEVE
from serving import wire
from serving.client import RetrieverClient
from serving.load_report import percentiles_ms
from serving.query_inputs import Features

SIGNATURE, ECHO, MINIMAL, SERVER = "signature in process", "gRPC echo", "minimal server", "model server"

Measure = Callable[[int, float], dict[str, float]]
"""Takes the number of clients and seconds; gives percentiles of the latency in milliseconds, and answers per second."""

_K = 100
_START_S, _STOP_S, _TIMEOUT_S = 180.0, 30.0, 60.0
_WARM_UP_S = 0.5


@contextlib.contextmanager
def start(
    base_path: Path, users: Sequence[Features], *, flags_of_servers: Sequence[str], num_threads: int, folder: Path
) -> Iterator[dict[str, Measure]]:
    """Starts the servers, one model server for each entry of `flags_of_servers`, and ends them when done with.

    Args:
        base_path: Of a retriever's versions, of which the newest is served.
        users: Asked for in turn.
        flags_of_servers: Flags of each model server beside those that all have.
        num_threads: Of every server.
        folder: For the encoded requests.

    Yields:
        How to measure each, by name.
    """
    with contextlib.ExitStack() as stack:
        servers = {}
        for flags in flags_of_servers:
            command = f"serving.model_server --port=0 --model_base_path={base_path} --grpc_max_threads={num_threads}"
            servers[f"{SERVER} {flags}".strip()] = stack.enter_context(server_process(f"{command} {flags}"))
        address = servers[SERVER]
        with RetrieverClient(address, timeout_s=_TIMEOUT_S, ignore_unknown=True) as client:
            requests = client.encode(users, k=_K)
        (folder / "requests.json").write_text(json.dumps([request.hex() for request in requests]))
        (folder / "response").write_bytes(_answer(address, requests[0]))
        newest = max((path for path in base_path.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
        peer = f"benchmarks.serving_peers --num_threads={num_threads}"
        servers[ECHO] = stack.enter_context(server_process(f"{peer} echo --response={folder / 'response'}"))
        servers[MINIMAL] = stack.enter_context(server_process(f"{peer} minimal --model={newest}"))
        measures = {name: _through_clients(server, folder / "requests.json") for name, server in servers.items()}
        yield {SIGNATURE: _in_process(newest, requests), **measures}


@contextlib.contextmanager
def server_process(command: str) -> Iterator[str]:
    """The address of a server that is started with `python -m COMMAND` and says where it serves."""
    process = subprocess.Popen([sys.executable, "-m", *shlex.split(command)], stdout=subprocess.PIPE, text=True)
    # A server that hangs before it serves would block the reading of its output for ever.
    overdue = threading.Timer(_START_S, process.kill)
    overdue.start()
    try:
        for line in process.stdout or ():
            if found := re.search(r"^Serving .* at (\S+)$", line):
                overdue.cancel()
                yield found.group(1)
                return
        raise RuntimeError(f"{command} did not serve within {_START_S:.0f} s; its messages are above")
    finally:
        overdue.cancel()
        process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _answer(server: str, request: bytes) -> bytes:
    with grpc.insecure_channel(server) as channel:
        return channel.unary_unary(wire.PREDICT)(request, timeout=_TIMEOUT_S)


def _through_clients(server: str, requests: Path) -> Measure:
    def measure(num_clients: int, seconds: float) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.serving_clients", f"--server={server}", f"--requests={requests}"]
        command += [f"--num_clients={num_clients}", f"--seconds={seconds}"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    return measure


def _in_process(model: Path, requests: Sequence[bytes]) -> Measure:
    """Calls the signature on tensors that are ready, and reads nothing of its answers."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from serving import saved_model

    saved_model.register_scann_ops()
    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures[SIGNATURE_RETRIEVE]
    inputs = [
        {
            name: tf.constant(tf.make_ndarray(proto))
            for name, proto in predict_pb2.PredictRequest.FromString(text).inputs.items()
        }
        for text in requests
    ]

    def measure(num_clients: int, seconds: float) -> dict[str, float]:
        times_s: list[float] = []
        start_s = time.monotonic() + _WARM_UP_S

        def client(number: int) -> None:
            while (sent_s := time.monotonic()) < start_s + seconds:
                signature(**inputs[number % len(inputs)])
                if sent_s > start_s:
                    times_s.append(time.monotonic() - sent_s)
                number += 1

        threads = [threading.Thread(target=client, args=(number,)) for number in range(num_clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return percentiles_ms(times_s) | {"per_s": len(times_s) / seconds}

    return measure
