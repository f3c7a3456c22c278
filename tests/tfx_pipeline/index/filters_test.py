"""Filtered retrieval against brute force in plain Python over the filtered catalogue."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from planted_filters import ADVERTISERS
from planted_filters import CATEGORIES
from planted_filters import NO_RULE
from planted_filters import NUM_ROWS
from planted_filters import all_scores
from planted_filters import brute_force
from planted_filters import make
from planted_filters import passes

from tfx_pipeline.index.indexes import EXACT
from tfx_pipeline.index.indexes import KINDS
from tfx_pipeline.index.indexes import SCANN
from tfx_pipeline.index.retriever import Retriever
from tfx_pipeline.index.retriever import export_retriever

VERSIONS = {"model_version": "1", "index_version": "2"}
LEAST = np.finfo(np.float32).min
NUM_ITEMS = 150


def random_rule(random, catalog):
    """Each filter in about a third of the rules, of known, unknown and empty names."""

    def some(names):
        return random.choice([*names, "unknown", ""], random.integers(1, 4)).tolist() if random.random() < 0.3 else []

    def number(low, high):
        return float(random.integers(low, high)) if random.random() < 0.3 else float("nan")

    return {
        "exclude_item_ids": random.choice([*catalog.item_ids.astype(str), "gone", ""], random.integers(0, 60)).tolist(),
        "allow_advertiser_ids": some(ADVERTISERS),
        "deny_advertiser_ids": some(ADVERTISERS),
        "allow_categories": some([*CATEGORIES, "d", "e > f", "c", " > "]),
        "deny_categories": some([*CATEGORIES, "d", "e", "b"]),
        "min_price": number(1, 40),
        "max_price": number(10, 60),
        "max_per_advertiser": int(random.choice([0, 0, 1, 2, 30])),
    }


def named(rules, *, k):
    """Named inputs of `retrieve_filtered` of rows 0, 1, ..."""
    inputs = {"row": np.arange(len(rules), dtype=np.float32), "k": np.full(len(rules), k, np.int32)}
    for name, missing in NO_RULE.items():
        values = [rule[name] for rule in rules]
        if isinstance(missing, list):
            width = max(1, *map(len, values))
            inputs[name] = np.array([[*value, *[""] * (width - len(value))] for value in values], object)
        else:
            inputs[name] = np.array(values, np.int32 if isinstance(missing, int) else np.float32)
    return inputs


def ask(signatures, rules, *, k):
    given = {name: tf.constant(value) for name, value in named(rules, k=k).items()}
    return {name: value.numpy() for name, value in signatures["retrieve_filtered"](**given).items()}


def assert_brute_force(answer, catalog, scores, rules, *, k):
    """The very items of brute force, then padding."""
    width = min(k, len(catalog.item_ids))
    for row, rule in enumerate(rules):
        best = brute_force(catalog, scores[row], rule, width)
        padding = width - len(best)
        assert answer["num_found"][row] == len(best)
        assert answer["item_ids"][row].tolist() == [*catalog.item_ids[best].tolist(), *[b""] * padding]
        np.testing.assert_array_equal(answer["scores"][row], [*scores[row, best], *[LEAST] * padding])


def assert_kept(answer, catalog, scores, rules, *, k):
    """Items that pass, none twice, with their own scores, best first; as many as brute force finds."""
    position_of = {item_id: position for position, item_id in enumerate(catalog.item_ids.tolist())}
    for row, rule in enumerate(rules):
        num_found = answer["num_found"][row]
        assert num_found == len(brute_force(catalog, scores[row], rule, min(k, len(catalog.item_ids))))
        assert set(answer["item_ids"][row, num_found:]) <= {b""}
        assert (answer["scores"][row, num_found:] == LEAST).all()
        found = [position_of[item_id] for item_id in answer["item_ids"][row, :num_found]]
        assert len(set(found)) == num_found
        assert all(passes(catalog, rule, position) for position in found)
        np.testing.assert_allclose(answer["scores"][row, :num_found], scores[row, found], atol=1e-3)
        assert (np.diff(answer["scores"][row]) <= 1e-3).all()
        per_advertiser = Counter(catalog.advertisers[found].tolist())
        del per_advertiser[b""]
        limit = rule["max_per_advertiser"]
        assert limit <= 0 or max(per_advertiser.values(), default=0) <= limit


@pytest.fixture(scope="module")
def small():
    return make(num_items=NUM_ITEMS, dim=5, seed=1)


@pytest.fixture(scope="module")
def retrievers(small):
    """By kind; an index that is asked for 40 items at most, so that it often finds too few that pass."""
    catalog, towers = small
    return {kind: Retriever(towers, catalog, kind=kind, max_k=40, **VERSIONS) for kind in KINDS}


@pytest.fixture(scope="module")
def signatures(retrievers):
    return {kind: retriever.signatures() for kind, retriever in retrievers.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 7, 40, 1000])
def test_random_filters_give_brute_force_over_the_filtered_catalogue(signatures, small, kind, k):
    catalog, towers = small
    scores, random = all_scores(towers, catalog), np.random.default_rng(k)
    for _ in range(5):
        rules = [random_rule(random, catalog) for _ in range(NUM_ROWS)]
        answer = ask(signatures[kind], rules, k=k)
        assert answer["item_ids"].shape == (NUM_ROWS, min(k, 40))
        check = assert_brute_force if kind == EXACT else assert_kept
        check(answer, catalog, scores, rules, k=min(k, 40))


def test_scores_are_those_of_brute_force_when_the_index_falls_back(signatures, small):
    catalog, towers = small
    scores = all_scores(towers, catalog)
    rules = [{**NO_RULE, "deny_advertiser_ids": ["ad"], "max_per_advertiser": 1}] * NUM_ROWS  # fewer than 40 pass
    for kind in KINDS:
        assert_brute_force(ask(signatures[kind], rules, k=40), catalog, scores, rules, k=40)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rule",
    [
        {"min_price": 5.0, "max_price": 4.0},
        {"min_price": float("inf")},
        {"allow_advertiser_ids": ["unknown"]},
        {"allow_categories": ["a > "]},
        {"allow_advertiser_ids": ["rare"], "deny_advertiser_ids": ["rare"]},
        {"exclude_item_ids": [f"i{number:05d}" for number in range(NUM_ITEMS)]},
    ],
)
def test_filters_that_leave_nothing_find_nothing(signatures, kind, rule):
    answer = ask(signatures[kind], [{**NO_RULE, **rule}, NO_RULE], k=9)
    assert answer["num_found"].tolist() == [0, 9]
    assert answer["item_ids"][0].tolist() == [b""] * 9
    assert answer["scores"][0].tolist() == [LEAST] * 9


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_gets_an_empty_answer(signatures, kind):
    none = {name: tf.constant(value)[:0] for name, value in named([NO_RULE], k=3).items()}
    answer = signatures[kind]["retrieve_filtered"](**none)
    assert answer["num_found"].shape == answer["index_version"].shape == [0]
    assert answer["item_ids"].shape[0] == 0


def test_the_answer_names_its_versions(signatures):
    answer = ask(signatures[EXACT], [NO_RULE], k=1)
    assert (answer["model_version"].tolist(), answer["index_version"].tolist()) == ([b"1"], [b"2"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 40])
def test_unavailable_items_are_retrieved_by_no_signature(signatures, small, kind, k):
    catalog, towers = small
    rules = [NO_RULE] * NUM_ROWS
    rows = tf.range(NUM_ROWS, dtype=tf.float32)
    answer = signatures[kind]["retrieve"](row=rows, k=tf.fill([NUM_ROWS], k))
    by_examples = signatures[kind]["serving_default"](examples=tf.strings.as_string(rows))
    filtered = ask(signatures[kind], rules, k=k)
    assert filtered["num_found"].tolist() == [k] * NUM_ROWS
    for found in ({**answer, "num_found": filtered["num_found"]}, filtered):
        found = {name: np.asarray(value) for name, value in found.items()}
        assert_kept(found, catalog, all_scores(towers, catalog), rules, k=k)
    if kind == EXACT:  # the others look at more items for more results
        np.testing.assert_array_equal(answer["scores"], filtered["scores"])
        np.testing.assert_array_equal(by_examples["scores"][:, :k], answer["scores"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_whose_items_all_pass_may_still_be_short_of_other_advertisers(retrievers, signatures, small, kind):
    catalog, towers = small
    everything = np.ones(NUM_ITEMS, bool)
    rules = [{**NO_RULE, "max_per_advertiser": 1}] * NUM_ROWS
    retrievers[kind].filters.is_available.assign(everything)
    try:
        answer = ask(signatures[kind], rules, k=30)
    finally:
        retrievers[kind].filters.is_available.assign(catalog.is_available)
    changed = dataclasses.replace(catalog, is_available=everything)
    assert_kept(answer, changed, all_scores(towers, catalog), rules, k=30)
    assert (answer["num_found"] == 30).all()


def test_prices_and_availability_are_assigned_in_a_loaded_model(small, tmp_path, fresh_process):
    """Of the kind that is hardest to save: it has operations of its own, beside the search among all items."""
    catalog, towers = small
    export_retriever(Retriever(towers, catalog, kind=SCANN, max_k=1000, **VERSIONS), str(tmp_path / "1"))
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    prices, is_available = catalog.prices[::-1].copy(), np.zeros(NUM_ITEMS, bool)
    is_available[30:60] = True
    loaded.filters.prices.assign(prices)
    loaded.filters.is_available.assign(is_available)
    loaded.index_version.assign("3")
    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    tf.saved_model.save(loaded, str(tmp_path / "3"), signatures=loaded.signatures, options=options)

    changed = dataclasses.replace(catalog, prices=prices, is_available=is_available)
    scores, random = all_scores(towers, catalog), np.random.default_rng(2)
    rules = [NO_RULE, *(random_rule(random, catalog) for _ in range(NUM_ROWS - 1))]
    answer = fresh_process(str(tmp_path / "3"), "retrieve_filtered", **named(rules, k=45))
    assert_kept(answer, changed, scores, rules, k=45)
    assert set(answer["index_version"]) == {b"3"}
    short = fresh_process(str(tmp_path / "3"), "retrieve", row=np.float32([0]), k=np.int32([45]))
    assert set(short["item_ids"][0, :30]) == set(catalog.item_ids[30:60])
    assert short["item_ids"][0, 30:].tolist() == [b""] * 15
    assert short["scores"][0, 30:].tolist() == [LEAST] * 15


def test_a_selective_filter_finds_all_that_pass_in_a_catalogue_that_scann_only_samples():
    catalog, towers = make(num_items=20_500, dim=16, seed=6, num_rows=4)
    scores = all_scores(towers, catalog, 4)
    signatures = Retriever(towers, catalog, kind=SCANN, max_k=100, **VERSIONS).signatures()
    rules = [
        {**NO_RULE, "allow_advertiser_ids": ["rare"], "allow_categories": ["a"]},  # about 80 items
        {**NO_RULE, "allow_advertiser_ids": ["rare"], "min_price": 49.0},  # a few
        {**NO_RULE, "max_per_advertiser": 3},
        NO_RULE,
    ]
    answer = ask(signatures, rules, k=100)
    assert_kept(answer, catalog, scores, rules, k=100)
    first_two = {name: value[:2] for name, value in answer.items()}
    assert_brute_force(first_two, catalog, scores[:2], rules[:2], k=100)
    assert answer["num_found"][1] < 20 < answer["num_found"][0] < 100 == answer["num_found"][3]
    best = [set(catalog.item_ids[np.argsort(-row)[:100]]) for row in scores]
    assert len(best[3] & set(answer["item_ids"][3])) >= 75  # of the index: most, not all
