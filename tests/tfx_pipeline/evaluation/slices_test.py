import dataclasses

import numpy as np
import pytest

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.facts import Facts
from tfx_pipeline.evaluation.gates import gates
from tfx_pipeline.evaluation.slices import Ranked
from tfx_pipeline.evaluation.slices import slice_records

NUM_ROWS = 2_000
SURFACES = np.where(np.arange(NUM_ROWS) % 4 == 0, "search", "home")
IS_NEW = np.arange(NUM_ROWS) % 2 == 0


def ranked(model, baseline=None):
    """Rows of which the given share by surface are found at once, else never; every user has two."""
    facts = Facts(
        users=np.arange(NUM_ROWS) // 2,
        events=np.where(np.arange(NUM_ROWS) % 3 == 0, "add_to_cart", "purchase"),
        values=np.full(NUM_ROWS, np.nan),
        slices={"surface": SURFACES},
    )

    def ranks_of(shares):
        random = np.random.default_rng(1)
        found = np.where(random.random(NUM_ROWS) < np.vectorize(shares.get)(SURFACES), 0.0, 5_000.0)
        return found, found

    ranks = {"model": ranks_of(model), "popularity": ranks_of({"home": 0.1, "search": 0.1})}
    return Ranked(facts, IS_NEW, ranks if baseline is None else {**ranks, "baseline": ranks_of(baseline)})


def record(records, **keys):
    (found,) = (r for r in records if {name: r[name] for name in keys} == keys)
    return found


def measured(records):
    """What the gates read beside the records; nothing that would refuse."""
    recalls = {"recall@100": 0.5, "recall@10": 0.5}
    values = {"num_rows": NUM_ROWS, "model": recalls, "popularity": {"recall@100": 0.1, "recall@10": 0.1}}
    return {"eval": {"all": values, "new": values}, "index": {"recall@100_of_exact": 1.0}, "slices": records}


@pytest.fixture(scope="module")
def config():
    return EvaluationConfig(gate_slices=("surface",))


def test_records_hold_support_values_and_intervals(config):
    given = ranked({"home": 0.6, "search": 0.4})
    records = slice_records("conversion", given, config)
    hits = given.ranks["model"][0] < 100
    found = record(records, task="conversion", slice="surface", value="search", novelty="all", metric="recall@100")
    assert (found["num_rows"], found["num_users"]) == (500, 500)
    assert found["model"]["value"] == pytest.approx(hits[SURFACES == "search"].mean())
    assert found["model"]["low"] < found["model"]["value"] < found["model"]["high"]
    assert found["baseline"] is found["change"] is None
    new = record(records, task="conversion", slice="overall", novelty="new", metric="recall@10")
    assert new["num_rows"] == 1_000
    assert new["model"]["value"] == pytest.approx(hits[IS_NEW].mean())
    assert record(records, task="purchase", novelty="all")["num_rows"] == np.sum(np.arange(NUM_ROWS) % 3 != 0)
    assert not [r for r in records if r["metric"] == "value_recall@100"]  # no row has a value


def test_bands_come_in_their_order(config):
    given = ranked({"home": 0.6, "search": 0.4})
    bands = np.array(["6-20", "21+", "0", "up to 90 days", "older"])[np.arange(NUM_ROWS) % 5]
    facts = dataclasses.replace(given.facts, slices={"band": bands})
    records = slice_records("conversion", given._replace(facts=facts), config)
    found = [r["value"] for r in records if r["slice"] == "band" and r["novelty"] == "all"]
    assert found == ["0", "6-20", "21+", "up to 90 days", "older"]


def test_small_slices_have_no_record(config):
    records = slice_records("conversion", ranked({"home": 0.5, "search": 0.5}), EvaluationConfig(min_slice_rows=501))
    assert {r["value"] for r in records if r["slice"] == "surface" and r["novelty"] == "all"} == {"home"}


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ({"home": 0.5, "search": 0.5}, []),  # the same
        ({"home": 0.6, "search": 0.55}, []),  # better
        ({"home": 0.7, "search": 0.3}, ["surface=search"]),  # better on average, worse where a quarter of the rows is
        ({"home": 0.4, "search": 0.5}, ["overall", "new", "surface=home"]),
        ({"home": 0.495, "search": 0.495}, []),  # within what two trainings of a model differ by
    ],
)
def test_a_model_that_is_worse_than_the_last_blessed_one_is_refused(config, model, refused):
    records = slice_records("conversion", ranked(model, {"home": 0.5, "search": 0.5}), config)
    found = [gate for gate in gates(measured(records), config) if not gate.is_passed]
    assert [gate.slice for gate in found] == refused
    for gate in found:
        assert "Look at this slice in the report" in gate.message
        assert f"eval, {gate.slice} (" in gate.message
        assert "the last blessed model's" in gate.message


def test_a_slice_that_is_not_gated_refuses_nothing():
    config = EvaluationConfig(gate_slices=())
    records = slice_records("conversion", ranked({"home": 0.7, "search": 0.3}, {"home": 0.5, "search": 0.5}), config)
    assert all(gate.is_passed for gate in gates(measured(records), config))


def test_chance_does_not_refuse():
    """A fall of 8% of 100 rows is no evidence."""
    config = EvaluationConfig(gate_slices=("surface",), min_slice_rows=1)
    given = ranked({"home": 0.5, "search": 0.46}, {"home": 0.5, "search": 0.5})
    few = np.flatnonzero(SURFACES == "search")[:100]
    ranks = {name: tuple(of[few] for of in found) for name, found in given.ranks.items()}
    facts = Facts(
        *(getattr(given.facts, name)[few] for name in ("users", "events", "values")), {"surface": SURFACES[few]}
    )
    records = slice_records("conversion", Ranked(facts, IS_NEW[few], ranks), config)
    found = record(records, task="conversion", slice="surface", novelty="all")
    assert found["change"]["value"] < -0.05 * found["baseline"]["value"]
    assert all(gate.is_passed for gate in gates(measured(records), config))


def test_a_recall_below_the_least_is_refused(config):
    metrics = measured([])
    for least, is_passed in ((0.5, True), (0.51, False)):
        found = gates(metrics, EvaluationConfig(min_recall=least))
        assert found[0].gate == "evaluation.min_recall"
        assert found[0].is_passed == is_passed
