"""The container: its image, what it mounts, its ports and its health check."""

import http.server
import importlib.metadata
import re
import subprocess
import threading
from pathlib import Path

import pytest
from deploy_files import COMPOSE
from deploy_files import CONTAINER
from deploy_files import DEPLOY
from deploy_files import KUSTOMIZATION

from schemas.contract import MODEL_NAME


def test_images_are_of_the_installed_releases():
    release = importlib.metadata.version("tensorflow-serving-api")
    assert COMPOSE["image"] == f"${{IMAGE:-tensorflow/serving:{release}}}"
    assert KUSTOMIZATION["images"] == [{"name": CONTAINER["image"], "newTag": release}]
    dockerfile = (DEPLOY / "Dockerfile.scann").read_text()
    assert f"ARG TF_SERVING={release}\n" in dockerfile
    assert f"ScaNN {importlib.metadata.version('scann')} of requirements.lock" in dockerfile


def test_the_image_for_scann_looks_for_an_operation_that_exists():
    (operation,) = re.findall(r"'(Scann>\w+)'", (DEPLOY / "Dockerfile.scann").read_text())
    library = Path(importlib.metadata.distribution("scann").locate_file("scann/scann_ops/cc/_scann_ops.so"))
    assert operation.encode() + b"\0" in library.read_bytes()


def test_compose_mounts_files_that_are_there_for_reading_on_loopback_ports():
    config_files = [volume for volume in COMPOSE["volumes"] if volume["source"].startswith("./")]
    assert {volume["target"] for volume in config_files} == set(
        re.findall(r"=(/config/\S+)", " ".join(COMPOSE["command"]))
    )
    assert all((DEPLOY / volume["source"]).is_file() for volume in config_files)
    assert all(volume["read_only"] for volume in COMPOSE["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["ports"])


@pytest.mark.parametrize(("code", "status"), [(200, 0), (404, 1), (None, 1)])
def test_the_health_check_of_compose_sees_whether_a_version_answers(code, status):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code if self.path == f"/v1/models/{MODEL_NAME}/metadata" else 500)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    if code is None:
        server.shutdown()
        server.server_close()
    kind, *command = COMPOSE["healthcheck"]["test"]
    assert kind == "CMD"
    # Compose writes $ as $$.
    command[-1] = command[-1].replace("$$", "$").replace("/8501", f"/{server.server_port}")
    assert subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == status
    server.shutdown()
    server.server_close()
