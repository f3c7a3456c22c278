"""The serving benchmark: its minimal peer answers rightly, its clients count what was answered, its ratios are ratios."""

import contextlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from benchmarks import serving
from benchmarks import serving_peers
from serving import wire
from serving.client import RetrieverClient
from serving.load_messages import read_answer

ROOT = Path(__file__).parents[2]
USER = {"country": "DE", "history_item_id": ["item-3", "item-5"], "history_age_days": [1.0, 20.0]}
DELAY_S = 0.02


@contextlib.contextmanager
def running(add_service):
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    add_service(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_minimal_peer_answers_as_brute_force(model_server, toy):
    with RetrieverClient(model_server.address) as client:
        (request,) = client.encode([USER], k=3)
    model = model_server.base_path / "1"
    with (
        running(lambda server: serving_peers.add_minimal(server, model)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        answer = read_answer(channel.unary_unary(wire.PREDICT)(request, timeout=10))
    assert [item_id.decode() for item_id in answer.item_ids] == toy.retrieve(USER, version=1, k=3)[0]


def test_clients_measure_a_known_delay(tmp_path):
    requests = [b"first", b"second"]
    (tmp_path / "requests.json").write_text(json.dumps([request.hex() for request in requests]))
    received = []

    def slow(request, context):
        received.append(request)
        time.sleep(DELAY_S)
        return b"answer"

    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(slow)}
    service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)
    command = [sys.executable, "-m", "benchmarks.serving_clients", f"--requests={tmp_path / 'requests.json'}"]
    with running(lambda server: server.add_generic_rpc_handlers((service,))) as address:
        done = subprocess.run(
            [*command, f"--server={address}", "--num_clients=4", "--seconds=1"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=60,
        )
    figures = json.loads(done.stdout)
    assert set(received) == set(requests)
    # Four clients of 20 ms each: 200 answers a second at most; a busy machine gives less.
    assert figures["p50"] >= 20
    assert 0 < figures["per_s"] <= 4 / DELAY_S
    assert len(received) > figures["per_s"]  # those of the time before it measures are not counted


def test_ratios_are_to_what_was_measured_with_as_many_clients():
    table = {
        "signature in process": {8: {"p50": 3.0, "per_s": 330.0}},
        "gRPC echo": {8: {"p50": 1.0, "per_s": 1000.0}},
        "minimal server": {8: {"p50": 8.0, "per_s": 125.0}},
        "model server": {8: {"p50": 6.0, "per_s": 250.0}},
    }
    # 6 / (3 + 1) and 250 / 125.
    expected = {"p50": 6.0, "per_s": 250.0, "overhead": 1.5, "gain": 2.0}
    assert serving.with_ratios(table) == table | {"model server": {8: expected}}


def test_figures_are_medians_of_alternating_rounds():
    calls = []

    def measure(name):
        return lambda num_clients, seconds: calls.append((name, num_clients)) or {"p50": len(calls)}

    rounds = serving.measured({"a": measure("a"), "b": measure("b")}, num_rounds=3, seconds=0.5)
    assert calls == [(name, num_clients) for num_clients in (1, 8, 64) for name in "ab"] * 3
    # A round has six calls: the second's are the medians.
    assert serving.medians(rounds) == {
        "a": {1: {"p50": 7}, 8: {"p50": 9}, 64: {"p50": 11}},
        "b": {1: {"p50": 8}, 8: {"p50": 10}, 64: {"p50": 12}},
    }
