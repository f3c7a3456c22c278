"""Configuration of TF Serving in text form, against its own messages and the files that it goes with."""

import pytest
from deploy_files import COMPOSE
from deploy_files import CONTAINER
from deploy_files import DEPLOY
from deploy_files import MANIFESTS
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from schemas.contract import MODEL_NAME
from serving import batching_parameters
from serving import text_configs


def read_model_config(path):
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


@pytest.mark.parametrize("name", ["model_config.pbtxt", "model_config_labels.pbtxt"])
def test_model_configs_name_the_contract_s_model_where_it_is_mounted(name):
    model = read_model_config(DEPLOY / name)
    assert (model.name, model.model_platform) == (MODEL_NAME, "tensorflow")
    targets = [volume["target"] for volume in COMPOSE["volumes"]]
    mounts = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    assert model.base_path in targets
    assert model.base_path in mounts
    assert not model.HasField("logging_config")  # TF Serving's stock binary does not start with one


def test_labels_are_of_versions_that_are_served():
    model = read_model_config(DEPLOY / "model_config_labels.pbtxt")
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)
    assert read_model_config(DEPLOY / "model_config.pbtxt").model_version_policy.latest.num_versions == 1


def test_batches_fill_up_to_allowed_sizes_and_are_never_padded():
    parameters = batching_parameters.read(DEPLOY / "batching_parameters.pbtxt")
    assert parameters.allowed_batch_sizes[-1] == parameters.max_batch_size
    assert parameters.num_batch_threads == int(CONTAINER["resources"]["requests"]["cpu"])
    assert not parameters.pad_variable_length_inputs


def test_metrics_are_where_prometheus_is_sent():
    config = text_configs.read(DEPLOY / "monitoring_config.pbtxt", "MonitoringConfig")
    annotations = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == annotations["prometheus.io/path"]
