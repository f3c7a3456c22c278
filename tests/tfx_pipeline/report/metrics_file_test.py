import json

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_pipeline.configs import build_config
from tfx_pipeline.report.metrics_file import read_pushed_metrics
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


def test_what_every_component_measured_is_there_even_of_a_run_that_stopped(tmp_path):
    written = {"Trainer.model_run": "training", "Indexer.retriever": "tuning", "DataHealth.health": "health"}
    artifacts = {}
    for key, name in written.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.json").write_text(json.dumps({"of": name}))
        artifacts[key] = pb.Artifact(uri=str(tmp_path / name))
    artifacts["Trainer.model"] = pb.Artifact(uri=str(tmp_path / "no such folder"))
    record, config = RunRecord(("RetrievalEvaluator",), artifacts), build_config("tables")
    assert write_metrics(tmp_path, record, {"source": "tables"}, config) == {}  # without an evaluation, as ever
    metrics = write_metrics(tmp_path, record, {"source": "tables"}, config, stopped="data is bad")
    assert {name: metrics[name] for name in written.values()} == {name: {"of": name} for name in written.values()}
    assert metrics["stopped"] == "data is bad"
    assert metrics["versions"]["tensorflow"] == "2.16.2"
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics))


def test_a_run_that_stopped_before_anything_was_measured_writes_nothing(tmp_path):
    record = RunRecord(("DataHealth",), {})
    assert write_metrics(tmp_path, record, {"source": "tables"}, build_config("tables"), stopped="no data") == {}
    assert list(tmp_path.iterdir()) == []
