"""Kills the run in every component in turn; each restart goes on, the last one pushes a model that answers."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.kill

_COMPONENTS = (
    "ImportSchemaGen",
    "MarketplaceExampleGen",
    "StatisticsGen",
    "SchemaValidator",
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
