import json
import shutil

from tfx_pipeline.report.plots import Interval
from tfx_pipeline.report.trend import read_trend


def test_every_evaluation_is_there_in_order_the_refused_and_refreshes_too(tmp_path, metrics, evaluated):
    old = {name: metrics[name] for name in ("model_version", "index_version", "eval", "blessed", "refusals")}
    evaluated(1, json.dumps({**old, "index_version": "1", "blessed": False, "refusals": ["no"]}))
    gone = evaluated(2, json.dumps(old))
    evaluated(3, json.dumps({**old, "num_served": 5}))
    evaluated(4, json.dumps(metrics))
    shutil.rmtree(gone)
    found = read_trend(tmp_path)
    assert [evaluation.version for evaluation in found] == ["1", "20260101", "20260101"]
    assert [evaluation.is_blessed for evaluation in found] == [False, True, True]
    assert [evaluation.is_refresh for evaluation in found] == [False, True, False]
    assert found[0].refusals == ["no"]
    assert found[0].recalls["all"] == (Interval(0.22222), Interval(0.055559))
    assert found[2].recalls["new"].model == Interval(0.101234, 0.101234 - 0.01, 0.101234 + 0.01)


def test_a_root_that_was_moved_keeps_its_trend(tmp_path, metrics, evaluated):
    evaluated(1, json.dumps(metrics))
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("metadata.sqlite", "artifacts"):
        shutil.move(tmp_path / name, moved / name)
    assert [evaluation.version for evaluation in read_trend(moved)] == ["20260101"]


def test_a_root_without_ml_metadata_has_none(tmp_path):
    assert read_trend(tmp_path) == []
