import pytest
from planted_labels import constant
from planted_labels import write_examples

from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.finding import Finding
from tfx_pipeline.health.finding import block_message
from tfx_pipeline.health.labels import Labels
from tfx_pipeline.health.report import console_lines
from tfx_pipeline.health.report import health_report

FAR = {"feature": "price", "splits": "train / earlier train", "measure": "jensen_shannon", "value": 0.4, "bound": 0.1}


@pytest.fixture
def report(tmp_path):
    """A run with duplicates, and a price that drifted."""

    def report(**options):
        config = HealthConfig(**options)
        counts = {"events.rows": 10, "events.dropped.duplicate": 2}
        uri = write_examples(tmp_path, advertisers={"a": constant(1)}, counts=counts)
        near = {**FAR, "feature": "age", "value": 0.1}  # at its bound
        return health_report(Labels.read(uri, config), config, skew=[near], drift=[FAR], drift_against="earlier")

    return report


def test_warnings_let_a_run_pass(report):
    found = report()
    assert not found["is_blocked"]
    assert [(w["check"], w["subject"], w["value"], w["bound"], w["mode"]) for w in found["warnings"]] == [
        ("duplicates", "events", 0.2, 0.05, "warn"),
        ("drift", "price, train against earlier train", 0.4, 0.1, "warn"),
    ]
    assert (len(found["skew"]), len(found["drift"]), found["drift_against"]) == (1, 1, "earlier")


def test_a_check_that_is_off_says_nothing(report):
    assert [warning["check"] for warning in report(duplicates="off")["warnings"]] == ["drift"]


def test_what_blocks_comes_first_and_names_check_subject_value_bound_and_remedy(report):
    found = report(drift="block")
    assert found["is_blocked"]
    assert [(warning["check"], warning["mode"]) for warning in found["warnings"]] == [
        ("drift", "block"),
        ("duplicates", "warn"),
    ]
    assert block_message(found["warnings"]) == (
        "Data health blocks the run. drift: feature 'price', train against earlier train: the Jensen-Shannon divergence is "
        "0.400, more than 0.1 (health.max_drift_divergence, or the feature's drift_comparator in the schema). To go on all the "
        "same: --set=health.drift=warn"
    )


def test_a_long_list_is_cut_and_says_where_the_rest_is():
    warnings = [{**Finding("drift", "x", 1, 0, f"x{n}")._asdict(), "mode": "block"} for n in range(7)]
    assert console_lines({"warnings": warnings}, file="metrics.json") == [
        *(f"Data health, drift: x{n}" for n in range(5)),
        "Data health: 2 more in metrics.json, health.warnings",
    ]
    assert "x0; drift: x1; drift: x2; and 4 more. To go on" in block_message(warnings)
    assert console_lines({"warnings": warnings[:5]}, file="")[-1] == "Data health, drift: x4"
    assert console_lines(None, file="") == []
