"""A real data set whole: RetailRocket's clicks, add-to-carts and purchases to a pushed retriever."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def test_retailrocket_whole_is_pushed_and_above_popularity(
    shared_data: Path, tmp_path: Path, runner_type: type
) -> None:
    gate = ("--set=evaluation.min_lift=1.5", "--set=evaluation.min_lift_new=0.85")
    data = shared_data / "retailrocket"
    runner = runner_type(tmp_path / "root", "--source=retailrocket", f"--data={data}", *gate)
    finished = runner.run()
    assert finished.returncode == 0, finished.stderr
    metrics = json.loads((runner.root / "metrics.json").read_text())
    assert runner.versions == [metrics["pushed_version"]]
    assert metrics["examples"]["counts"]["events.rows"] == 97_381  # as the data's own description says
    # 12,456 add-to-carts and 9,551 purchases: every conversion is in a split or counted as dropped.
    counts = metrics["examples"]["counts"]
    assert counts["conversions.attributed.click"] + counts["conversions.attributed.none"] == 12_456 + 9_551
    values = metrics["eval"]["all"]
    assert values["num_rows"] > 3_000
    assert values["model"]["recall@100"] > values["popularity"]["recall@100"]
