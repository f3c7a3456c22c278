import json
import logging
import os

import pandas as pd
import pytest

from schemas.features import feature_groups
from schemas.load import read_schema
from tfx_pipeline.dataset import catalog_schema
from tfx_pipeline.dataset import effective_schema
from tfx_pipeline.dataset import prepare_tables
from tfx_pipeline.dataset import source_facts


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "dataset"
    (folder / "events").mkdir(parents=True)
    (folder / "items").mkdir()
    (folder / "events/part.csv").write_text("user_id,item_id,event,timestamp\nu,i,purchase,1\n")
    items = [{"item_id": "i", "title": "t", "embedding": None}, {"item_id": "j", "embedding": [1.0, 2.0, 3.0]}]
    (folder / "items/part.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def test_what_the_tables_cannot_fill_is_dropped_and_said(dataset, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        schema, file = effective_schema("tables", dataset, tmp_path / "schemas", extra=None)
    groups = feature_groups(schema)
    assert "title" in groups
    assert groups["embedding"].length == 3  # of the first item that has one
    for name in ("price", "category", "advertiser_id", "surface", "query", "subject_item_id"):
        assert name not in groups
        assert f"{name} (no column " in caplog.text
    assert read_schema(file) == schema


def test_another_schema_is_another_file(dataset, tmp_path):
    own = tmp_path / "own.pbtxt"
    own.write_text('feature { name: "own" type: BYTES annotation { tag: "query" } }')
    _, first = effective_schema("tables", dataset, tmp_path / "schemas", extra=None)
    _, again = effective_schema("tables", dataset, tmp_path / "schemas", extra=None)
    _, other = effective_schema("tables", dataset, tmp_path / "schemas", extra=own)
    assert first == again != other


@pytest.mark.parametrize("table", ["events", "items"])
def test_a_missing_table_is_refused(dataset, tmp_path, table):
    for shard in (dataset / table).iterdir():
        shard.unlink()
    with pytest.raises(ValueError, match=f"{table} must hold at least one non-empty shard of the table {table}"):
        effective_schema("tables", dataset, tmp_path / "schemas", extra=None)


def test_own_tables_are_used_in_place(dataset, tmp_path):
    assert prepare_tables("tables", dataset, tmp_path, {}) == dataset.resolve()
    assert source_facts(dataset)["source"] == "tables"


@pytest.mark.parametrize("data", [None, "nowhere"])
def test_missing_own_tables_are_refused(tmp_path, data):
    with pytest.raises(ValueError, match="--source=tables needs --data=FOLDER with events/ and items/"):
        prepare_tables("tables", data and tmp_path / data, tmp_path, {})


VECTORS = "".join(
    f'feature {{ name: "{name}" type: FLOAT annotation {{ tag: "{role}" tag: "vector" tag: "{table}" }} }}\n'
    for name, role, table in (("of_user", "query", "users"), ("of_event", "context", "events"))
)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_vectors_of_events_and_users_are_measured_too(dataset, tmp_path, ending):
    rows = {
        "users": [{"user_id": "u"}, {"user_id": "v", "of_user": [1.0, 2.0]}],
        "events": [
            {"user_id": "u", "item_id": "i", "event": "click", "timestamp": 1, "of_event": value}
            for value in (None, [], [1.0, 2.0, 3.0, 4.0], [1.0])
        ],
    }
    for table, found in rows.items():
        (dataset / table).mkdir(exist_ok=True)
        frame = pd.DataFrame(found)
        if ending == "csv":
            frame = frame.applymap(lambda value: json.dumps(value) if isinstance(value, list) else value)
        file = dataset / table / f"more.{ending}"
        save = {"csv": frame.to_csv, "parquet": frame.to_parquet}
        frame.to_json(file, orient="records", lines=True) if ending == "jsonl" else save[ending](file, index=False)
    (tmp_path / "own.pbtxt").write_text(VECTORS)
    schema, _ = effective_schema("tables", dataset, tmp_path / "schemas", extra=tmp_path / "own.pbtxt")
    groups = feature_groups(schema)
    assert {name: groups[name].length for name in ("of_user", "of_event", "embedding")} == {
        "of_user": 2,
        "of_event": 4,
        "embedding": 3,
    }


def test_a_vector_column_of_other_things_is_switched_off(dataset, tmp_path, caplog):
    (dataset / "items/part.jsonl").unlink()
    (dataset / "items/part.csv").write_text("item_id,embedding\ni,none\nj,5\n")
    with caplog.at_level(logging.INFO):
        schema, _ = effective_schema("tables", dataset, tmp_path / "schemas", extra=None)
    assert "embedding" not in feature_groups(schema)
    assert "embedding (no values in items.embedding)" in caplog.text


@pytest.mark.parametrize("table", ["events", "items", "users"])
def test_shards_in_a_folder_below_the_table_are_refused(dataset, tmp_path, table):
    nested = dataset / table / "day=1"
    nested.mkdir(parents=True)
    (nested / "part.csv").write_text("user_id,item_id,event,timestamp\nu,i,purchase,1\n")
    with pytest.raises(
        ValueError, match=rf"Table {table}: its shards must lie in .*Received: the folder .*day=1; move"
    ):
        effective_schema("tables", dataset, tmp_path / "schemas", extra=None)


def test_hidden_folders_of_other_tools_are_ignored(dataset, tmp_path):
    (dataset / "events/_temporary").mkdir()
    (dataset / "events/.cache").mkdir()
    schema, _ = effective_schema("tables", dataset, tmp_path / "schemas", extra=None)
    assert "title" in feature_groups(schema)


@pytest.fixture
def shop(tmp_path):
    """A tiny shop in the form of the source retailrocket."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,1,view,10,\n1433221332118,1,transaction,10,5\n"
    )
    (folder / "item_properties_part1.csv").write_text(
        "timestamp,itemid,property,value\n1433041200000,10,categoryid,1\n1433041200000,11,categoryid,1\n"
    )
    (folder / "category_tree.csv").write_text("categoryid,parentid\n1,\n")
    return folder


def test_tables_are_written_again_only_when_something_changed(shop, tmp_path):
    root = tmp_path / "root"

    def written(**options):
        out = prepare_tables("retailrocket", shop, root, options)
        return max(path.stat().st_mtime_ns for path in out.rglob("*")), out

    first, out = written()
    assert written()[0] == first
    assert written(only_event_items="true")[0] == first  # the default, in words
    second, _ = written(only_event_items="false")
    assert second > first
    os.utime(shop / "events.csv", ns=(1, 1))
    third, _ = written(only_event_items="false")
    assert third > second
    (root / "tables.key").unlink()  # as an interrupted run leaves it
    assert written(only_event_items="false")[0] > third
    assert source_facts(out)["source"] == "retailrocket"


def test_an_unknown_option_is_refused(shop, tmp_path):
    with pytest.raises(ValueError, match=r"Unknown option source.weeks. Options: only_event_items"):
        prepare_tables("retailrocket", shop, tmp_path / "root", {"weeks": 3})


@pytest.fixture
def feed(dataset, tmp_path):
    """Schema file of a run on the dataset, and a folder for the items of a refresh."""
    _, trained = effective_schema("tables", dataset, tmp_path / "schemas", extra=None)
    (tmp_path / "feed").mkdir()
    return trained, tmp_path / "feed"


def test_a_refresh_takes_further_columns_for_filters_but_no_other_vectors(feed, tmp_path):
    trained, items = feed
    (items / "part.csv").write_text("item_id,title,embedding,is_available,price,colour\nk,t,,0,3.5,red\n")
    schema, file = catalog_schema(trained, items, tmp_path / "schemas")
    assert {f.name for f in feature_groups(schema).carried_from("items")} == {
        "title",
        "embedding",
        "is_available",
        "price",
    }
    assert feature_groups(schema)["embedding"].length == 3  # the training run's
    assert read_schema(file) == schema
    assert file != trained


def test_a_refresh_needs_every_column_that_the_towers_were_trained_with(feed, tmp_path):
    trained, items = feed
    with pytest.raises(ValueError, match="--items must be a folder with at least one non-empty shard of items"):
        catalog_schema(trained, items, tmp_path / "schemas")
    (items / "part.csv").write_text("item_id,title,price\nk,t,3.5\n")
    with pytest.raises(ValueError, match=r"--items must have every column .* without embedding; add the column"):
        catalog_schema(trained, items, tmp_path / "schemas")
