import numpy as np
import pytest
import tensorflow as tf

from schemas import contract
from trainer.export import EMBED_ITEM_EXAMPLES
from trainer.export import EMBED_QUERY_EXAMPLES
from trainer.export import NO_ITEM


def named(features, rows):
    """Rows as named inputs, missing values and padding as the contract says."""
    tensors = {}
    for feature in features:
        missing = contract.MISSING_STRING if feature.is_string else contract.MISSING_FLOAT
        if feature.role == "history" or feature.treatment == "vector":
            lists = [row.get(feature.name, []) for row in rows]
            longest = max(len(values) for values in lists)
            values = [[*values, *[missing] * (longest - len(values))] for values in lists]
        else:
            values = [row.get(feature.name, missing) for row in rows]
        tensors[feature.name] = tf.constant(values, tf.string if feature.is_string else tf.float32)
    return tensors


@pytest.fixture(scope="module")
def embed_query(market, towers):
    def embed(*rows):
        return towers.signatures[contract.SIGNATURE_EMBED_QUERY](**named(market.groups.query, rows))[
            "embedding"
        ].numpy()

    return embed


@pytest.fixture(scope="module")
def embed_item(market, towers):
    def embed(*rows):
        return towers.signatures[contract.SIGNATURE_EMBED_ITEM](**named(market.groups.item, rows))["embedding"].numpy()

    return embed


def test_a_fresh_process_gives_the_live_models_outputs(market, trained, fresh_process):
    rows, batch, model = market.train[:16], market.batch(16), trained.model
    examples = {"examples": np.array(market.serialized(rows), object)}
    listed = model.bonuses(batch)
    query = {
        "embedding": model.query_tower(batch),
        "bonus_items": listed.items,
        "bonuses": listed.bonuses,
    }
    item = {"embedding": model.item_tower(batch), "item_index": batch["item_id_xf"]}
    for expected, signature, inputs in (
        (query, contract.SIGNATURE_EMBED_QUERY, named(market.groups.query, rows)),
        (item, contract.SIGNATURE_EMBED_ITEM, named(market.groups.item, rows)),
        (query, EMBED_QUERY_EXAMPLES, examples),
        (item, EMBED_ITEM_EXAMPLES, examples),
    ):
        found = fresh_process(trained.folder, signature, **inputs)
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value.numpy(), atol=1e-5, err_msg=f"{signature}: {name}")


def test_bonuses_name_items_by_their_index(market, trained, towers):
    catalog = towers.signatures[EMBED_ITEM_EXAMPLES](examples=tf.constant(market.serialized(market.catalog)))
    id_of = dict(zip(catalog["item_index"].numpy(), (row["item_id"] for row in market.catalog), strict=True))
    assert len(id_of) == len(market.catalog)
    assert NO_ITEM not in id_of
    found = towers.signatures[EMBED_QUERY_EXAMPLES](examples=tf.constant(market.serialized(market.evaluation)))
    for row, items in zip(market.evaluation, found["bonus_items"].numpy(), strict=True):
        listed = [id_of[item] for item in items if item != NO_ITEM]
        repeats = [id_of[item] for item in items[: -trained.model.bonuses.neighbor.width] if item != NO_ITEM]
        assert sorted(repeats) == sorted(set(row["history_item_id"]))
        assert len(set(listed)) == len(listed) > len(repeats)  # and neighbours


def test_an_unknown_item_has_no_index(market, towers):
    rows = [market.catalog[1], {**market.catalog[1], "item_id": "no such item"}]
    found = towers.signatures[contract.SIGNATURE_EMBED_ITEM](**named(market.groups.item, rows))["item_index"].numpy()
    assert found[0] != NO_ITEM
    assert found[1] == NO_ITEM


def test_without_any_history_there_is_no_bonus(market, trained, towers):
    examples = market.serialized([{"surface": "home"}, {"surface": "search"}])
    found = towers.signatures[EMBED_QUERY_EXAMPLES](examples=tf.constant(examples))
    assert found["bonus_items"].shape == found["bonuses"].shape == (2, trained.model.bonuses.neighbor.width)
    assert not found["bonus_items"].numpy().any()
    assert not found["bonuses"].numpy().any()
    assert np.isfinite(found["embedding"]).all()


def test_signatures_take_the_towers_features_and_no_others(market, towers):
    for signature, features in (("embed_query", market.groups.query), ("embed_item", market.groups.item)):
        inputs = towers.signatures[signature].structured_input_signature[1]
        assert set(inputs) == {feature.name for feature in features}
        for feature in features:
            rank = 2 if feature.name.startswith("history_") or feature.name == "own_vector" else 1
            assert inputs[feature.name].shape.rank == rank, feature.name
            assert inputs[feature.name].dtype == (tf.string if feature.is_string else tf.float32), feature.name


@pytest.mark.parametrize(("name", "value"), [("own_segment", "segment-2"), ("own_note", "note two")])
def test_a_new_query_feature_moves_the_vector(market, embed_query, name, value):
    row = {**market.train[1], "own_segment": "segment-1", "own_note": "Note ONE"}
    first, second = embed_query(row, {**row, name: value})
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.parametrize(("name", "value"), [("own_score", 0.5), ("own_vector", [3.0, -3.0, 1.0])])
def test_a_new_item_feature_moves_the_vector(market, embed_item, name, value):
    row = market.catalog[5]
    first, second = embed_item(row, {**row, name: value})
    assert np.abs(first - second).max() > 1e-4


def test_everything_missing_gives_a_finite_vector(embed_query, embed_item):
    for vectors in (embed_query({}, {}), embed_item({})):
        assert np.isfinite(vectors).all()


def test_an_unknown_user_is_the_same_as_any_other(market, embed_query):
    row = market.train[2]
    first, second = embed_query(row, {**row, "user_id": "nobody"})  # the id names a row, it is no input
    np.testing.assert_array_equal(first, second)


def test_an_unknown_value_is_as_good_as_a_missing_one(market, embed_query, embed_item):
    row = {name: value for name, value in market.train[4].items() if name != "subject_item_id"}
    missing, unknown = embed_query(row, {**row, "subject_item_id": "no such item"})
    np.testing.assert_allclose(missing, unknown, atol=1e-6)
    item = {name: value for name, value in market.catalog[4].items() if name != "item_id"}
    missing, unknown = embed_item(item, {**item, "item_id": "no such item"})
    np.testing.assert_allclose(missing, unknown, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_missing(market, embed_query, value):
    row = {name: found for name, found in market.train[4].items() if name != "user_num_clicks"}
    missing, odd = embed_query(row, {**row, "user_num_clicks": value})
    np.testing.assert_array_equal(missing, odd)


def history(*items, events=None, ages=None):
    return {
        "history_item_id": list(items),
        "history_event": list(events or ["purchase"] * len(items)),
        "history_age_days": list(ages or [2.0] * len(items)),
    }


def test_order_does_not_matter_at_equal_ages(embed_query):
    first, second = embed_query(history("a00", "b01", "a05"), history("a05", "a00", "b01"))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_padding_does_not_matter(embed_query):
    alone = embed_query(history("a00", "b01"))
    padded, _ = embed_query(history("a00", "b01"), history(*["a02"] * 7))
    np.testing.assert_allclose(alone[0], padded, atol=1e-5)


def test_a_missing_item_inside_a_history_is_left_out_with_its_event_and_age(embed_query):
    whole, holed = embed_query(history("a00", "b01", ages=[1.0, 9.0]), history("a00", "", "b01", ages=[1.0, 5.0, 9.0]))
    np.testing.assert_allclose(whole, holed, atol=1e-5)


def test_a_history_of_unknown_items_is_an_empty_one(embed_query):
    empty, unknown = embed_query({}, history("gone", "gone too"))
    np.testing.assert_allclose(empty, unknown, atol=1e-6)


def test_a_missing_age_is_now(embed_query):
    now, missing = embed_query(history("a00", "b01", ages=[1.0, 0.0]), history("a00", "b01", ages=[1.0, float("nan")]))
    np.testing.assert_allclose(now, missing, atol=1e-6)
