import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from tfx_pipeline.sources import command
from tfx_pipeline.sources import retailrocket
from tfx_pipeline.sources.retailrocket import Options

PUBLIC = Path(__file__).resolve().parents[3] / "../shared/data/retailrocket/events.csv.gz"

EVENTS = """\
timestamp,visitorid,event,itemid,transactionid
1000,u1,view,i1,
2000,u1,addtocart,i1,
1500,u2,transaction,i2,77
3000,u2,view,i1,
3000,u2,wishlist,i1,
3000,,view,i1,
soon,u2,view,i1,
"""
PROPERTIES_1 = """\
timestamp,itemid,property,value
500,i1,categoryid,4
2500,i1,categoryid,5
3001,i1,categoryid,6
500,i1,790,n12
500,i9,790,n7
"""
PROPERTIES_2 = """\
timestamp,itemid,property,value
900,i1,categoryid,4
100,i8,categoryid,4
"""
TREE = """\
categoryid,parentid
5,3
3,1
1,
4,7
7,8
8,7
"""


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "events.csv").write_text(EVENTS)
    return folder


def _tables(data, out, name="events", **options):
    retailrocket.write_tables(data=data, out=out, options=Options(**options))
    return pd.read_parquet(out / name)


def test_events_keep_their_order_and_take_the_contracts_names(data, tmp_path):
    events = _tables(data, tmp_path / "raw")
    assert events.to_dict("list") == {
        "user_id": ["u1", "u1", "u2", "u2"],
        "item_id": ["i1", "i1", "i2", "i1"],
        "event": ["click", "add_to_cart", "purchase", "click"],
        "timestamp": [1_000_000, 2_000_000, 1_500_000, 3_000_000],  # ms * 1000
    }


def test_what_is_set_aside_is_counted_by_reason(data, tmp_path):
    _tables(data, tmp_path / "raw")
    facts = json.loads((tmp_path / "raw/source.json").read_text())
    assert facts["set_aside"] == {"unknown event kind": 1, "no visitor or item": 1, "unparsable timestamp": 1}
    assert facts["rows_read"] == 7
    assert facts["rows_written"] == {"events": 4, "items": 2}
    assert facts["kind"] == "real"
    assert "CC BY-NC-SA 4.0" in facts["notice"]


def test_chunks_and_gzip_give_the_same_rows(data, tmp_path, monkeypatch):
    whole = _tables(data, tmp_path / "a")
    (data / "events.csv").rename(tmp_path / "copy.csv")
    (data / "events.csv.gz").write_bytes(gzip.compress(EVENTS.encode()))
    monkeypatch.setattr(retailrocket, "_CHUNK_ROWS", 2)
    pd.testing.assert_frame_equal(_tables(data, tmp_path / "b"), whole)
    assert json.loads((tmp_path / "b/source.json").read_text())["rows_read"] == 7


def test_items_without_properties_have_an_id_only(data, tmp_path):
    assert _tables(data, tmp_path / "raw", "items").to_dict("list") == {"item_id": ["i1", "i2"]}


@pytest.mark.parametrize("chunk_rows", [1, 1000])
def test_the_latest_category_at_the_end_of_the_events_is_taken(chunk_rows, data, tmp_path, monkeypatch):
    monkeypatch.setattr(retailrocket, "_CHUNK_ROWS", chunk_rows)
    (data / "item_properties_part1.csv").write_text(PROPERTIES_1)
    (data / "item_properties_part2.csv").write_text(PROPERTIES_2)
    (data / "category_tree.csv").write_text(TREE)
    items = _tables(data, tmp_path / "raw", "items").set_index("item_id")
    assert items.loc["i1", "category"] == "1 > 3 > 5"  # 5 at 2500; 6 comes after the last event, at 3000
    assert pd.isna(items.loc["i2", "category"])
    assert items.index.tolist() == ["i1", "i2"]


def test_without_a_tree_the_category_is_the_leaf(data, tmp_path):
    (data / "item_properties_part2.csv").write_text(PROPERTIES_2)
    assert _tables(data, tmp_path / "raw", "items")["category"].tolist() == ["4", None]


def test_a_cycle_in_the_tree_is_cut(data, tmp_path):
    (data / "item_properties_part2.csv").write_text(PROPERTIES_2)
    (data / "category_tree.csv").write_text(TREE)
    assert _tables(data, tmp_path / "raw", "items")["category"].tolist() == ["8 > 7 > 4", None]  # 8's parent is 7 again


def test_items_without_events_come_on_request(data, tmp_path):
    (data / "item_properties_part1.csv").write_text(PROPERTIES_1)
    (data / "item_properties_part2.csv").write_text(PROPERTIES_2)
    items = _tables(data, tmp_path / "raw", "items", only_event_items=False).set_index("item_id")
    assert items.index.tolist() == ["i1", "i2", "i8", "i9"]
    assert items["category"].tolist() == ["5", None, "4", None]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", r"must have the columns \['timestamp', .*Received: \['a', 'b'\]"),
        (EVENTS.splitlines()[0] + "\n", "holds no usable event. Received: 0 rows"),
        (EVENTS.splitlines()[0] + "\n1000,u1,wishlist,i1,\n", "set aside as {'unknown event kind': 1"),
        ('timestamp,visitorid,event,itemid\n1000,u1,"view,i1\n', "cannot be read"),
    ],
)
def test_unusable_files_say_why_and_write_nothing(content, said, data, tmp_path):
    (data / "events.csv").write_text(content)
    with pytest.raises(command.DataError, match=said):
        _tables(data, tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_damaged_property_file_is_named(data, tmp_path):
    (data / "item_properties_part1.csv.gz").write_text("plain text")
    with pytest.raises(command.DataError, match=r"Received: .*item_properties_part1\.csv\.gz"):
        _tables(data, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_a_folder_without_events_is_refused(tmp_path, capsys):
    assert retailrocket.main([f"--data={tmp_path}", f"--out={tmp_path / 'raw'}"]) == 2
    assert "holds no events.csv or events.csv.gz" in capsys.readouterr().err


def test_the_public_subset_agrees_with_a_plain_count(tmp_path):
    if not PUBLIC.exists():
        pytest.skip(f"needs the public file {PUBLIC}")
    events = _tables(PUBLIC, tmp_path / "raw")
    rows = pd.read_csv(PUBLIC)
    names = {"view": "click", "addtocart": "add_to_cart", "transaction": "purchase"}
    assert events["event"].value_counts().to_dict() == rows["event"].map(names).value_counts().to_dict()
    assert (events["timestamp"].to_numpy() == rows["timestamp"].to_numpy() * 1000).all()
    assert len(pd.read_parquet(tmp_path / "raw/items")) == rows["itemid"].nunique()
