from pathlib import Path

import pytest
from google.protobuf import text_format

from schemas import load
from schemas import tables
from schemas.features import ENVIRONMENT_OF_SPLIT
from schemas.features import feature_groups
from schemas.load import load_schema
from schemas.load import prune_schema
from schemas.load import read_schema

SHIPPED = sorted(path.stem for path in Path(load.__file__).parent.glob("*.pbtxt"))
ABSENT_FROM = {  # environments by role: a row of the catalogue has no query, a request no item
    "query": {"CATALOG"},
    "context": {"CATALOG"},
    "history": {"CATALOG"},
    "item": {"SERVING"},
}


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("source", SHIPPED)
def test_shipped_schemas_parse_and_are_valid(source):
    schema = load_schema(source)
    groups = feature_groups(schema)
    names = [feature.name for feature in schema.feature]
    assert len(names) == len(set(names))
    assert set(schema.default_environment) == set(ENVIRONMENT_OF_SPLIT.values())
    for feature in schema.feature:
        assert not feature.HasField("shape"), f"{feature.name}: absent from some split, so variable-length"
        role = groups[feature.name].role
        if role in ABSENT_FROM:
            assert set(feature.not_in_environment) == ABSENT_FROM[role], feature.name


def test_the_overlay_of_a_source_adds_its_features():
    assert set(SHIPPED) >= {"interaction", "complete_journey", "marketplace_simulator", "online_retail"}
    added = {f.name for f in load_schema("online_retail").feature} - {f.name for f in load_schema().feature}
    assert added == {"country"}
    assert load_schema("a_source_without_own_features") == load_schema()


@pytest.mark.parametrize(
    ("kind", "tags", "group", "table", "treatment"),
    [
        ("BYTES", ("query", "users"), "query", "users", "categorical"),
        ("FLOAT", ("item", "items"), "item", "items", "numeric"),
        ("BYTES", ("item", "items", "text"), "item", "items", "text"),
        ("FLOAT", ("item", "items", "vector"), "item", "items", "vector"),
        ("BYTES", ("context", "events", "id", "shares:item_id"), "query", "events", "id"),
    ],
)
def test_adding_a_feature_is_one_entry(tmp_path, kind, tags, group, table, treatment):
    lines = "".join(f' tag: "{tag}"' for tag in tags)
    own = f'feature {{ name: "own" type: {kind} annotation {{{lines} }} }}'
    schema = load_schema("online_retail", extra=write(tmp_path / "own.pbtxt", own))
    columns = {name: set(spec) | {"own", "country"} for name, spec in tables.TABLES.items()}
    pruned, dropped = prune_schema(schema, columns=columns, vector_lengths={"own": 3, "embedding": 5})
    groups = feature_groups(pruned)
    assert dropped == {}
    assert groups["own"].treatment == treatment
    assert groups["own"] in getattr(groups, group)
    assert groups["own"] in groups.carried_from(table)
    assert groups["own"].length == (3 if treatment == "vector" else 0)
    assert groups["embedding"].length == 5


def test_a_feature_of_the_same_name_replaces_the_earlier_one(tmp_path):
    extra = 'feature { name: "title" type: BYTES annotation { tag: "item" tag: "items" } }'  # categorical, no text
    schema = load_schema(extra=write(tmp_path / "own.pbtxt", extra))
    assert [f.name for f in schema.feature].count("title") == 1
    assert feature_groups(schema)["title"].treatment == "categorical"
    assert feature_groups(load_schema())["title"].treatment == "text"


def test_pruning_drops_what_the_data_cannot_fill_and_says_why():
    schema = load_schema("online_retail")
    before = text_format.MessageToString(schema)
    columns = {
        "events": {"user_id", "item_id", "event", "timestamp", "surface"},
        "items": {"item_id", "title", "embedding"},
        "users": {"user_id"},
    }
    pruned, dropped = prune_schema(schema, columns=columns, vector_lengths={})
    assert dropped == {
        "subject_item_id": "no column events.subject_item_id",
        "query": "no column events.query",
        "advertiser_id": "no column items.advertiser_id",
        "category": "no column items.category",
        "price": "no column items.price",
        "is_available": "no column items.is_available",
        "embedding": "no values in items.embedding",
        "country": "no column users.country",
    }
    assert [f.name for f in pruned.feature] == [f.name for f in schema.feature if f.name not in dropped]
    assert list(pruned.default_environment) == list(schema.default_environment)
    assert text_format.MessageToString(schema) == before  # the merged schema is left as it was


SHARING = """
feature { name: "brand" type: BYTES annotation { tag: "item" tag: "items" } }
feature { name: "seen_brand" type: BYTES annotation { tag: "context" tag: "events" tag: "shares:brand" } }
feature { name: "liked_brand" type: BYTES annotation { tag: "query" tag: "users" tag: "shares:brand" } }
"""


@pytest.mark.parametrize(
    ("present", "vocabularies"),
    [
        ({"brand", "seen_brand", "liked_brand"}, {"brand": "brand", "seen_brand": "brand", "liked_brand": "brand"}),
        ({"seen_brand", "liked_brand"}, {"seen_brand": "seen_brand", "liked_brand": "seen_brand"}),
        ({"liked_brand"}, {"liked_brand": "liked_brand"}),
    ],
)
def test_a_shared_vocabulary_outlives_its_owner(tmp_path, present, vocabularies):
    schema = load_schema(extra=write(tmp_path / "own.pbtxt", SHARING))
    columns = {name: set(spec) | present for name, spec in tables.TABLES.items()}
    pruned, dropped = prune_schema(schema, columns=columns, vector_lengths={"embedding": 2})
    assert set(dropped) == {"brand", "seen_brand", "liked_brand"} - present
    groups = feature_groups(pruned)
    assert {name: groups[name].vocabulary for name in vocabularies} == vocabularies
    assert groups["history_item_id"].vocabulary == "item_id"  # others keep theirs


def test_an_unknown_owner_is_still_refused_after_pruning(tmp_path):
    schema = load_schema(extra=write(tmp_path / "own.pbtxt", SHARING.replace("shares:brand", "shares:brnd")))
    columns = {name: {*spec, "brand", "seen_brand", "liked_brand"} for name, spec in tables.TABLES.items()}
    pruned, _ = prune_schema(schema, columns=columns, vector_lengths={})
    with pytest.raises(ValueError, match="'seen_brand' shares the vocabulary of 'brnd', which is no feature"):
        feature_groups(pruned)


def test_pruning_without_a_users_table_drops_its_features_only():
    columns = {name: set(spec) for name, spec in tables.TABLES.items() if name != "users"}
    _, dropped = prune_schema(load_schema("online_retail"), columns=columns, vector_lengths={"embedding": 2})
    assert dropped == {"country": "no column users.country"}


@pytest.mark.parametrize("content", [b"feature { nam: 3 }", b"feature {", b"\xff\xfe\x00"])
def test_an_unparsable_file_is_named(tmp_path, content):
    path = tmp_path / "own.pbtxt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"own\.pbtxt must be a tf\.Metadata schema in protobuf text format"):
        read_schema(path)


def test_the_parsers_line_and_column_are_told(tmp_path):
    path = write(tmp_path / "own.pbtxt", 'feature {\n  name: "x"\n  colour: "red"\n}\n')
    with pytest.raises(ValueError, match="3:3"):  # third line, third column
        read_schema(path)


def test_raw_tables_require_only_what_nothing_works_without():
    required = {table: {name for name, c in columns.items() if c.required} for table, columns in tables.TABLES.items()}
    assert required == {
        "events": {"user_id", "item_id", "event", "timestamp"},
        "items": {"item_id"},
        "users": {"user_id"},
    }
    assert set(tables.EVENT_TYPES) == {tables.IMPRESSION} | tables.ENGAGEMENTS | tables.CONVERSIONS
