import json

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from planted_labels import constant
from planted_labels import write_examples
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components import DistributionValidator
from tfx.types import artifact_utils
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from tfx_pipeline.components.data_health import DataHealth
from tfx_pipeline.components.data_health import HealthReport
from tfx_pipeline.components.health_gate import HealthGate
from tfx_pipeline.health.comparators import DRIFT_PAIRS
from tfx_pipeline.health.comparators import SKEW_PAIRS
from tfx_pipeline.health.comparators import comparators
from tfx_pipeline.health.config import HealthConfig

SCHEMA = text_format.Parse(
    """
    feature { name: "surface" type: BYTES annotation { tag: "context" } }
    feature { name: "price" type: FLOAT annotation { tag: "item" } }
    feature { name: "title" type: BYTES annotation { tag: "item" tag: "text" } }
    """,
    schema_pb2.Schema(),
)


def split(num_home, *, num_rows=100, prices=(1.0, 2.0), titles=("a", "b")):
    """So many rows on `home` and the rest on `search`; prices and titles by turns."""
    rows = {"surface": ["home"] * num_home + ["search"] * (num_rows - num_home)}
    for name, values in (("price", prices), ("title", titles)):
        if values:
            rows[name] = [values[index % len(values)] for index in range(num_rows)]
    return pd.DataFrame(rows)


def artifact(kind, folder):
    found = kind()
    found.uri = str(folder)
    return found


@pytest.fixture
def run(tmp_path):
    """DataHealth on planted splits, with distances from TFX's own validator; the report and its artifacts."""

    def statistics(name, splits):
        found = artifact(standard_artifacts.ExampleStatistics, tmp_path / name)
        found.split_names = artifact_utils.encode_split_names(list(splits))
        for split_name, frame in splits.items():
            path = artifact_utils.get_split_uri([found], split_name) + "/FeatureStats.pb"
            io_utils.write_bytes_file(path, tfdv.generate_statistics_from_dataframe(frame).SerializeToString())
        return found

    def distances(kind, now, base, pairs, config):
        bounds = {
            "max_distance": getattr(config, f"max_{kind}_distance"),
            "max_divergence": getattr(config, f"max_{kind}_divergence"),
        }
        found = artifact(standard_artifacts.ExampleAnomalies, tmp_path / kind)
        DistributionValidator.EXECUTOR_SPEC.executor_class().Do(
            {"statistics": [now], "baseline_statistics": [base] if base else []},
            {"anomalies": [found]},
            {
                "include_split_pairs": json.dumps(pairs),
                "distribution_validator_config": comparators(SCHEMA, kind, **bounds),
            },
        )
        return found

    def run(now, earlier=None, **options):
        config = HealthConfig(**options)
        examples = artifact(standard_artifacts.Examples, tmp_path / "examples")
        write_examples(tmp_path / "examples", advertisers={"a": constant(1)})
        current, previous = statistics("now", now), statistics("earlier", earlier) if earlier else None
        health = artifact(HealthReport, tmp_path / "health")
        DataHealth.test_call(
            examples=examples,
            statistics=current,
            skew=distances("skew", current, current, SKEW_PAIRS, config),
            drift=distances("drift", current, previous, DRIFT_PAIRS, config),
            previous=previous,
            health=health,
            config=json.dumps(config.to_dict()),
            code_digest="",
        )
        return json.loads((tmp_path / "health/health.json").read_text()), health, current

    return run


def found(report, kind):
    return {(each["feature"], each["splits"]): (each["value"], each["bound"]) for each in report[kind]}


SAME = {"train": split(50), "eval": split(50), "catalog": split(0)}


def test_skew_above_its_bound_warns_and_at_it_does_not(run):
    report, _, _ = run({**SAME, "eval": split(70, prices=(11.0, 12.0))}, max_skew_distance=0.25)
    assert found(report, "skew") == {
        ("surface", "eval / train"): (pytest.approx(0.2), 0.25),  # 50% to 70%
        ("price", "eval / train"): (pytest.approx(1.0), 0.1),  # no price in common
        ("title", "eval / train"): (0.0, 0.25),
    }
    assert [(warning["check"], warning["subject"]) for warning in report["warnings"]] == [
        ("skew", "price, eval against train")
    ]
    assert (report["drift_against"], report["drift"], report["is_blocked"]) == (None, [], False)


def test_drift_blocks_names_the_feature_and_the_gate_raises(run):
    earlier = {**SAME, "train": split(59), "catalog": split(0, titles=("a", "a", "a", "b"))}
    report, health, statistics = run(SAME, earlier, drift="block", max_drift_distance=0.1)
    surface, title = found(report, "drift")["surface", "train / earlier train"], ("title", "catalog / earlier catalog")
    assert surface == (pytest.approx(0.09), 0.1)
    assert found(report, "drift")[title] == (pytest.approx(0.25), 0.1)
    assert [warning["subject"] for warning in report["warnings"]] == ["title, catalog against earlier catalog"]
    assert report["drift_against"]
    with pytest.raises(ValueError, match=r"blocks the run\. drift: feature 'title', catalog against earlier catalog"):
        HealthGate.test_call(health=health, statistics=statistics, code_digest="")


@pytest.mark.parametrize(("num_rows", "subjects"), [(200, []), (202, ["rows of train"]), (49, ["rows of train"])])
def test_half_or_twice_the_rows_are_the_bound(run, num_rows, subjects):
    report, _, _ = run({**SAME, "train": split(num_rows // 2, num_rows=num_rows)}, SAME)
    warnings = {warning["subject"]: warning for warning in report["warnings"] if warning["check"] == "drift"}
    assert list(warnings) == subjects
    if subjects:
        assert warnings["rows of train"]["value"] == num_rows / 100
        assert f"has {num_rows} rows and had 100" in warnings["rows of train"]["message"]


def test_a_feature_that_lost_all_values_is_named(run):
    lost = {name: frame.drop(columns="price") for name, frame in SAME.items()}
    report, health, statistics = run(lost, SAME)
    assert [warning["subject"] for warning in report["warnings"]] == ["price, catalog", "price, train"]
    assert "is its column gone or empty?" in report["warnings"][0]["message"]
    HealthGate.test_call(health=health, statistics=statistics, code_digest="")  # a warning lets it pass
