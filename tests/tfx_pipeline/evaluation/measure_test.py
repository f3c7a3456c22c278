import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from planted_catalog import catalog_of
from planted_transform import serialize
from planted_transform import write_records

from tfx_pipeline.evaluation import measure as measure_module
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.gates import refusals
from tfx_pipeline.evaluation.measure import measure_index
from tfx_pipeline.evaluation.measure import measure_rows as measure_ranks
from tfx_pipeline.evaluation.measure import measure_users
from tfx_pipeline.evaluation.measure import rank_rows
from tfx_pipeline.evaluation.rows import EvalRows
from tfx_pipeline.evaluation.rows import Queries
from tfx_pipeline.evaluation.rows import UserRows
from tfx_pipeline.evaluation.rows import eval_rows
from tfx_pipeline.evaluation.rows import positions
from tfx_pipeline.evaluation.rows import read_eval_rows
from tfx_pipeline.evaluation.rows import read_user_rows
from tfx_pipeline.evaluation.rows import without_gone
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.sources.oracle import Oracle

NUM_ITEMS = 40


def measure_rows(rows, catalog, oracle):
    return measure_ranks(rank_rows(rows, catalog, oracle), rows.is_new)


@pytest.fixture
def catalog():
    ids = np.array([f"i{number:02d}".encode() for number in range(NUM_ITEMS)])
    rates = np.arange(NUM_ITEMS, 0, -1, dtype=np.float32)  # item 0 is the most popular
    return catalog_of(ids, np.eye(NUM_ITEMS), positive_rates=rates, indices=np.arange(NUM_ITEMS) + 1)


def queries(vectors, repeats=(), bonuses=()):
    """With the repeats of the first rows; the others have none."""
    lists = [[*given, *[[]] * (len(vectors) - len(given))] for given in (repeats, bonuses)]
    places, values = ([np.array(found, kind) for found in rows] for rows, kind in zip(lists, (int, float), strict=True))
    return Queries(np.asarray(vectors, np.float32), places, values)


@pytest.fixture
def rows():
    """Four conversions: the model ranks the target first but in the last row, where it scores all others higher."""
    vectors = np.eye(NUM_ITEMS, dtype=np.float32)[[3, 15, 25, 35]]
    vectors[3] = 1.0 - vectors[3]
    known = [np.array([3, 0]), np.array([], int), np.array([1, 2, 30]), np.arange(30)]
    contexts = [("u", "home", "", "")] * 4
    is_new = np.array([False, True, True, True])
    return EvalRows(queries(vectors), np.array([3, 15, 25, 35]), is_new, known, contexts, [])


def oracle(*, bias):
    return Oracle(
        items={f"i{number:02d}": number for number in range(NUM_ITEMS)},
        item_vectors=np.zeros((NUM_ITEMS, 1), np.float32),
        bias=np.asarray(bias, np.float32),
        available_from_us=np.zeros(NUM_ITEMS, np.int64),
        users={"u": 0},
        user_vectors=np.ones((1, 1), np.float32),
        queries={},
        query_vectors=np.zeros((0, 1), np.float32),
        coefficients={"home": {"user": 1.0, "subject": 0.0, "query": 0.0}},
    )


def test_rows_are_measured_beside_popularity_and_the_best_possible(catalog, rows):
    best = np.zeros(NUM_ITEMS)
    best[[3, 15, 25, 35]] = 1.0  # the market's law: these four before all others, in any order
    found = measure_rows(rows, catalog, oracle(bias=best))
    assert found["all"] == {
        "num_rows": 4,
        "model": {"recall@10": 0.75, "recall@100": 1.0, "recall@1000": 1.0},  # the last has rank 39
        "popularity": {"recall@10": 0.25, "recall@100": 1.0, "recall@1000": 1.0},  # ranks 3, 15, 25, 35
        "best_possible": {"recall@10": 1.0, "recall@100": 1.0, "recall@1000": 1.0},
        "share_of_best_possible": {"recall@10": 0.75, "recall@100": 1.0, "recall@1000": 1.0},
    }
    # Among what the user had not converted on, the last row's target has rank 39 - 30 = 9 for the model, and for
    # popularity 35 - 30 = 5; the others' ranks are 15 and 25 - 2.
    assert found["new"]["num_rows"] == 3
    assert found["new"]["model"]["recall@10"] == 1.0
    assert found["new"]["popularity"]["recall@10"] == pytest.approx(1 / 3)


def test_bonuses_count_in_the_models_rank_alone(catalog, rows):
    repeats = [list(range(4, 16)), [], [], [35]]
    bonuses = [
        [2.0] * 12,
        [],
        [],
        [5.0],
    ]  # twelve items before the first row's target; the last row's target before all
    with_bonuses = dataclasses.replace(rows, queries=queries(rows.queries.vectors, repeats, bonuses))
    before, after = (measure_rows(given, catalog, None) for given in (rows, with_bonuses))
    assert before["all"]["model"]["recall@10"] == after["all"]["model"]["recall@10"] == 0.75
    after = measure_rows(dataclasses.replace(with_bonuses, is_new=np.array([True, False, False, False])), catalog, None)
    assert after["new"]["model"]["recall@10"] == 0.0
    after = measure_rows(dataclasses.replace(with_bonuses, is_new=np.array([False, False, False, True])), catalog, None)
    assert after["new"]["model"]["recall@10"] == 1.0
    assert before["all"]["popularity"] == after["all"]["popularity"]


def test_real_data_have_no_best_possible(catalog, rows):
    assert set(measure_rows(rows, catalog, None)["all"]) == {"num_rows", "model", "popularity"}


def test_users_are_measured_over_all_and_over_what_is_new(catalog):
    vectors = np.linspace(1, 0, NUM_ITEMS, dtype=np.float32)[np.newaxis].repeat(3, axis=0)  # ranks are positions
    targets = [np.array([2, 11]), np.array([], int), np.array([5])]
    known = [np.array([0, 2]), np.array([], int), np.array([5])]
    has_history = np.array([True, True, False])
    found = measure_users(UserRows(queries(vectors), targets, known, has_history), catalog)
    assert found["all"]["num_users"] == 2  # the second user bought nothing
    assert found["all"]["model"]["recall@10"] == 0.75  # a half and all
    assert found["new"]["num_users"] == 1
    assert found["new"]["model"]["recall@10"] == 1.0  # without items 0 and 2, item 11 has rank 9
    assert found["all"]["popularity"]["recall@10"] == 0.75  # the same order here
    assert found["all_with_history"]["num_users"] == 1
    assert found["all_with_history"]["model"]["recall@10"] == 0.5  # the third user had none
    assert found["new_with_history"]["popularity"]["recall@10"] == 1.0
    bonus = queries(vectors, [[11], [], list(range(6, 16))], [[1.0], [], [1.0] * 10])
    found = measure_users(UserRows(bonus, targets, known, has_history), catalog)
    assert found["all"]["model"]["recall@10"] == 0.5  # both; none, ten items came before it


class Served:
    """A stand-in for a loaded retriever that answers every query alike."""

    def __init__(self, answer):
        self.signatures = {"serving_default": lambda examples: {"item_ids": tf.constant([answer] * len(examples))}}


def test_the_index_is_measured_against_exact_search(catalog, rows):
    with_examples = dataclasses.replace(rows, examples=[b"", b"", b"", b""])
    everything = catalog.item_ids.tolist()
    assert measure_index(Served(everything), with_examples, catalog) == {"num_queries": 4, "recall@40_of_exact": 1.0}
    half = everything[:20] + [b"not an item"] * 20
    assert measure_index(Served(half), with_examples, catalog)["recall@40_of_exact"] == 0.5


def test_exact_search_knows_the_bonus(catalog, rows, monkeypatch):
    monkeypatch.setattr(measure_module.contract, "DEFAULT_K", 2)
    vectors = np.linspace(1, 0, NUM_ITEMS)[np.newaxis]
    one = {"examples": [b""], "queries": queries(vectors, [[39, 0]], [[3.0, -1.0]])}  # 39 comes first, then 1
    served = measure_index(Served([b"i01", b"i39"]), dataclasses.replace(rows, **one), catalog)
    assert served == {"num_queries": 1, "recall@2_of_exact": 1.0}


def test_without_rows_nothing_is_measured_and_the_model_is_refused(catalog):
    none = EvalRows(queries(np.zeros((0, 1))), np.zeros(0, int), np.zeros(0, bool), [], [], [])
    metrics = {"eval": measure_rows(none, catalog, None), "index": measure_index(Served([b"i00"]), none, catalog)}
    assert metrics["eval"]["all"]["num_rows"] == metrics["index"]["num_queries"] == 0
    assert math.isnan(metrics["index"]["recall@40_of_exact"])
    reasons = refusals(metrics, EvaluationConfig())
    assert reasons[0] == "eval.all: no conversion in the evaluation period. Move examples.cut or examples.eval_days"


def metrics(*, model=0.5, popularity=0.2, new_model=0.5, num_new=100, index=0.95):
    return {
        "eval": {
            "all": {"num_rows": 500, "model": {"recall@100": model}, "popularity": {"recall@100": popularity}},
            "new": {"num_rows": num_new, "model": {"recall@100": new_model}, "popularity": {"recall@100": popularity}},
        },
        "index": {"num_queries": 9, "recall@100_of_exact": index},
    }


@pytest.mark.parametrize(
    ("given", "starts"),
    [
        (metrics(), []),
        (metrics(model=0.2), ["eval.all: recall@100 is 0.2000, it must be above 1.0 x popularity's 0.2000"]),
        (metrics(new_model=0.1), ["eval.new: recall@100 is 0.1000"]),
        (metrics(new_model=0.1, num_new=99), []),  # too few to judge
        (metrics(index=0.89), ["index: finds 0.8900 of the exact answers, it must find 0.9"]),
        (metrics(model=0.1, index=float("nan")), ["eval.all", "index: finds nan"]),
    ],
)
def test_refusals(given, starts):
    reasons = refusals(given, EvaluationConfig())
    assert len(reasons) == len(starts)
    for reason, start in zip(reasons, starts, strict=True):
        assert reason.startswith(start)


@pytest.mark.parametrize(
    ("model", "popularity", "starts"),
    [
        (0.5, 0.4, []),
        (0.4, 0.5, ["eval.all: recall@10 is 0.4000, it must be above 1.0 x popularity's 0.5000"]),
        (1.0, 1.0, []),  # ten items: everyone finds all
        (0.9, 1.0, ["eval.all: recall@10 is 0.9000"]),
    ],
)
def test_where_popularity_finds_all_at_100_the_gate_is_at_10(model, popularity, starts):
    given = metrics(model=1.0, popularity=1.0, new_model=1.0, num_new=99)
    given["eval"]["all"]["model"]["recall@10"] = model
    given["eval"]["all"]["popularity"]["recall@10"] = popularity
    reasons = refusals(given, EvaluationConfig())
    assert len(reasons) == len(starts)
    for reason, start in zip(reasons, starts, strict=True):
        assert reason.startswith(start)


def test_finding_all_does_not_excuse_from_a_higher_lift():
    assert len(refusals(metrics(model=1.0, popularity=0.9, num_new=99), EvaluationConfig(min_lift=1.5))) == 1


def test_a_higher_lift_refuses_more():
    assert refusals(metrics(), EvaluationConfig(min_lift=2.4, min_lift_new=2.4)) == []
    assert (
        len(refusals(metrics(), EvaluationConfig(min_lift=2.6, min_lift_new=2.6))) == 2
    )  # 0.5 / 0.2 = 2.5, for all and for new


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_rows": 0}, "evaluation.max_rows must be >= 1. Received: 0"),
        ({"min_index_recall": 1.1}, r"evaluation.min_index_recall must be in \[0, 1\]. Received: 1.1"),
    ],
)
def test_unusable_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        EvaluationConfig(**options)


def test_positions(catalog):
    place, is_there = positions(np.array([b"i39", b"i00", b"nothing", b"a"]), catalog)
    assert place[:2].tolist() == [39, 0]
    assert is_there.tolist() == [True, True, False, False]


def test_rows_are_read_as_they_were_written(market, towers, market_catalog):
    catalog = market_catalog
    found = read_eval_rows(market.raw_files["eval"], towers, catalog, max_rows=1000, seed=1)
    conversions = [row for row in market.evaluation if row["task"] == "conversion"]
    assert [catalog.item_ids[place].decode() for place in found.targets] == [row["item_id"] for row in conversions]
    assert found.is_new.tolist() == [row["is_repeat"] == 0 for row in conversions]
    assert found.contexts == [(r["user_id"], r["surface"], r.get("subject_item_id", ""), "") for r in conversions]
    place = {item_id.decode(): number for number, item_id in enumerate(catalog.item_ids)}
    for row, known in zip(conversions, found.known, strict=True):
        history = zip(row["history_item_id"], row["history_event"], strict=True)
        assert known.tolist() == sorted({place[item] for item, event in history if event == "purchase"})
    own = towers.signatures["embed_query_examples"](examples=tf.constant(market.serialized(conversions)))
    np.testing.assert_allclose(found.queries.vectors, own["embedding"], atol=1e-6)
    for number, row in enumerate(conversions):
        bonus_of = dict(zip(own["bonus_items"][number].numpy(), own["bonuses"][number].numpy(), strict=True))
        listed, bonuses = found.queries.listed[number], found.queries.bonuses[number]
        history = {place[item] for item in row["history_item_id"]}
        assert sorted(listed[: len(history)]) == sorted(history)
        assert len(set(listed)) == len(listed) > len(history)  # and neighbours
        np.testing.assert_allclose(bonuses, [bonus_of[index] for index in catalog.indices[listed]], atol=1e-6)
    sample = read_eval_rows(market.raw_files["eval"], towers, catalog, max_rows=10, seed=1)
    assert len(sample.targets) == 10
    assert set(sample.examples) <= set(found.examples)
    fewer = Catalog(**{field.name: getattr(catalog, field.name)[1:] for field in dataclasses.fields(catalog)})
    with pytest.raises(ValueError, match="Every item of the eval split must be in the catalog split"):
        read_eval_rows(market.raw_files["eval"], towers, fewer, max_rows=1000, seed=1)
    kept = eval_rows(without_gone(found.examples, fewer), towers, fewer, max_rows=1000, seed=1)
    gone = catalog.item_ids[0].decode()
    assert [fewer.item_ids[place].decode() for place in kept.targets] == [
        row["item_id"] for row in conversions if row["item_id"] != gone
    ]
    assert len(kept.targets) < len(conversions)


class GivenTowers:
    """A stand-in for loaded towers that gives every row the same."""

    def __init__(self, vector=(1.0, 0.0), items=(0,), bonuses=(0.0,)):
        given = {
            "embedding": tf.constant(vector),
            "bonus_items": tf.constant(items, tf.int64),
            "bonuses": bonuses,
        }
        self.signatures = {
            "embed_query_examples": lambda examples: {
                name: tf.tile([value], [len(examples), 1]) for name, value in given.items()
            }
        }


def write_users(folder, *rows):
    """One gzipped TFRecord of user rows."""
    return write_records(folder / "users.gz", [serialize(row) for row in rows])


def test_only_the_catalogues_items_repeat(catalog, tmp_path):
    towers = GivenTowers(items=(41, 0, 7, 40, 1), bonuses=(9.0, 0.0, 1.0, 2.0, 3.0))  # 41 is not in the catalogue of 40
    row = {"target_item_ids": ["i05", "i02", "gone", "i05"], "known_item_ids": ["i09"]}
    found = read_user_rows(write_users(tmp_path, row, {"user_id": "u"}), towers, catalog, max_rows=10, seed=1)
    for repeats, bonuses in zip(found.queries.listed, found.queries.bonuses, strict=True):
        assert repeats.tolist() == [6, 39, 0]
        assert bonuses.tolist() == [1.0, 2.0, 3.0]
    assert sorted(places.tolist() for places in found.targets) == [[], [2, 5]]
    assert sorted(places.tolist() for places in found.known) == [[], [9]]
    assert not found.has_history.any()


def test_a_history_is_seen_even_of_items_that_are_gone(tmp_path, catalog):
    rows = {"user_id": "a", "history_item_id": ["gone"]}, {"user_id": "b"}
    found = read_user_rows(write_users(tmp_path, *rows), GivenTowers(), catalog, max_rows=10, seed=1)
    assert sorted(found.has_history.tolist()) == [False, True]


@pytest.mark.parametrize("given", [{"vector": (float("nan"), 0.0)}, {"items": (1,), "bonuses": (float("inf"),)}])
def test_a_query_that_is_no_number_is_refused(tmp_path, catalog, given):
    users = write_users(tmp_path, {"user_id": "u"})
    with pytest.raises(ValueError, match="Query vectors must be finite"):
        read_user_rows(users, GivenTowers(**given), catalog, max_rows=10, seed=1)
