"""The whole chain on a tiny simulated market: killed twice, resumed, served, queried, refused."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.client import RetrieverClient

pytestmark = pytest.mark.e2e

_TOWERS_ALONE = ["--set=evaluation.min_lift=1000", "--set=trainer.num_neighbors=0"]
"""Nothing is pushed, and what is measured is learned by steps: neighbours are counted before the first."""


@pytest.fixture(scope="module")
def runner(simulated: Any) -> Any:
    return simulated.runner


@pytest.fixture(scope="module")
def metrics(simulated: Any) -> dict:
    assert simulated.finished.returncode == 0, simulated.finished.stderr
    return json.loads((simulated.runner.root / "metrics.json").read_text())


@pytest.fixture(scope="module")
def address(runner: Any, metrics: dict, model_server: Any) -> Iterator[str]:
    with model_server(runner.root / "serving" / "retriever") as address:
        yield address


def test_a_killed_run_pushes_nothing(simulated: Any) -> None:
    assert simulated.versions_after_kills == [[], []]


def test_the_resumed_run_pushes_the_version_that_the_metrics_name(runner: Any, metrics: dict) -> None:
    assert runner.versions == [metrics["pushed_version"]]
    assert metrics["model_version"] == metrics["index_version"] == metrics["pushed_version"]


def test_the_resumed_run_does_not_repeat_finished_components(simulated: Any) -> None:
    # ExampleGen completed in the second run: from the cache it takes no time worth a second.
    seconds = re.search(r"MarketplaceExampleGen\n\s+done in (\d+) s", simulated.finished.stderr)
    assert seconds
    assert int(seconds.group(1)) <= 2


def test_what_each_component_took_is_told(simulated: Any, metrics: dict) -> None:
    assert metrics["seconds"]["MarketplaceExampleGen"] == 0  # from the cache
    assert metrics["seconds"]["Trainer"] > 1
    assert re.search(r"^Time \[s\]: (?=.*Trainer \d+).*all else \d+$", simulated.finished.stdout, re.MULTILINE)


def test_the_resumed_training_goes_on_after_its_last_save(runner: Any, simulated: Any) -> None:
    resumed = re.search(r"Training resumes after step (\d+) of (\d+)", simulated.finished.stderr)
    assert resumed
    assert 0 < int(resumed.group(1)) < int(resumed.group(2))
    assert not (runner.root / "training").exists()
    (written,) = (runner.root / "artifacts" / "Trainer" / "model_run").glob("*/training.json")
    curves = json.loads(written.read_text())
    steps = [point["step"] for point in curves["steps"]]
    assert steps == list(range(0, curves["num_steps"] + 1, curves["every_steps"]))


def test_the_model_beats_popularity_and_not_the_best_possible(metrics: dict) -> None:
    values = metrics["eval"]["all"]
    assert values["num_rows"] > 200
    assert values["model"]["recall@100"] > 1.1 * values["popularity"]["recall@100"]
    assert values["model"]["recall@100"] < values["best_possible"]["recall@100"] * 1.05
    share = values["model"]["recall@100"] / values["best_possible"]["recall@100"]
    assert values["share_of_best_possible"]["recall@100"] == pytest.approx(share)


def test_served_answers_name_the_pushed_version_and_items_of_the_catalogue(address: str, metrics: dict) -> None:
    with RetrieverClient(address) as client:
        (answer,) = client.retrieve([{"surface": "home"}], k=500)
    assert (answer.model_version, answer.index_version) == (metrics["pushed_version"],) * 2
    assert len(set(answer.item_ids)) == metrics["num_items"] == 500


def test_the_pushed_version_is_listed_and_its_vectors_are_exported(runner: Any, metrics: dict, project: Path) -> None:
    def run(module: str, *arguments: str) -> str:
        command = [sys.executable, "-m", f"tfx_pipeline.{module}", f"--root={runner.root}", *arguments]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout

    version, kind = metrics["pushed_version"], metrics["index"]["kind"]
    (row,) = run("rollback", "--list").splitlines()[1:]
    assert row.split()[:4] == [version, "served", version, kind]
    assert (runner.root / "logs" / f"{row.split()[4]}.log").is_file()
    told = run("export_vectors", f"--to={runner.root / 'vectors'}")
    assert told.startswith(f"500 vectors of version {version} in 1 files: ")


def test_the_query_command_shows_a_history_beside_titles(address: str, runner: Any, project: Path) -> None:
    snapshot = runner.root / "serving" / "user_snapshot.sqlite"
    command = [
        sys.executable,
        "-m",
        "serving.query",
        f"--server={address}",
        "--user=no-such-user",
        f"--snapshot={snapshot}",
    ]
    unknown = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert unknown.returncode != 0
    user = re.search(r"(u\w*\d+)", unknown.stderr.split("no-such-user", 1)[1])
    assert user, unknown.stderr
    command[4] = f"--user={user.group(1)}"
    answer = subprocess.run([*command, "--k=5", "--json"], cwd=project, capture_output=True, text=True, check=True)
    assert user.group(1) in answer.stdout


@pytest.fixture(scope="module")
def hardly_trained(runner: Any, metrics: dict) -> tuple[subprocess.CompletedProcess, dict]:
    """A run of two steps on the same examples, whose model no gate lets through; and its metrics."""
    refused = runner.run(*_TOWERS_ALONE, "--set=trainer.max_steps=2")
    return refused, json.loads((runner.root / "metrics.json").read_text())


@pytest.fixture(scope="module")
def trained_alone(runner: Any, hardly_trained: tuple[subprocess.CompletedProcess, dict]) -> dict:
    """Metrics of towers without neighbours, trained to the end."""
    runner.run(*_TOWERS_ALONE)
    return json.loads((runner.root / "metrics.json").read_text())


def test_a_refused_model_is_not_pushed_and_the_reason_names_the_gate(
    runner: Any, metrics: dict, hardly_trained: tuple[subprocess.CompletedProcess, dict]
) -> None:
    refused, its_metrics = hardly_trained
    assert refused.returncode == 1
    assert "evaluation.min_lift" in refused.stderr.splitlines()[-2]
    assert its_metrics["pushed_version"] is None
    assert runner.versions == [metrics["pushed_version"]]


@pytest.mark.parametrize("kind", ["all", "new"])
def test_the_share_of_the_best_possible_rises_with_training(
    trained_alone: dict, hardly_trained: tuple[subprocess.CompletedProcess, dict], kind: str
) -> None:
    little, much = (
        found["eval"][kind]["share_of_best_possible"]["recall@100"] for found in (hardly_trained[1], trained_alone)
    )
    assert much > little + 0.05


def test_a_broken_table_ends_with_its_name_and_a_remedy(tmp_path: Path, runner_type: type) -> None:
    shards = {"events": ("user_id,item_id,event,when", "u,i,purchase,4"), "items": ("item_id,title", "i,a title")}
    for table, (header, row) in shards.items():
        (tmp_path / "data" / table).mkdir(parents=True)
        (tmp_path / "data" / table / "part.csv").write_text(f"{header}\n{row}\n")
    broken = runner_type(tmp_path / "root", "--source=tables", f"--data={tmp_path / 'data'}").run()
    assert broken.returncode in (1, 2)
    assert "has no column 'timestamp'" in broken.stderr
    assert not os.path.exists(tmp_path / "root" / "metrics.json")
