import json

import pytest
from parsed_page import ParsedPage

from tfx_pipeline.report.__main__ import main


@pytest.fixture
def root(tmp_path, metrics):
    (tmp_path / "pushed").mkdir()
    later = {**metrics, "slices": metrics["slices"][:3], "config": {"trainer": {"epochs": 9, "patience": 6}}}
    later["slices"][0] = {**later["slices"][0], "model": {"value": 0.5, "low": 0.4, "high": 0.6}}
    for name, found in {"metrics": later, "pushed/20260101": metrics}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    return tmp_path


def test_it_rebuilds_the_last_runs_page_and_says_where(root, capsys):
    assert main([f"--root={root}"]) == 0
    assert capsys.readouterr().out == f"{root}/report/index.html\n"
    assert "0.5000" in ParsedPage((root / "report/index.html").read_text()).text["headline"]


def test_two_runs_stand_side_by_side(root, capsys):
    assert main([f"--root={root}", "--compare=20260101, last"]) == 0
    path = root / "report/compare-20260101-last.html"
    assert capsys.readouterr().out == f"{path}\n"
    found = ParsedPage(path.read_text())
    assert found.sections == ["verdict-A", "verdict-B", "headline", "slices", "curves", "configuration", "versions"]
    assert {value for value in found.loads if not value.startswith("#")} == set()
    assert found.unclosed == []
    row = next(row for row in found.rows["headline"] if row[:2] == ["recall@100", "conversion, all"])
    assert row[2:5] == ["0.2123 0.2023–0.2223", "0.5000 0.4000–0.6000", "+0.2877"]  # noqa: RUF001
    only_a = next(row for row in found.rows["headline"] if row[:2] == ["recall@10", "purchase, all"])
    assert only_a[3:5] == ["–", "–"]  # noqa: RUF001
    assert ["trainer.epochs", "7", "9"] in found.rows["configuration"]
    assert [row for row in found.rows["configuration"] if "patience" in row[0]] == []
    assert "No difference." in found.text["versions"]
    assert "recall@100 by surface of run A and run B" in found.text["slices"]


def test_runs_on_different_data_are_said_to_be(root, capsys):
    other = json.loads((root / "metrics.json").read_text())
    other["eval"]["all"]["num_rows"] = 5
    (root / "other.json").write_text(json.dumps(other))
    for run, is_other in (("last", False), (str(root / "other.json"), True)):
        assert main([f"--root={root}", f"--compare=20260101,{run}"]) == 0
        page = capsys.readouterr().out.strip()
        with open(page) as file:
            assert ("different data" in file.read()) == is_other


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--compare=1,20260101", "(20260101, last), a metrics.json, or a root. Received: '1'"),
        ("--compare=20260101", "--compare must be two runs"),
        ("--compare=a,b,c", "--compare must be two runs"),
    ],
)
def test_wrong_runs_end_with_what_to_do(root, capsys, flag, message):
    assert main([f"--root={root}", flag]) == 2
    assert message in capsys.readouterr().err
    assert not (root / "report").exists()


def test_a_folder_without_a_run_says_so(tmp_path, capsys):
    assert main([f"--root={tmp_path}"]) == 2
    assert "metrics.json" in capsys.readouterr().err
