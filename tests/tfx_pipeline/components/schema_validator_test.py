import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from schemas.load import load_schema
from tfx_pipeline.components.schema_validator import SchemaValidator
from tfx_pipeline.components.schema_validator import describe

_ITEM = {"positive_rate": 0.1, "impression_rate": 0.0, "item_id": "i"}
_QUERY = {"user_id": "u", "timestamp_us": 5}
_LABELS = {"task": "conversion", "event": "purchase", "is_repeat": 0}
_GOOD = {
    "train": {**_ITEM, **_QUERY, **_LABELS},
    "queries": {**_QUERY, "target_item_ids": "i"},
    "catalog": _ITEM,
}


@pytest.fixture
def validate(tmp_path):
    """Runs the executor over statistics of one-row splits."""

    def run(splits):
        statistics, schema, anomalies = (
            standard_artifacts.ExampleStatistics(),
            standard_artifacts.Schema(),
            standard_artifacts.ExampleAnomalies(),
        )
        for artifact, name in ((statistics, "statistics"), (schema, "schema"), (anomalies, "anomalies")):
            artifact.uri = str(tmp_path / name)
        statistics.split_names = artifact_utils.encode_split_names(list(splits))
        io_utils.write_pbtxt_file(str(tmp_path / "schema/schema.pbtxt"), load_schema())
        for split, row in splits.items():
            stats = tfdv.generate_statistics_from_dataframe(pd.DataFrame([row] if row else []))
            path = artifact_utils.get_split_uri([statistics], split) + "/FeatureStats.pb"
            io_utils.write_bytes_file(path, stats.SerializeToString())
        executor = SchemaValidator.EXECUTOR_SPEC.executor_class()
        executor.Do(
            {"statistics": [statistics], "schema": [schema]}, {"anomalies": [anomalies]}, {"exclude_splits": "[]"}
        )
        return tmp_path / "anomalies"

    return run


def test_each_split_is_held_to_its_own_environment(validate):
    written = validate(_GOOD)  # a catalogue without users, queries without items
    for split in _GOOD:
        found = anomalies_pb2.Anomalies.FromString((written / f"Split-{split}/SchemaDiff.pb").read_bytes())
        assert describe(found) == []


def test_an_anomaly_names_split_feature_and_what_is_wrong(validate):
    bad = {**_GOOD["train"], "task": "wish"}
    with pytest.raises(ValueError, match=r"1 anomalies: train: feature 'task': .*wish.* Mend the data"):
        validate({**_GOOD, "train": bad})


def test_the_catalogue_of_a_refresh_is_held_to_the_schema_alone(validate):
    validate({"catalog": {**_ITEM, "is_available": 1.0}})
    with pytest.raises(ValueError, match=r"1 anomalies: catalog: feature 'is_available': .* Mend the data"):
        validate({"catalog": {**_ITEM, "is_available": 7.0}})


def test_what_a_split_must_have_is_missed(validate):
    without = {name: value for name, value in _GOOD["catalog"].items() if name != "item_id"}
    with pytest.raises(ValueError, match="catalog: feature 'item_id': "):
        validate({**_GOOD, "catalog": without})


def test_describe_lists_features_by_name_then_the_dataset():
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["b"].description = "too few"
    anomalies.anomaly_info["a"].description = "too many"
    anomalies.dataset_anomaly_info.description = "empty"
    assert describe(anomalies) == ["feature 'a': too many", "feature 'b': too few", "dataset: empty"]
