"""The files of `serving/deploy` as data, for the tests that check them."""

from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "serving" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]["retriever"]
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
MANIFESTS = {
    manifest["kind"]: manifest
    for path in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((DEPLOY / path).read_text())
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def component_flags(name):
    (patch,) = yaml.safe_load((DEPLOY / "kubernetes" / name / "kustomization.yaml").read_text())["patches"]
    values = [operation.get("value") for operation in yaml.safe_load(patch["patch"])]
    return [value for value in values if isinstance(value, str)]
