import gzip
import json
import re
from itertools import chain

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.examples.clean import CleanEvents
from tfx_pipeline.examples.read import FORMATS
from tfx_pipeline.examples.read import ReadTable
from tfx_pipeline.examples.read import column_names
from tfx_pipeline.examples.read import read_shard

MOMENT = 1_700_000_000_000_000
HEADER = "user_id,item_id,event,timestamp\n"
ROWS = [
    {"user_id": 17850, "item_id": "é日本", "event": "click", "timestamp": MOMENT, "surface": "home", "value": 0.1},
    {"user_id": 17851, "item_id": 'a,"b"', "event": "save", "timestamp": MOMENT + 1, "surface": None, "value": None},
    {"user_id": 17851, "item_id": "007", "event": "purchase", "timestamp": MOMENT + 2, "surface": "x\ny", "value": 7.0},
]
CLEAN = [
    ("17850", ("é日本", "click", MOMENT, None, 0.1, "", (("surface", "home"),))),
    ("17851", ('a,"b"', "save", MOMENT + 1, None, None, "", ())),
    ("17851", ("007", "purchase", MOMENT + 2, None, 7.0, "", (("surface", "x\ny"),))),
]


def write(path, rows):
    """The rows in the format of the path's ending, `rows` as the bytes of other endings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return str(path)
    if ".csv" in path.name:
        content = pd.DataFrame(rows).to_csv(index=False).encode()
    else:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_all_formats_give_the_same_rows(tmp_path, groups, run):
    surface = tuple(f for f in groups.carried_from("events") if f.name == "surface")
    for ending in FORMATS:
        write(tmp_path / ending[1:] / "events" / f"part{ending}", ROWS)

    def graph(pipeline):
        return {
            ending: (
                pipeline
                | f"Read{ending}" >> ReadTable(str(tmp_path / ending[1:]), "events")
                | f"Clean{ending}" >> CleanEvents(surface, now_us=MOMENT, max_id_length=10)
            ).rows
            for ending in FORMATS
        }

    found = run(graph)
    assert len(FORMATS) == 5
    for ending in FORMATS:
        assert sorted(chain.from_iterable(found[ending]), key=lambda row: row[1][2]) == CLEAN, ending


def test_a_table_is_all_its_shards_but_hidden_files(tmp_path, run):
    for name, rows in (("a.jsonl", ROWS[:1]), ("b.parquet", ROWS[1:2]), ("c.csv.gz", ROWS[2:])):
        write(tmp_path / "events" / name, rows)
    for hidden in ("_SUCCESS", ".part.csv.crc", "_temporary.csv"):
        written(tmp_path / "events" / hidden, b"not a table")
    found = run(lambda pipeline: {"frames": pipeline | ReadTable(str(tmp_path), "events")})["frames"]
    assert sorted(item for _, frame in found for item in frame["item_id"]) == ["007", 'a,"b"', "é日本"]
    assert {place for place, _ in found} == {f"{tmp_path}/events/{n}:0" for n in ("a.jsonl", "b.parquet", "c.csv.gz")}


@pytest.mark.parametrize("has_folder", [True, False])
def test_an_empty_or_absent_table_has_no_frames(tmp_path, run, has_folder):
    if has_folder:
        (tmp_path / "users").mkdir()
    assert run(lambda pipeline: {"frames": pipeline | ReadTable(str(tmp_path), "users")}) == {"frames": []}


def test_shards_without_rows_are_fine(tmp_path):
    empty_parquet = pa.table({"user_id": pa.array([], pa.string())})
    pq.write_table(empty_parquet, tmp_path / "empty.parquet")
    shards = [
        str(tmp_path / "empty.parquet"),
        written(tmp_path / "empty.csv", b"user_id,age\n"),
        written(tmp_path / "empty.csv.gz", gzip.compress(b"user_id,age\n")),
        written(tmp_path / "empty.jsonl", b""),
    ]
    assert [sum(len(frame) for _, frame in read_shard(shard, "users")) for shard in shards] == [0, 0, 0, 0]


def test_shards_are_read_in_batches_that_tell_their_first_row(tmp_path):
    num = 45_000  # batches of 20,000
    path = written(tmp_path / "big.csv", ("user_id\n" + "u\n" * num).encode())
    assert [(place, len(frame)) for place, frame in read_shard(path, "users")] == [
        (f"{path}:0", 20_000),
        (f"{path}:20000", 20_000),
        (f"{path}:40000", 5_000),
    ]
    lines = written(tmp_path / "big.jsonl", b'{"user_id": "u"}\n' * num)
    assert [len(frame) for _, frame in read_shard(lines, "users")] == [20_000, 20_000, 5_000]


def _truncated_parquet(path):
    write(path, ROWS)
    return written(path, path.read_bytes()[: path.stat().st_size // 2])


def _truncated_gzip(path):
    content = gzip.compress((HEADER + "u,i,click,1\n" * 1_000).encode())
    return written(path, content[:-12])


def _corrupt_gzip(path):
    content = bytearray(gzip.compress((HEADER + "u,i,click,1\n" * 1_000).encode()))
    content[40] ^= 0xFF
    return written(path, bytes(content))


BROKEN = {
    "truncated.parquet": _truncated_parquet,
    "not_parquet.parquet": lambda path: written(path, HEADER.encode()),
    "truncated.csv.gz": _truncated_gzip,
    "truncated.jsonl.gz": lambda path: written(path, gzip.compress(b'{"user_id": "u"}\n' * 99)[:-9]),
    "corrupt.csv.gz": _corrupt_gzip,
    "not_gzip.csv.gz": lambda path: written(path, HEADER.encode()),
    "no_header.csv": lambda path: written(path, b""),
    "latin1.csv": lambda path: written(path, (HEADER + "u,é,click,1\n").encode("latin-1")),
    "long_first_row.csv": lambda path: written(path, (HEADER + "u,i,click,1,2\n").encode()),
    "long_second_row.csv": lambda path: written(path, (HEADER + "u,i,click,1\nu,i,click,1,2\n").encode()),
    "truncated.jsonl": lambda path: written(path, b'{"user_id": "u", "item_'),
    "no_objects.jsonl": lambda path: written(path, b'["u", "i", "click", 1]\n'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_shard_is_named_with_its_table_and_the_remedy(tmp_path, name):
    path = BROKEN[name](tmp_path / "events" / name)
    told = re.compile(rf"^Table events: .*{name} cannot be read after row 0: .*write the shard again", re.DOTALL)
    with pytest.raises(ValueError, match=told):
        list(read_shard(path, "events"))


@pytest.mark.parametrize("name", ["truncated.parquet", "no_header.csv", "corrupt.csv.gz", "truncated.jsonl"])
def test_reading_the_columns_of_a_broken_shard_names_it_too(tmp_path, name):
    path = BROKEN[name](tmp_path / "events" / name)
    with pytest.raises(ValueError, match=rf"^Table events: .*{name} cannot be read"):
        column_names(path)


def test_an_unknown_ending_is_refused(tmp_path):
    path = written(tmp_path / "events" / "part.xlsx", b"")
    with pytest.raises(ValueError, match=r"Table events: cannot read .*part\.xlsx\. Shards must end in .*\.jsonl\.gz"):
        list(read_shard(path, "events"))


@pytest.mark.parametrize("ending", FORMATS)
def test_a_missing_required_column_is_named(tmp_path, ending):
    rows = [{name: value for name, value in row.items() if name not in ("event", "timestamp")} for row in ROWS]
    path = write(tmp_path / f"part{ending}", rows)
    message = rf"Table events: .*part{ending} has no column 'event', 'timestamp'. It has: item_id, surface, user_id"
    with pytest.raises(ValueError, match=message):
        list(read_shard(path, "events"))


@pytest.mark.parametrize("ending", FORMATS)
def test_column_names_are_those_of_the_file(tmp_path, ending):
    assert column_names(write(tmp_path / f"part{ending}", ROWS)) == set(ROWS[0])


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_large_integer_ids_beside_a_null_are_exact(tmp_path, ending):
    """2**53 + 1 is the first integer that a float64, pandas' usual column for it, cannot hold."""
    rows = [{"user_id": 2**53 + 1}, {"user_id": None}]
    ((_, frame),) = read_shard(write(tmp_path / f"part{ending}", rows), "users")
    assert frame["user_id"].tolist() == [9_007_199_254_740_993, None]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert column_names(written(tmp_path / "part.csv", b"\xef\xbb\xbfuser_id,age\nu,1\n")) == {"user_id", "age"}
