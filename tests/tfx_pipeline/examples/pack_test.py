import pickle

import apache_beam as beam
import pytest

from tfx_pipeline.examples import pack


@pytest.mark.parametrize("rows_held", [1, 50, 10_000])
def test_packs_hold_every_row_once_in_the_bucket_of_its_key(run, monkeypatch, rows_held):
    monkeypatch.setattr(pack, "_ROWS_HELD", rows_held)
    lists = [[(f"é{n % 40}", n) for n in range(start, start + 20)] for start in range(0, 200, 20)] + [[]]
    packs = run(lambda pipeline: {"packs": pipeline | beam.Create(lists) | pack.Pack()})["packs"]
    assert sorted(row for _, rows in packs for row in rows) == sorted(row for rows in lists for row in rows)
    assert {pack.bucket_of(key) for bucket, rows in packs for key, _ in rows if pack.bucket_of(key) != bucket} == set()
    assert len(packs) <= 40 if rows_held == 10_000 else len(packs) > 40  # 40 keys, in 40 buckets at most


def test_rows_travel_compressed(run):
    rows = pack.Rows((f"user-{n // 50}", ("train", n, b"the same long history " * 40 + b"%d" % n)) for n in range(500))
    sent = pickle.dumps(rows)
    assert len(sent) < 0.1 * len(pickle.dumps(list(rows)))
    found = pickle.loads(sent)
    assert type(found) is pack.Rows
    assert found == list(rows)
    grouped = run(lambda pipeline: {"rows": pipeline | beam.Create([(1, rows)]) | beam.GroupByKey()})["rows"]
    ((_, (received,)),) = [(key, list(values)) for key, values in grouped]
    assert received == list(rows)


def test_buckets_of_keys_are_even():
    numbers = [0] * pack.NUM_BUCKETS
    for key in range(256 * 100):
        numbers[pack.bucket_of(str(key))] += 1
    assert min(numbers) > 50  # 100 on average
    assert max(numbers) < 150
