import dataclasses
import logging

import numpy as np
import pytest
import tensorflow as tf
from planted_transform import write_records

from tfx_pipeline.evaluation.baseline import Baseline
from tfx_pipeline.evaluation.baseline import load_baseline
from tfx_pipeline.evaluation.baseline import rank_baseline
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.evaluate import Splits
from tfx_pipeline.evaluation.evaluate import evaluate
from tfx_pipeline.evaluation.measure import rank_rows
from tfx_pipeline.evaluation.outcome_examples import FILE
from tfx_pipeline.evaluation.outcome_examples import write_outcomes
from tfx_pipeline.evaluation.rows import read_eval_rows
from tfx_pipeline.index.catalog import Catalog


@pytest.fixture(scope="module")
def rows(market, towers, market_catalog):
    return read_eval_rows(market.raw_files["eval"], towers, market_catalog, max_rows=100, seed=1)


def test_the_same_retriever_has_the_same_ranks(rows, towers, market_catalog):
    found = rank_baseline(Baseline(towers, market_catalog, {}), rows, market_catalog)
    np.testing.assert_array_equal(found, rank_rows(rows, market_catalog, None)["model"])


def test_an_item_that_the_baseline_lacks_is_never_found_and_the_others_are_ranked_without_it(
    rows, towers, market_catalog
):
    gone = int(rows.targets[0])
    kept = np.delete(np.arange(len(market_catalog.item_ids)), gone)
    fewer = Catalog(**{f.name: getattr(market_catalog, f.name)[kept] for f in dataclasses.fields(market_catalog)})
    of_all, of_new = rank_baseline(Baseline(towers, fewer, {}), rows, market_catalog)
    is_gone = rows.targets == gone
    assert np.isinf(of_all[is_gone]).all()
    assert np.isinf(of_new[is_gone]).all()
    whole = rank_rows(rows, market_catalog, None)["model"][0][~is_gone]
    assert ((whole - of_all[~is_gone] >= 0) & (whole - of_all[~is_gone] <= 1)).all()
    assert (whole != of_all[~is_gone]).any()


@pytest.mark.parametrize("towers_folder", ["", "/no/such/folder"])
def test_what_is_gone_cannot_be_compared_with_and_it_is_said(towers_folder, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert load_baseline(towers_folder, tmp_path, {"model_version": "1", "index_version": "2"}) is None
    assert "The last blessed retriever, version 2, cannot be compared with" in caplog.text


@pytest.fixture(scope="module")
def evaluated(market, towers, market_catalog, tmp_path_factory):
    asked = [{**row, "target_item_ids": [row["item_id"]]} for row in market.evaluation[:20]]
    queries = write_records(tmp_path_factory.mktemp("queries") / "rows.gz", market.serialized(asked))
    splits = Splits(**{**{name: market.raw_files.get(name, []) for name in Splits._fields}, "queries": queries})
    config = EvaluationConfig(max_rows=200, min_slice_rows=5, bootstrap_samples=100)
    same = Baseline(towers, market_catalog, {})
    return evaluate(splits, towers, market_catalog, baseline=same, oracle=None, config=config)


def test_a_retriever_beside_itself_has_not_changed(evaluated):
    compared = [record for record in evaluated.metrics["slices"] if record["change"]]
    assert {record["slice"] for record in compared} > {"overall", "surface", "history_length", "category"}
    for record in compared:
        assert record["change"]["value"] == record["change"]["low"] == record["change"]["high"] == 0
        assert record["baseline"] == record["model"]
    assert evaluated.metrics["recall_curve"]["model"] == evaluated.metrics["recall_curve"]["baseline"]
    assert evaluated.metrics["retrieved"]["model"] == evaluated.metrics["retrieved"]["baseline"]


def test_the_overall_record_is_the_recall_of_the_rows(evaluated):
    (record,) = (
        r
        for r in evaluated.metrics["slices"]
        if (r["task"], r["slice"], r["novelty"], r["metric"]) == ("conversion", "overall", "all", "recall@10")
    )
    assert record["model"]["value"] == evaluated.metrics["eval"]["all"]["model"]["recall@10"]
    assert record["num_rows"] == evaluated.metrics["eval"]["all"]["num_rows"]


def test_sampled_users_have_histories_and_answers_with_titles(evaluated, market, market_catalog):
    samples = evaluated.metrics["samples"]
    known = {item_id.decode() for item_id in market_catalog.item_ids}
    assert len(samples) == 10
    assert any(sample["history"] and sample["history"][0]["age_days"] >= 0 for sample in samples)
    for sample in samples:
        assert len(sample["retrieved"]) == min(10, len(known))
        assert {item["item_id"] for item in sample["retrieved"]} <= known
        scores = [item["score"] for item in sample["retrieved"]]
        assert scores == sorted(scores, reverse=True)
        bought = {item["item_id"] for item in sample["bought"]}
        assert all(item["is_bought"] for item in sample["retrieved"] if item["item_id"] in bought)


def test_outcomes_are_examples_that_agree_with_the_recall(evaluated, tmp_path):
    write_outcomes(tmp_path, evaluated.conversions)
    spec = {
        **{
            name: tf.io.FixedLenFeature([], tf.float32)
            for name in ("label", "weight", "model", "popularity", "baseline")
        },
        **{name: tf.io.FixedLenFeature([], tf.string) for name in ("user_id", "novelty", "surface", "event")},
    }
    (batch,) = tf.data.TFRecordDataset(str(tmp_path / FILE), "GZIP").batch(10_000)
    parsed = {name: values.numpy() for name, values in tf.io.parse_example(batch, spec).items()}
    assert parsed["model"].mean() == pytest.approx(evaluated.metrics["eval"]["all"]["model"]["recall@100"])
    assert parsed["popularity"].mean() == pytest.approx(evaluated.metrics["eval"]["all"]["popularity"]["recall@100"])
    assert parsed["weight"].sum() == pytest.approx(len(set(parsed["user_id"])), rel=1e-5)
    np.testing.assert_array_equal(parsed["novelty"] == b"new", evaluated.rows.is_new)
