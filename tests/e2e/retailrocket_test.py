"""A real data set whole: RetailRocket's clicks, add-to-carts and purchases to a pushed retriever."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def test_retailrocket_beats_popularity_on_all_and_on_new(shared_data: Path, tmp_path: Path, runner_type: type) -> None:
    runner = runner_type(tmp_path / "root", "--source=retailrocket", f"--data={shared_data / 'retailrocket'}")
    finished = runner.run()
    assert finished.returncode == 0, finished.stderr
    metrics = json.loads((runner.root / "metrics.json").read_text())
    assert runner.versions == [metrics["pushed_version"]]
    assert metrics["examples"]["counts"]["events.rows"] == 97_381  # as the data's own description says
    for kind in ("all", "new"):
        values = metrics["eval"][kind]
        assert values["model"]["recall@100"] > 1.5 * values["popularity"]["recall@100"]
