import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas.features import feature_groups
from schemas.load import load_schema


def entry(name, kind, *tags):
    lines = "".join(f' tag: "{tag}"' for tag in tags)
    return f'feature {{ name: "{name}" type: {kind} annotation {{{lines} }} }}\n'


def groups_of(*entries):
    return feature_groups(text_format.Parse("".join(entries), schema_pb2.Schema()))


def test_groups_follow_from_the_tags():
    groups = groups_of(
        entry("user_id", "BYTES", "key"),
        entry("task", "BYTES", "label"),
        entry("impression_rate", "FLOAT", "sampling"),
        entry("age", "BYTES", "query", "users"),
        entry("surface", "BYTES", "context", "events"),
        entry("history_item_id", "BYTES", "history", "id", "shares:item_id"),
        entry("item_id", "BYTES", "item", "id"),
        entry("price", "FLOAT", "item", "items"),
    )
    assert [f.name for f in groups.query] == ["age", "surface", "history_item_id"]  # user, context, history
    assert [f.name for f in groups.history] == ["history_item_id"]
    assert [f.name for f in groups.item] == ["item_id", "price"]
    assert [f.name for f in groups.of_role("key", "label", "sampling")] == ["user_id", "task", "impression_rate"]
    assert {table: [f.name for f in groups.carried_from(table)] for table in ("events", "items", "users")} == {
        "events": ["surface"],
        "items": ["price"],
        "users": ["age"],
    }
    assert groups["history_item_id"].vocabulary == "item_id"
    assert groups["item_id"].vocabulary == "item_id"
    assert groups["price"].transformed_name == "price_xf"
    assert "price" in groups
    assert "colour" not in groups


@pytest.mark.parametrize(
    ("kind", "tags", "treatment"),
    [
        ("BYTES", (), "categorical"),
        ("FLOAT", (), "numeric"),
        ("BYTES", ("id",), "id"),
        ("BYTES", ("text",), "text"),
        ("BYTES", ("path",), "path"),
        ("FLOAT", ("vector",), "vector"),
    ],
)
def test_treatment_follows_from_type_and_tag(kind, tags, treatment):
    assert groups_of(entry("x", kind, "item", *tags))["x"].treatment == treatment


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("x", "BYTES", "query", "item")], r"'x' must have exactly one of the tags .* \['item', 'query'\]"),
        ([entry("x", "BYTES", "id")], r"'x' must have exactly one of the tags .* Received: \['id'\]"),
        ([entry("x", "BYTES", "item", "id", "text")], r"'x' must have at most one of the tags .* \['id', 'text'\]"),
        ([entry("x", "INT", "item")], "'x' must be BYTES .* or FLOAT .* to enter a tower. Received: INT"),
        ([entry("x", "INT", "context")], "'x' must be BYTES .* or FLOAT .* to enter a tower. Received: INT"),
        ([entry("x", "STRUCT", "query")], "'x' must be BYTES .* Received: STRUCT"),
        (['feature { name: "x" annotation { tag: "query" } }'], "'x' must be BYTES .* Received: TYPE_UNKNOWN"),
        ([entry("x", "BYTES", "item", "vector")], "'x' is treated as vector, which does not fit its type"),
        ([entry("x", "FLOAT", "item", "text")], "'x' is treated as text, which does not fit its type"),
        ([entry("x", "BYTES", "query", "id", "shares:y")], "'x' shares the vocabulary of 'y', which is no feature"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_name_and_what_was_received(entries, message):
    with pytest.raises(ValueError, match=message):
        groups_of(*entries)


def test_integers_may_be_keys_and_labels():
    groups = groups_of(entry("timestamp_us", "INT", "key"), entry("is_repeat", "INT", "label"))
    assert [f.is_integer for f in groups.features] == [True, True]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match=r"no feature 'colour'\. It has: price"):
        groups_of(entry("price", "FLOAT", "item"))["colour"]


def test_performance_features_are_told_apart():
    groups = feature_groups(load_schema())
    assert {f.name for f in groups.features if f.is_performance} == {
        "item_conversion_index",
        "item_engagement_index",
        "item_click_rate",
    }
