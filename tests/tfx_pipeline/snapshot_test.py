import gzip
import json
import sqlite3

import pytest
import tensorflow as tf

from tfx_pipeline.examples.encode import encode
from tfx_pipeline.snapshot import change_prices
from tfx_pipeline.snapshot import write_snapshot

NOW_US = 86_400_000_000


@pytest.fixture
def examples(tmp_path):
    """What ExampleGen leaves: users, facts and the catalogue."""
    folder = tmp_path / "examples"
    (folder / "user_snapshot").mkdir(parents=True)
    (folder / "Split-catalog").mkdir()
    (folder / "facts.json").write_text(json.dumps({"counts": {}, "period": {"cut_us": 0, "last_us": NOW_US}}))
    users = [{"user_id": "u1", "features": {"n": 2.0, "history_item_id": ["ü"]}}, {"user_id": "u2", "features": {}}]
    with gzip.open(folder / "user_snapshot/part.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(user) + "\n" for user in users))
    items = [
        {"item_id": "ü", "title": "Größe", "price": 4.255, "positive_rate": 0.5},
        {"item_id": "17850", "advertiser_id": "7", "category": "a > b"},
        {"item_id": "plain"},
    ]
    for number, part in enumerate((items[:2], items[2:])):
        with tf.io.TFRecordWriter(str(folder / f"Split-catalog/part-{number}.gz"), "GZIP") as file:
            for item in part:
                file.write(encode(item))
    return folder


@pytest.fixture
def written(examples, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "out/snapshot.sqlite"
    for _ in range(2):  # a second run replaces the first
        write_snapshot(str(examples), path, source="shop", notice="synthetic")
    return path


def read(path, query):
    database = sqlite3.connect(path)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_users_items_and_facts_read_back(written):
    users = dict(read(written, "SELECT user_id, features FROM users"))
    assert {name: json.loads(text) for name, text in users.items()} == {
        "u1": {"n": 2.0, "history_item_id": ["ü"]},
        "u2": {},
    }
    items = read(written, "SELECT item_id, title, advertiser_id, category, price FROM items ORDER BY item_id")
    assert items == [
        ("17850", None, "7", "a > b", None),
        ("plain", None, None, None, None),
        ("ü", "Größe", None, None, 4.255),
    ]
    meta = dict(read(written, "SELECT key, value FROM meta"))
    assert meta == {"as_of": "1970-01-02T00:00:00+00:00", "source": "shop", "notice": "synthetic"}


def test_the_pointer_names_the_file_and_nothing_partial_is_left(written, tmp_path):
    assert (tmp_path / "cache/conversion_retrieval/latest_snapshot").read_text() == str(written)
    assert [path.name for path in written.parent.iterdir()] == ["snapshot.sqlite"]


def test_a_newer_catalogue_renews_items_and_keeps_the_titles_of_gone_ones(examples, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    newer = tmp_path / "newer"
    (newer / "Split-catalog").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(newer / "Split-catalog/part.gz"), "GZIP") as file:
        for item in ({"item_id": "17850", "price": 1.5}, {"item_id": "new", "title": "n"}):
            file.write(encode(item))
    path = tmp_path / "out/snapshot.sqlite"
    write_snapshot(str(examples), path, source="shop", notice="", catalog_uri=str(newer))
    assert read(path, "SELECT item_id, title, category, price FROM items ORDER BY item_id") == [
        ("17850", None, None, 1.5),
        ("new", "n", None, None),
        ("plain", None, None, None),
        ("ü", "Größe", None, 4.255),
    ]
    assert len(read(path, "SELECT user_id FROM users")) == 2


def test_prices_change_and_nothing_else(written):
    before = read(written, "SELECT * FROM users"), read(written, "SELECT item_id, title FROM items")
    change_prices(written, {"plain": 2.1, "nothing": 1.0})
    assert read(written, "SELECT price FROM items WHERE item_id IN ('plain', 'ü') ORDER BY item_id") == [
        (2.1,),
        (4.255,),
    ]
    assert (read(written, "SELECT * FROM users"), read(written, "SELECT item_id, title FROM items")) == before
    assert [path.name for path in written.parent.iterdir()] == ["snapshot.sqlite"]
