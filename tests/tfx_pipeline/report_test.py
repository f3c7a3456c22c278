import json
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_pipeline.configs import build_config
from tfx_pipeline.report import read_pushed_metrics
from tfx_pipeline.report import summary
from tfx_pipeline.report import write_metrics
from tfx_pipeline.run_record import RunRecord


def recalls(model, popularity, **number):
    names = ("recall@10", "recall@100", "recall@1000")
    return {
        **number,
        "model": dict(zip(names, model, strict=True)),
        "popularity": dict(zip(names, popularity, strict=True)),
    }


def metrics(num_with_history):
    users = recalls((0.1, 0.25, 0.5), (0.0, 0.125, 0.4), num_users=3)
    return {
        "pushed_version": "7",
        "num_items": 1234,
        "index": {"kind": "exact"},
        "data": {"source": "tables", "kind": "", "notice": ""},
        "eval": {
            "all": recalls((0.2, 0.5, 1.0), (0.1, 0.2, 0.9), num_rows=1500),
            "new": recalls((None,) * 3, (None,) * 3, num_rows=0),
        },
        "queries": {"all": users, "all_with_history": {**users, "num_users": num_with_history}},
    }


def test_the_summary_is_a_table_of_recall():
    lines = summary(metrics(2), seconds=12.3, root=Path("run")).splitlines()
    assert lines[1] == "Pushed version 7 to run/serving in 12 s (1,234 items, index exact)"
    assert lines[2] == "Data: tables (brought by the user)"
    found = [" ".join(line.split()) for line in lines[4:]]
    assert found == [
        "recall over the whole catalogue @10 @100 @1000",
        "eval, each conversion, all (1,500): model 0.200 0.500 1.000",
        "eval, each conversion, all (1,500): popularity 0.100 0.200 0.900",
        "eval, each conversion, new (0): model none none none",
        "eval, each conversion, new (0): popularity none none none",
        "queries, mean of users, all (3): model 0.100 0.250 0.500",
        "queries, mean of users, all (3): popularity 0.000 0.125 0.400",
        "queries, mean of users, all with history (2): model 0.100 0.250 0.500",
        "queries, mean of users, all with history (2): popularity 0.000 0.125 0.400",
    ]
    assert len({len(line) for line in lines[4:]}) == 1


def test_where_all_users_have_a_history_it_is_not_said_twice():
    assert "with history" not in summary(metrics(3), seconds=12.3, root=Path("run"))


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
