import json

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_pipeline.configs import build_config
from tfx_pipeline.report.metrics_file import read_pushed_metrics
from tfx_pipeline.report.metrics_file import write_blocked_metrics
from tfx_pipeline.report.metrics_file import write_metrics
from tfx_pipeline.run_record import RunRecord


def test_what_pushed_a_version_is_kept_when_a_later_run_is_refused(tmp_path):
    def run(version, num_items):
        """A run that measured so many items and pushed the version, if any."""
        (tmp_path / "evaluation").mkdir(exist_ok=True)
        (tmp_path / "evaluation/metrics.json").write_text(json.dumps({"num_items": num_items}))
        pushed = pb.Artifact()
        pushed.custom_properties["pushed"].int_value = int(version is not None)
        pushed.custom_properties["pushed_version"].string_value = version or ""
        artifacts = {
            "RetrievalEvaluator.evaluation": pb.Artifact(uri=str(tmp_path / "evaluation")),
            "VersionedPusher.pushed_model": pushed,
        }
        write_metrics(tmp_path, RunRecord((), artifacts), {"source": "tables"}, build_config("tables"))

    run("7", 10)
    run(None, 11)
    assert json.loads((tmp_path / "metrics.json").read_text())["num_items"] == 11
    kept = read_pushed_metrics(tmp_path, "7")
    assert (kept["num_items"], kept["pushed_version"], kept["config"]["index"]["kind"]) == (10, "7", "auto")
    with pytest.raises(ValueError, match="The run that pushed version 8 has not come to its end"):
        read_pushed_metrics(tmp_path, "8")


def test_what_every_component_measured_is_there_with_what_it_was_made_with(tmp_path):
    written = {"Trainer.model_run": "training", "Indexer.retriever": "tuning", "DataHealth.health": "health"}
    artifacts = {}
    for key, name in {**written, "RetrievalEvaluator.evaluation": "metrics"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.json").write_text(json.dumps({"of": name}))
        artifacts[key] = pb.Artifact(uri=str(tmp_path / name))
    record, config = RunRecord((), artifacts, {"Trainer": 1.5}), build_config("tables")
    metrics = write_metrics(tmp_path, record, {"source": "tables"}, config)
    assert {name: metrics[name] for name in written.values()} == {name: {"of": name} for name in written.values()}
    assert (metrics["of"], metrics["versions"]["tensorflow"]) == ("metrics", "2.16.2")
    assert metrics["seconds"] == {"Trainer": 1.5}
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    for name in ("training", "tuning"):  # of a run from before they were written
        (tmp_path / name / f"{name}.json").unlink()
    assert not {"training", "tuning"} & set(write_metrics(tmp_path, record, {"source": "tables"}, config))


@pytest.mark.parametrize("is_blocked", [True, False])
def test_only_a_run_that_data_health_stopped_leaves_metrics_without_an_evaluation(tmp_path, is_blocked):
    (tmp_path / "health").mkdir()
    (tmp_path / "health/health.json").write_text(json.dumps({"is_blocked": is_blocked}))
    record = RunRecord(("HealthGate",), {"DataHealth.health": pb.Artifact(uri=str(tmp_path / "health"))})
    config, facts = build_config("tables"), {"source": "tables"}
    assert write_metrics(tmp_path, record, facts, config) == {}
    returned = write_blocked_metrics(tmp_path, record, facts, config, reason="volume")
    assert (tmp_path / "metrics.json").exists() == is_blocked
    if is_blocked:
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        assert (metrics["health"], metrics["pushed_version"]) == ({"is_blocked": True}, None)
        assert metrics["data"]["source"] == "tables"
        assert metrics["stopped"] == returned["stopped"] == "volume"
