"""ModelServerConfig: what is taken, and what is refused with TF Serving's words or clearer ones."""

from pathlib import Path

import pytest

from serving import model_config
from serving.model_config import ModelConfig
from serving.server_flags import ServerFlags
from serving.version_folders import VersionPolicy

PLATFORM = 'model_platform: "tensorflow"'


def read(tmp_path, text):
    (tmp_path / "models.config").write_text(text)
    return model_config.from_file(tmp_path / "models.config")


def test_models_policies_and_labels_are_read(tmp_path):
    models = read(
        tmp_path,
        f"""# comments are allowed
        model_config_list {{
          config {{ name: "shop" base_path: "/models/shop" {PLATFORM}
                    model_version_policy {{ specific {{ versions: 3 versions: 5 }} }}
                    version_labels {{ key: "stable" value: 3 }} version_labels {{ key: "canary" value: 5 }} }}
          config {{ name: "all" base_path: "/models/all" {PLATFORM} model_version_policy {{ all {{}} }} }}
          config {{ name: "two" base_path: "/models/two" {PLATFORM}
                    model_version_policy {{ latest {{ num_versions: 2 }} }} }}
          config {{ name: "old" base_path: "/models/old" model_type: TENSORFLOW }}
        }}""",
    )
    assert models == [
        ModelConfig(
            "shop",
            Path("/models/shop"),
            policy=VersionPolicy(limit=None, numbers=frozenset({3, 5})),
            labels={"stable": 3, "canary": 5},
        ),
        ModelConfig("all", Path("/models/all"), policy=VersionPolicy(limit=None)),
        ModelConfig("two", Path("/models/two"), policy=VersionPolicy(limit=2)),
        ModelConfig("old", Path("/models/old"), policy=VersionPolicy(limit=1)),
    ]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (f'base_path: "/m" {PLATFORM}', "a model needs a name. Received none for base_path: '/m'"),
        (
            f'name: "a" base_path: "m" {PLATFORM}',
            "Expected model a to have an absolute path or URI; got base_path()=m",
        ),
        (
            f'name: "a" base_path: "gs://b/m" {PLATFORM}',
            "Expected model a to have an absolute path or URI; got base_path()=gs://b/m"
            "; this server reads local files only",
        ),
        (
            'name: "a" base_path: "/m"',
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
        ),
        (
            f'name: "a" base_path: "/m" model_type: TENSORFLOW {PLATFORM}',
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform.",
        ),
        ('name: "a" base_path: "/m" model_type: OTHER', "ModelServerConfig::model_type choice 2 not supported."),
        ('name: "a" base_path: "/m" model_platform: "xgboost"', "Model a requests unsupported platform xgboost"),
        (
            f'name: "a" base_path: "/m" {PLATFORM} model_version_policy {{ specific {{}} }}',
            "model a: specific versions must be whole numbers, at least one. Received: []",
        ),
        (
            f'name: "a" base_path: "/m" {PLATFORM} }} config {{ name: "a" base_path: "/n" {PLATFORM}',
            "Illegal to list model a multiple times in config list",
        ),
    ],
)
def test_model_that_cannot_be_served_is_refused(tmp_path, model, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        read(tmp_path, f"model_config_list {{ config {{ {model} }} }}")
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("model_config_list { config { nome: 'a' } }", 'has no field named "nome"'),
        ("model_config_list { ", "Invalid protobuf file: "),
        ("", "must have a model_config_list"),
        ("custom_model_config { }", "must have a model_config_list"),
    ],
)
def test_file_that_is_no_config_is_refused(tmp_path, content, text):
    with pytest.raises(ValueError, match=text):
        read(tmp_path, content)


def test_flags_give_one_model(tmp_path):
    flags = ServerFlags(model_name="shop", model_base_path=tmp_path)
    assert model_config.from_flags(flags) == [ModelConfig("shop", tmp_path, policy=VersionPolicy(limit=1))]
