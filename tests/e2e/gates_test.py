"""What may replace what: a weak model, one that hides a slice's fall behind a better average, a better one, and a worse one."""

import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format

from tfx_pipeline.dataset import prepare_tables
from tfx_pipeline.evaluation.outcome_examples import FILE

pytestmark = pytest.mark.e2e

_EVAL_DAYS = 12
_OPTIONS = (
    "--source=tables",
    f"--schema={Path('schemas', 'marketplace_simulator.pbtxt')}",
    f"--set=examples.eval_days={_EVAL_DAYS}",
    "--set=trainer.epochs=6",
    "--set=trainer.batch_size=512",
    "--set=evaluation.gate_slices=category",
    "--set=evaluation.min_slice_rows=40",
)
_UNTRAINED = (
    "--set=trainer.max_steps=1",
    "--set=trainer.num_neighbors=0",
    "--set=trainer.validation_share=0",
    "--set=evaluation.min_lift=0",
    "--set=evaluation.min_lift_new=0",
)
_LEFT_OUT = {  # features of which no gate knows: without them a run takes a fifth less time
    "events": ["surface", "query", "subject_item_id"],
    "items": ["title", "embedding"],
    "users": ["age_group", "region"],
}


_TFMA = """
model_specs { name: "model" prediction_key: "model" label_key: "label" }
model_specs { name: "baseline" prediction_key: "baseline" label_key: "label" }
slicing_specs {}
slicing_specs { feature_keys: "category" }
metrics_specs { metrics { class_name: "MeanPrediction" } metrics { class_name: "ExampleCount" } }
"""


class Run(NamedTuple):
    """How a run ended: its process, the metrics, what was served after it, and the evaluation's folder."""

    process: subprocess.CompletedProcess
    metrics: dict
    versions: list[str]
    evaluation: Path


class Shop:
    """The simulated market as tables that a user brings, and what is done to what was before the evaluation period."""

    def __init__(self, tables: Path, folder: Path):
        self._folder = folder
        self.events, self.items, self._users = (
            pd.read_parquet(tables / name).drop(columns=columns) for name, columns in _LEFT_OUT.items()
        )
        moments_us = self.events["timestamp"].to_numpy()
        self.is_before = moments_us < moments_us.max() - _EVAL_DAYS * 86_400_000_000

    def with_events(self, name: str, events: pd.DataFrame) -> str:
        """The tables with other events; the flag that names them."""
        folder = self._folder / name
        for table, rows in (("events", events), ("items", self.items), ("users", self._users)):
            (folder / table).mkdir(parents=True)
            rows.to_parquet(folder / table / "part.parquet")
        return f"--data={folder}"

    def shuffled(self) -> pd.DataFrame:
        """Who acts on what before the period is by chance; each item has as many events as before."""
        events = self.events.copy()
        items = events.loc[self.is_before, "item_id"].to_numpy()
        events.loc[self.is_before, "item_id"] = np.random.default_rng(1).permutation(items)
        return events

    def without(self, category: str) -> pd.DataFrame:
        """Nothing is known of a category's items before the period."""
        gone = set(self.items.loc[self.items["category"].str.split(" > ").str[0] == category, "item_id"])
        return self.events[~(self.is_before & self.events["item_id"].isin(gone))]

    def category(self) -> str:
        """The rarest first level that has a twentieth of the conversions."""
        sold = self.events[self.events["event"].isin(["purchase", "add_to_cart"])].merge(self.items, on="item_id")
        shares = sold["category"].str.split(" > ").str[0].value_counts(normalize=True)
        return str(shares[shares > 1 / 20].index[-1])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A market of its own: these runs take as long as all others of the simulated one, and go beside them."""
    sizes = {"num_users": 400, "num_items": 500, "num_advertisers": 30, "num_categories": 10}
    tables = prepare_tables("marketplace_simulator", None, tmp_path_factory.mktemp("source"), sizes)
    return Shop(tables, tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def runs(shop: Shop, runner_type: type, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """By name, in this order, on one root."""
    runner = runner_type(tmp_path_factory.mktemp("gates") / "root", *_OPTIONS)
    whole = shop.with_events("whole", shop.events)
    done = {}
    for name, arguments in (
        ("untrained", (whole, *_UNTRAINED)),
        ("blind", (shop.with_events("blind", shop.without(shop.category())), "--set=trainer.warm_start=true")),
        ("trained", (whole,)),
        ("shuffled", (shop.with_events("shuffled", shop.shuffled()), "--set=evaluation.min_lift=0.5")),
    ):
        process = runner.run(*arguments)
        metrics = json.loads((runner.root / "metrics.json").read_text())
        folders = (runner.root / "artifacts" / "RetrievalEvaluator" / "evaluation").iterdir()
        newest = max(folders, key=lambda folder: int(folder.name))
        done[name] = Run(process, metrics, runner.versions, newest)
    return done


def recall(run: Run) -> float:
    return run.metrics["eval"]["all"]["model"]["recall@100"]


def test_the_first_run_has_nothing_to_be_compared_with(runs: dict[str, Run]) -> None:
    first = runs["untrained"]
    assert first.process.returncode == 0, first.process.stderr
    assert first.metrics["baseline"] is None
    assert first.versions == [first.metrics["pushed_version"]]


def test_a_slice_that_falls_behind_a_better_average_refuses_the_model(runs: dict[str, Run], shop: Shop) -> None:
    first, blind = runs["untrained"], runs["blind"]
    assert recall(blind) > recall(first)
    (failed,) = (gate for gate in blind.metrics["gates"] if not gate["is_passed"])
    assert failed["slice"] == f"category={shop.category()}"
    assert blind.process.returncode == 1
    assert "Not pushed: the gate refused the model" in blind.process.stderr
    assert f"eval, category={shop.category()} (" in blind.process.stderr
    assert "(evaluation.max_slice_regression=0.05). Look at this slice in the report" in blind.process.stderr
    assert blind.versions == first.versions


def test_a_warm_start_begins_with_the_weights_of_the_last_blessed_model(runs: dict[str, Run]) -> None:
    root = runs["untrained"].evaluation.parents[3]
    logs = "".join(file.read_text() for file in sorted((root / "logs").iterdir()))
    first, *_ = sorted((root / "artifacts" / "Trainer" / "model").iterdir(), key=lambda folder: int(folder.name))
    ((folder, taken, number),) = re.findall(r"Warm start from (\S+): (\d+) of (\d+) weights taken", logs)
    assert folder == str(first / "Format-Serving")
    assert int(taken) == int(number) > 20


def test_a_better_model_replaces_the_one_that_it_was_compared_with(runs: dict[str, Run]) -> None:
    first, trained = runs["untrained"], runs["trained"]
    assert trained.process.returncode == 0, trained.process.stderr
    assert trained.metrics["baseline"]["index_version"] == first.metrics["pushed_version"]  # not the refused one
    (overall,) = (
        record
        for record in trained.metrics["slices"]
        if (record["task"], record["slice"], record["novelty"], record["metric"])
        == ("conversion", "overall", "all", "recall@100")
    )
    # The last blessed one is measured again, on the same rows: its own figures come out.
    assert overall["baseline"]["value"] == pytest.approx(recall(first), abs=1e-9)
    assert overall["model"]["value"] == recall(trained)
    assert overall["change"]["low"] > 0
    assert trained.versions == [*first.versions, trained.metrics["pushed_version"]]


def test_a_model_of_shuffled_labels_is_refused_beside_the_last_blessed_one(runs: dict[str, Run]) -> None:
    trained, shuffled = runs["trained"], runs["shuffled"]
    assert shuffled.metrics["baseline"]["index_version"] == trained.metrics["pushed_version"]
    assert shuffled.process.returncode == 1
    refused = {gate["gate"]: gate for gate in shuffled.metrics["gates"] if not gate["is_passed"]}
    assert refused["evaluation.max_regression"]["value"] < refused["evaluation.max_regression"]["bound"]
    assert "the last blessed model's" in shuffled.process.stderr
    assert shuffled.versions == trained.versions


def test_tensorflow_model_analysis_reads_the_outcomes(runs: dict[str, Run], tmp_path: Path) -> None:
    import tensorflow_model_analysis as tfma

    run = runs["shuffled"]
    config = text_format.Parse(_TFMA, tfma.EvalConfig())
    tfma.run_model_analysis(eval_config=config, data_location=str(run.evaluation / FILE), output_path=str(tmp_path))
    for name in ("model", "baseline"):
        found = {
            keys: values[""][""]
            for keys, values in tfma.load_eval_result(str(tmp_path), model_name=name).slicing_metrics
        }
        records = [
            record
            for record in run.metrics["slices"]
            if (record["task"], record["novelty"], record["metric"]) == ("conversion", "all", "recall@100")
            and record["slice"] in ("overall", "category")
        ]
        assert len(records) > 3
        for record in records:
            keys = (("category", record["value"]),) if record["value"] else ()
            assert found[keys]["mean_prediction"]["doubleValue"] == pytest.approx(record[name]["value"], abs=1e-6)
            assert found[keys]["example_count"]["doubleValue"] == record["num_rows"]
