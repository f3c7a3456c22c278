"""Command lines of the page and the files: TF Serving's, and in the embedded server the same."""

import dataclasses
import json
import re
import shlex
import socket
import threading
import time
import urllib.request
from types import SimpleNamespace

import grpc
import pytest
from deploy_files import COMPOSE
from deploy_files import CONTAINER
from deploy_files import DEPLOY
from deploy_files import MANIFESTS
from deploy_files import component_flags

from schemas.contract import MODEL_NAME
from serving.server_flags import ServerFlags
from serving.server_flags import parse_flags

OWN_FLAGS = set(re.findall(r"^ +(\w+): Own\.", ServerFlags.__doc__, re.MULTILINE))
"""Flags of the embedded server that TF Serving does not know."""


def readme_commands(program):
    lines = (DEPLOY / "README.md").read_text().splitlines()
    return [shlex.split(line.removeprefix(program)) for line in lines if line.startswith(f"{program} ")]


COMMANDS = {
    "compose": COMPOSE["command"],
    "kubernetes": CONTAINER["args"],
    "kubernetes, tls": CONTAINER["args"] + component_flags("tls"),
    "kubernetes, batching": CONTAINER["args"] + component_flags("batching"),
    **{f"page, {index}": command for index, command in enumerate(readme_commands("tensorflow_model_server"))},
}


def flags_here(command, *, models):
    """The embedded server's flags, with the paths of containers and of the page as they are on this machine."""
    ssl_config = models / "ssl_config.pbtxt"
    ssl_config.touch()
    places = {
        "=/config/": f"={DEPLOY}/",
        "=/tls/ssl_config.pbtxt": f"={ssl_config}",
        "=certificates/ssl_config.pbtxt": f"={ssl_config}",
        "=DIR/serving/retriever": f"={models}",
    }
    for place, here in places.items():
        command = [argument.replace(place, here) for argument in command]
    return parse_flags(command, description="")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_command_lines_fit_both_servers(command, tmp_path):
    names = {argument.partition("=")[0].removeprefix("--") for argument in command}
    assert {"host", "max_request_bytes", "max_concurrent_requests"} == OWN_FLAGS
    assert not names & OWN_FLAGS
    assert flags_here(command, models=tmp_path).port == 8500


def test_the_page_replaces_one_word():
    assert readme_commands("python -m serving.model_server") == readme_commands("tensorflow_model_server")[:1]
    assert COMPOSE["entrypoint"] == CONTAINER["command"] == ["tensorflow_model_server"]


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def production_server(toy, tmp_path):
    """The embedded server, in this process, with the deployment's command line; versions 1 and 2 of a toy."""
    from serving.grpc_server import serve
    from serving.shutdown import Shutdown

    for version in (1, 2):
        toy.save(tmp_path / "models" / str(version), version)
    config = tmp_path / "model_config.pbtxt"
    text = (DEPLOY / "model_config_labels.pbtxt").read_text()
    config.write_text(text.replace("/models/retriever", str(tmp_path / "models")))
    flags = dataclasses.replace(
        flags_here(CONTAINER["args"], models=tmp_path),
        model_config_file=config,
        port=free_port(),
        rest_api_port=free_port(),
    )
    shutdown = Shutdown(limit_s=15)
    thread = threading.Thread(target=serve, args=(flags, shutdown), kwargs={"drain_s": 1.0}, daemon=True)
    thread.start()
    yield SimpleNamespace(flags=flags, is_running=thread.is_alive)
    shutdown.ask()
    thread.join(timeout=20)


def get(url, *, is_running, timeout_s=30):
    """The body, once the server answers with 200."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.read().decode()
        except OSError:
            if not is_running() or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def test_the_deployment_s_command_line_serves_stable_and_canary(production_server, toy):
    from tensorflow import make_tensor_proto
    from tensorflow_serving.apis import predict_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    flags, is_running = production_server.flags, production_server.is_running
    ready = f"http://127.0.0.1:{flags.rest_api_port}{CONTAINER['readinessProbe']['httpGet']['path']}"
    assert json.loads(get(ready, is_running=is_running))["model_spec"]["version"] == "1"
    inputs = {"country": ["DE"], "history_item_id": [["item-3"]], "history_age_days": [[1.0]], "k": [3]}
    user = {"country": "DE", "history_item_id": ["item-3"], "history_age_days": [1.0]}
    with grpc.insecure_channel(f"127.0.0.1:{flags.port}") as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        for label, version in {"stable": 1, "canary": 2}.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = "retrieve"
            request.model_spec.version_label = label
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(make_tensor_proto(value))
            response = predict(request, timeout=10)
            item_ids = [item_id.decode() for item_id in response.outputs["item_ids"].string_val]
            assert (response.model_spec.version.value, item_ids) == (
                version,
                toy.retrieve(user, version=version, k=3)[0],
            )
    path = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"]
    metrics = get(f"http://127.0.0.1:{flags.rest_api_port}{path}", is_running=is_running)
    assert f':tensorflow:serving:request_count{{model_name="{MODEL_NAME}",status="OK"}} 2' in metrics
