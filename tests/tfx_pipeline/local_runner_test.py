import json
from pathlib import Path

import pytest

from tfx_pipeline.local_runner import RunError
from tfx_pipeline.local_runner import exit_status
from tfx_pipeline.local_runner import require_push
from tfx_pipeline.local_runner import write_figures


class Record:
    def __init__(self, *unfinished, pushed_version=None):
        self.unfinished, self.pushed_version = unfinished, pushed_version


@pytest.mark.parametrize(
    ("record", "metrics", "stop", "message"),
    [
        (Record("Trainer", "Indexer"), {}, None, "these components did not complete: Trainer, Indexer"),
        (Record("Trainer"), {}, RunError("ValueError: no rows"), "ValueError: no rows"),
        (Record(), {"refusals": ["a", "b"]}, None, "the gate refused the model: a; b"),
        (Record(), {"refusals": []}, None, "the Pusher did not push; a blessing is missing"),
    ],
)
def test_a_run_without_a_push_says_why_and_where_its_report_is(record, metrics, stop, message, capsys):
    def run():
        require_push(record, metrics, stop=stop, page=Path("root/report/index.html"))

    assert exit_status(run, log_file=Path("root/a.log")) == 1
    last = "The whole log: root/a.log; the report: root/report/index.html"
    assert capsys.readouterr().err.splitlines() == [f"Not pushed: {message}", last]


def test_without_a_report_none_is_named(capsys):
    assert exit_status(lambda: require_push(Record("Trainer"), {}), log_file=Path("a.log")) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "The whole log: a.log"


def test_a_push_is_no_error(capsys):
    require_push(Record(pushed_version="7"), {"refusals": []})
    assert exit_status(lambda: "done", log_file=Path("a.log")) == 0
    assert capsys.readouterr().out == "done\n"


@pytest.mark.parametrize(("is_blocked", "names"), [(True, ["metrics.json", "report"]), (False, [])])
def test_a_run_that_data_health_stopped_leaves_its_report_and_any_other_leaves_the_last_one(
    tmp_path, is_blocked, names
):
    from ml_metadata.proto import metadata_store_pb2 as pb

    from tfx_pipeline.configs import build_config
    from tfx_pipeline.run_record import RunRecord

    warning = {"check": "volume", "mode": "block", "message": "no conversions since Monday"}
    (tmp_path / "health").mkdir()
    (tmp_path / "health/health.json").write_text(json.dumps({"is_blocked": is_blocked, "warnings": [warning]}))
    record = RunRecord(("HealthGate",), {"DataHealth.health": pb.Artifact(uri=str(tmp_path / "health"))})
    root, config = tmp_path / "root", build_config("tables")
    root.mkdir()
    metrics, page = write_figures(root, record, {"source": "tables"}, config, stop=RunError("a reason"))
    assert sorted(path.name for path in root.iterdir()) == names
    assert (page == root / "report/index.html", bool(metrics)) == (is_blocked, is_blocked)
    if page:
        assert "volume: no conversions since Monday" in page.read_text()
