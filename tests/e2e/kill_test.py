"""Kills the run in every component in turn; each restart goes on, the last one pushes a model that answers."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kill

_COMPONENTS = (
    "ImportSchemaGen",
    "MarketplaceExampleGen",
    "StatisticsGen",
    "SchemaValidator",
    "SkewValidator",
    "DriftValidator",
    "DataHealth",
    "HealthGate",
    "Transform",
    "Trainer",
    "Indexer",
    "RetrievalEvaluator",
    "ServerValidator",
    "VersionedPusher",
)


def test_killed_in_every_component(tmp_path: Path, runner_type: type) -> None:
    runner = runner_type(
        tmp_path / "root",
        "--source=marketplace_simulator",
        "--set=source.num_users=200",
        "--set=source.num_items=300",
        "--set=trainer.batch_size=256",
        "--set=evaluation.min_lift=0",
        "--set=evaluation.min_lift_new=0",
    )
    for component in _COMPONENTS:
        runner.kill_in(component)
        assert [name for name in runner.versions if name.isdigit()] == []
    finished = runner.run()
    assert finished.returncode == 0, finished.stderr
    metrics = json.loads((runner.root / "metrics.json").read_text())
    assert runner.versions == [metrics["pushed_version"]]


_REFRESH_COMPONENTS = (
    "CatalogExampleGen",
    "StatisticsGen",
    "SchemaValidator",
    "Indexer",
    "RefreshEvaluator",
    "ServerValidator",
    "VersionedPusher",
)


def test_a_refresh_killed_in_every_component(simulated: Any, runner_type: type) -> None:
    items = simulated.runner.root / "tables" / "items"
    refresh = runner_type(simulated.runner.root, module="tfx_pipeline.refresh")
    before = refresh.versions
    for component in _REFRESH_COMPONENTS:
        refresh.kill_in(component, f"--items={items}")
        assert [name for name in refresh.versions if name.isdigit()] == before
    finished = refresh.run(f"--items={items}")
    assert finished.returncode == 0, finished.stderr
    metrics = json.loads((refresh.root / "refresh.json").read_text())
    assert refresh.versions == [*before, metrics["pushed_version"]]
    assert (metrics["num_new"], metrics["num_removed"]) == (0, 0)
