"""Manifests against the models of the Kubernetes API, alone and as kustomize builds them, and against each other."""

import importlib.metadata
import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
import yaml
from deploy_files import CONTAINER
from deploy_files import DEPLOY
from deploy_files import KUSTOMIZATION
from deploy_files import MANIFESTS
from deploy_files import POD
from deploy_files import component_flags
from kubernetes import client as kubernetes_client

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kubernetes_fault(manifest):
    """What the API's own models say against a manifest; a field that they do not know vanishes on the way."""
    api = kubernetes_client.ApiClient()
    kind = manifest["apiVersion"].split("/")[-1].capitalize() + manifest["kind"]
    try:
        read = api.deserialize(SimpleNamespace(data=json.dumps(manifest)), kind)
    except ValueError as error:
        return str(error)
    kept = api.sanitize_for_serialization(read)
    return "" if kept == manifest else f"{kept} != {manifest}"


@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifests_are_what_the_kubernetes_api_takes(kind):
    assert kubernetes_fault(MANIFESTS[kind]) == ""


def test_the_check_of_manifests_sees_what_is_wrong():
    service = MANIFESTS["Service"]
    misspelt = service | {"spec": service["spec"] | {"clusterIp": "None"}}
    assert "clusterIp" in kubernetes_fault(misspelt)
    deployment = MANIFESTS["Deployment"]
    without = {name: value for name, value in deployment["spec"].items() if name != "selector"}
    assert "selector" in kubernetes_fault(deployment | {"spec": without})


def test_manifests_refer_to_each_other():
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    labels = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    assert claim == MANIFESTS["PersistentVolumeClaim"]["metadata"]["name"]
    assert MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "retriever"
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert MANIFESTS[kind]["spec"]["selector"]["matchLabels"] == labels
    assert ports == {"grpc": 8500, "rest": 8501}
    assert CONTAINER["readinessProbe"]["httpGet"]["port"] in ports
    keys = {file.partition("=")[0] for file in generated["files"]}
    config_files = re.findall(r"=/config/(\S+)", " ".join(CONTAINER["args"] + component_flags("batching")))
    assert set(config_files) == keys


def test_a_pod_outlives_the_connections_of_its_clients():
    (arguments,) = (text for text in CONTAINER["args"] if text.startswith("--grpc_channel_arguments="))
    age_s, grace_s = (int(number) / 1000 for number in re.findall(r"_ms=(\d+)", arguments))
    pause_s = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert age_s + grace_s < pause_s < POD["terminationGracePeriodSeconds"]


def kustomize(folder):
    built = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=30, check=False)
    assert built.returncode == 0, built.stderr
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(built.stdout)}


@needs_kubectl
@pytest.mark.parametrize("components", [[], ["tls"], ["batching"], ["tls", "batching"]])
def test_kustomize_builds_what_the_kubernetes_api_takes(components, tmp_path):
    folder = shutil.copytree(DEPLOY, tmp_path / "deploy")
    paths = [f"kubernetes/{name}" for name in components]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(KUSTOMIZATION | {"components": paths}))
    built = kustomize(folder)
    assert [fault for manifest in built.values() if (fault := kubernetes_fault(manifest))] == []
    assert set(built) == {*MANIFESTS, "ConfigMap"}
    config = built["ConfigMap"]["data"]
    assert config["model_config.pbtxt"] == (DEPLOY / "model_config_labels.pbtxt").read_text()
    container = built["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    flags = [flag for name in components for flag in component_flags(name)]
    assert container["args"] == CONTAINER["args"] + flags
    assert container["image"] == f"tensorflow/serving:{importlib.metadata.version('tensorflow-serving-api')}"
    assert ("tcpSocket" in container["livenessProbe"]) == ("tls" in components)
