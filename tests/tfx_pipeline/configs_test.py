import json

import pytest

from tfx_pipeline.configs import DEFAULTS
from tfx_pipeline.configs import build_config
from tfx_pipeline.configs import restored_config


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("source", DEFAULTS)
def test_every_source_has_a_valid_default(source):
    config = build_config(source).to_dict()
    for section, fields in DEFAULTS[source].items():
        for name, value in fields.items():
            assert config[section][name] == value


def test_a_setting_beats_the_file_which_beats_the_sources_default(file):
    default = DEFAULTS["online_retail"]["trainer"]["epochs"]
    assert default not in (7, 8)
    path = file({"trainer": {"epochs": 7, "batch_size": 33}, "examples": {"history_length": 9}, "source": {"a": 1}})
    config = build_config("online_retail", file=path, settings=["trainer.epochs=8", "trainer.dense_units=32,16"])
    assert (config.trainer.epochs, config.trainer.batch_size, config.trainer.dense_units) == (8, 33, (32, 16))
    assert (config.examples.history_length, config.examples.cut) == (9, "2011-09-01")  # the file's, the source's
    assert config.source == {"a": 1}
    assert DEFAULTS["online_retail"]["trainer"]["epochs"] == default  # the defaults are not written to


@pytest.mark.parametrize(
    ("setting", "section", "name", "value"),
    [
        ("trainer.use_performance=false", "trainer", "use_performance", False),
        ("trainer.use_performance=1", "trainer", "use_performance", True),
        ("trainer.temperature=0.2", "trainer", "temperature", 0.2),
        ("trainer.architecture=cross", "trainer", "architecture", "cross"),
        ("index.kind=ivf", "index", "kind", "ivf"),
        ("index.target_recall=1", "index", "target_recall", 1.0),
        ("examples.cut=2011-01-01", "examples", "cut", "2011-01-01"),
        ("source.path=a=b", "source", "path", "a=b"),
    ],
)
def test_settings_are_converted_to_the_fields_type(setting, section, name, value):
    found = build_config("tables", settings=[setting]).to_dict()[section][name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("source", "settings", "text"),
    [
        ("nowhere", [], "--source must be one of online_retail, .*tables. Received: 'nowhere'"),
        ("tables", ["epochs=3"], "--set must be section.field=value, e.g. trainer.epochs=3. Received: 'epochs=3'"),
        ("tables", ["trainer.epochs"], "--set must be section.field=value"),
        (
            "tables",
            ["model.epochs=3"],
            r"Unknown section of the configuration: \['model'\]. Sections: source, examples",
        ),
        ("tables", ["trainer.epoch=3"], "Unknown field trainer.epoch. Fields of trainer: architecture"),
        ("tables", ["trainer.epochs=three"], "trainer.epochs must be int. Received: 'three'"),
        ("tables", ["trainer.use_performance=perhaps"], "trainer.use_performance must be bool. Received: 'perhaps'"),
        ("tables", ["trainer.dense_units=8,x"], r"trainer.dense_units must be tuple\S*. Received: '8,x'"),
        ("tables", ["trainer.recall_cutoffs=100,0"], r"trainer.recall_cutoffs must be .* >= 1. Received: \(100, 0\)"),
        ("tables", ["index.kind=hnsw"], "index.kind must be auto, exact, scann, scann_int8 or ivf. Received: 'hnsw'"),
        ("tables", ["push.kept_versions=0"], "push.kept_versions must be >= 1. Received: 0"),
        ("tables", ["index.max_k=0"], "index.max_k must be >= 1. Received: 0"),
        ("tables", ["index.target_recall=0"], "index.target_recall must be above 0 and up to 1. Received: 0.0"),
        ("tables", ["index.target_recall=1.01"], "index.target_recall must be above 0 and up to 1. Received: 1.01"),
        ("tables", ["index.target_recall=nan"], "index.target_recall must be above 0 and up to 1. Received: nan"),
    ],
)
def test_an_unusable_configuration_is_refused(source, settings, text):
    with pytest.raises(ValueError, match=text):
        build_config(source, settings=settings)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "--config must be a readable JSON file. Received: .*config.json"),
        ("[1]", "--config must hold sections, e.g. "),
        ({"trainer": 3}, "--config must hold sections"),
        ({"trainer": {"epochs": [3]}}, r"trainer.epochs must be int. Received: \[3\]"),
        ({"trainer": {"epochs": 3.5}}, "trainer.epochs must be int. Received: 3.5"),
        ({"trainer": {"temperature": True}}, "trainer.temperature must be float. Received: True"),
        ({"trainer": {"architecture": 3}}, "trainer.architecture must be str. Received: 3"),
        ({"trainer": {"use_performance": 1}}, "trainer.use_performance must be bool. Received: 1"),
    ],
)
def test_an_unusable_file_is_refused(file, content, text):
    with pytest.raises(ValueError, match=text):
        build_config("tables", file=file(content))


def test_a_whole_number_is_a_float_in_a_file(file):
    found = build_config("tables", file=file({"trainer": {"temperature": 1, "dense_units": [8]}})).trainer
    assert (found.temperature, found.dense_units) == (1.0, (8,))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--config must be a readable JSON file"):
        build_config("tables", file=tmp_path / "none.json")


@pytest.mark.parametrize("source", DEFAULTS)
def test_a_configuration_is_restored_from_what_a_run_records(source):
    config = build_config(source, settings=["trainer.dense_units=8,4", "refresh.max_removed_share=0.25"])
    recorded = json.loads(json.dumps(config.to_dict()))
    assert json.dumps(restored_config(recorded).to_dict()) == json.dumps(config.to_dict())
    assert restored_config(recorded, settings=["refresh.max_removed_share=1"]).refresh.max_removed_share == 1.0
    assert recorded["refresh"]["max_removed_share"] == 0.25  # what was given is not written to
