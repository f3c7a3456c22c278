"""Data health of whole runs: what a good one measures, and one whose tables changed, which is stopped."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def health(simulated: Any) -> dict:
    assert simulated.finished.returncode == 0, simulated.finished.stderr
    return json.loads((simulated.runner.root / "metrics.json").read_text())["health"]


def test_the_first_run_has_nothing_to_drift_from(health: dict) -> None:
    assert (health["is_blocked"], health["drift_against"], health["drift"]) == (False, None, [])
    assert {found["splits"] for found in health["skew"]} == {"eval / train"}


def test_the_labels_add_up(simulated: Any, health: dict) -> None:
    counts = json.loads((simulated.runner.root / "metrics.json").read_text())["examples"]["counts"]
    conversions = sum(counts.get(f"conversions.attributed.{kind}", 0) for kind in ("click", "view", "none"))
    labels = health["labels"]
    assert sum(day["conversions"] for day in labels["conversions_per_day"]) == conversions > 1_000
    assert labels["unattributed_share"] == pytest.approx(counts["conversions.attributed.none"] / conversions)
    assert 0 < labels["lag_days"]["p10"] < labels["lag_days"]["p50"] < labels["lag_days"]["p99"] < 7.1
    assert labels["duplicates_share"] > 0
    assert len(labels["top_advertisers"]) == 10


@pytest.fixture(scope="module")
def drifted(simulated: Any, copied_root: Any, runner_type: type, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The market with 3 advertisers instead of 30, where drift blocks: the runner, what was served, and the run."""
    root: Path = copied_root(tmp_path_factory.mktemp("health") / "root")
    command = [*simulated.runner.arguments, "--set=source.num_advertisers=3", "--set=health.drift=block"]
    runner = runner_type(root, *command)
    before = runner.versions
    return runner, before, runner.run()


def test_a_run_whose_tables_drifted_is_stopped_and_pushes_nothing(drifted: Any) -> None:
    runner, before, run = drifted
    assert run.returncode == 1
    assert "Not pushed: ValueError: Data health blocks the run. drift: feature '" in run.stderr
    assert "--set=health.drift=warn" in run.stderr
    assert "] Transform" not in run.stderr
    assert len(before) == 1
    assert runner.versions == before


def test_what_stopped_it_is_in_the_metrics(drifted: Any) -> None:
    runner, _, _ = drifted
    metrics = json.loads((runner.root / "metrics.json").read_text())
    assert metrics["pushed_version"] is None
    assert metrics["health"]["is_blocked"]
    assert "UTC (statistics " in metrics["health"]["drift_against"]
    blocking = {found["subject"] for found in metrics["health"]["warnings"] if found["mode"] == "block"}
    assert "advertiser_id, train against earlier train" in blocking
    assert "advertiser_id, catalog against earlier catalog" in blocking
