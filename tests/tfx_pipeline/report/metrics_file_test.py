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
