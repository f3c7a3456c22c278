"""The report of a whole run: it is there, says the verdict, has the training's curves, and is rebuilt as it was."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from parsed_page import ParsedPage

pytestmark = pytest.mark.e2e


def test_a_run_leaves_its_report_and_the_command_rebuilds_the_same(simulated: Any, project: Path) -> None:
    root = simulated.runner.root
    page = root / "report" / "index.html"
    assert simulated.finished.stdout.rstrip().endswith(f"Report: {page}")
    written = page.read_text()
    command = [sys.executable, "-m", "tfx_pipeline.report", f"--root={root}"]
    rebuilt = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert rebuilt.stdout == f"{page}\n"
    assert page.read_text() == written
    found, metrics = ParsedPage(written), json.loads((root / "metrics.json").read_text())
    recall = metrics["eval"]["all"]["model"]["recall@100"]
    assert f"{recall:.4f}" in found.text["headline"]
    assert "Loss per task" in found.text["training"]
    assert {value for value in found.loads if not value.startswith("#")} == set()
