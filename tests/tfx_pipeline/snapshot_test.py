import gzip
import json
import sqlite3

import pytest

from tfx_pipeline.snapshot import write_snapshot


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    examples, dataset = tmp_path / "examples", tmp_path / "dataset"
    (examples / "user_snapshot").mkdir(parents=True)
    (dataset / "items").mkdir(parents=True)
    (examples / "facts.json").write_text(json.dumps({"counts": {}, "period": {"cut_us": 0, "last_us": 86_400_000_000}}))
    users = [{"user_id": "u1", "features": {"n": 2.0, "history_item_id": ["ü"]}}, {"user_id": "u2", "features": {}}]
    with gzip.open(examples / "user_snapshot/part.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(user) + "\n" for user in users))
    (dataset / "items/part.csv").write_text("item_id,title,price\nü,Größe,2.5\nplain,,\nü,again,1\n")
    path = tmp_path / "out/snapshot.sqlite"
    for _ in range(2):  # a second run replaces the first
        write_snapshot(str(examples), dataset, path, source="shop", notice="synthetic")
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
    assert items == [("plain", None, None, None, None), ("ü", "Größe", None, None, 2.5)]  # the first of doubles
    meta = dict(read(written, "SELECT key, value FROM meta"))
    assert meta == {"as_of": "1970-01-02T00:00:00+00:00", "source": "shop", "notice": "synthetic"}


def test_the_pointer_names_the_file_and_nothing_partial_is_left(written, tmp_path):
    assert (tmp_path / "cache/conversion_retrieval/latest_snapshot").read_text() == str(written)
    assert [path.name for path in written.parent.iterdir()] == ["snapshot.sqlite"]
