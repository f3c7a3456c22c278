import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import tables
from tfx_pipeline.sources.writer import TableWriter

ITEMS = pd.DataFrame({"item_id": ["a", "b"], "price": [1, None], "brand": ["x", "y"]})


def _fail(out, error):
    with TableWriter(out) as writer:
        writer.write(tables.ITEMS, ITEMS.head(1))
        raise error


def test_shards_take_the_contracts_types_and_keep_further_columns(tmp_path):
    with TableWriter(tmp_path / "raw") as writer:
        writer.write(tables.ITEMS, ITEMS)
        writer.write(tables.ITEMS, ITEMS.head(1))
    first = pq.read_table(tmp_path / "raw/items/part-00000.parquet")
    assert first.schema == pa.schema([("item_id", pa.string()), ("price", pa.float64()), ("brand", pa.string())])
    assert first.to_pydict() == {"item_id": ["a", "b"], "price": [1.0, None], "brand": ["x", "y"]}
    assert pq.read_table(tmp_path / "raw/items/part-00001.parquet").num_rows == 1


def test_facts_count_the_rows_written(tmp_path):
    with TableWriter(tmp_path / "raw") as writer:
        writer.write(tables.ITEMS, ITEMS)
        writer.write(tables.ITEMS, ITEMS)
        writer.write_facts({"source": "hand-made"})
        assert writer.num_rows == {"items": 4}  # 2 + 2
    assert json.loads((tmp_path / "raw/source.json").read_text()) == {
        "source": "hand-made",
        "rows_written": {"items": 4},
    }


def test_an_empty_frame_writes_no_shard(tmp_path):
    with TableWriter(tmp_path / "raw") as writer:
        writer.write(tables.ITEMS, ITEMS.head(0))
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_failing_source_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        _fail(tmp_path / "raw", KeyError("killed"))
    assert list(tmp_path.iterdir()) == []


def test_a_failing_source_leaves_the_dataset_that_was_there(tmp_path):
    with TableWriter(tmp_path / "raw") as writer:
        writer.write(tables.ITEMS, ITEMS)
    with pytest.raises(KeyboardInterrupt):
        _fail(tmp_path / "raw", KeyboardInterrupt())
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert pq.read_table(tmp_path / "raw/items/part-00000.parquet").num_rows == 2


def test_a_dataset_is_replaced_whole_and_what_a_kill_left_is_removed(tmp_path):
    with TableWriter(tmp_path / "raw") as writer:
        writer.write(tables.ITEMS, ITEMS)
    killed = TableWriter(tmp_path / "raw")
    killed.__enter__()  # and never left: what a killed process leaves behind
    killed.write(tables.USERS, pd.DataFrame({"user_id": ["u"]}))
    assert (tmp_path / "raw/items").is_dir()
    with TableWriter(tmp_path / "raw") as writer:
        writer.write(tables.EVENTS, pd.DataFrame({"user_id": ["u"], "timestamp": [1]}))
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["events"]
