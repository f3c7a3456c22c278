import gzip
import json
import math

import apache_beam as beam
import numpy as np
import pytest

from tfx_pipeline.examples import label_health
from tfx_pipeline.examples.attribution import attribute
from tfx_pipeline.examples.config import ExamplesConfig

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


@pytest.fixture
def logs(event, user_log):
    """Two users: three conversions on day 10, two of one item by one user; one on day 11, four hours after its click."""
    first = user_log(
        event("a", "purchase", 10 * DAY_US),
        event("a", "purchase", 10 * DAY_US + 1),
        event("a", "purchase", 10 * DAY_US + 1),  # a duplicate
        event("b", "save", 11 * DAY_US),
        event("b", "purchase", 11 * DAY_US + 4 * HOUR_US),
        user_id="first",
    )
    second = user_log(
        event("a", "click", 10 * DAY_US),
        event("a", "add_to_cart", 10 * DAY_US + 4 * HOUR_US),
        event("c", "impression", 10 * DAY_US),
        user_id="second",
    )
    return [attribute(log, ExamplesConfig()) for log in (first, second)]


def test_conversions_are_summed_by_day_user_lag_and_item(run, logs):
    found = run(lambda pipeline: pipeline | beam.Create(logs) | label_health.LabelHealth())
    four_hours = label_health.bucket_of_lag(4 * 3600)
    assert dict(found["measures"]) == {
        ("day", 10): (3, 2),
        ("day", 11): (1, 1),
        ("lag", four_hours): (2, 0),  # the first's purchases of `a` have no touch
        ("touches", 0): (3, 0),
    }
    assert sorted(sorted(rows) for rows in found["item_days"]) == [
        [("a", (10, 1))],
        [("a", (10, 2)), ("b", (11, 1))],
    ]


def test_a_line_per_advertiser_holds_its_days(run):
    packs = [[("a", (10, 2)), ("b", (11, 1))], [("a", (10, 1)), ("stranger", (10, 5)), ("own", (10, 7))]]
    attributes = {"a": [{"advertiser_id": "x"}], "b": [{"advertiser_id": "x"}], "own": [{"price": 1.0}]}

    def graph(pipeline):
        emitted = [tagged.value for tagged in label_health.advertiser_days(attributes, packs)]
        return {"lines": pipeline | beam.Create([*emitted, (("y", 9), 4)]) | label_health.AdvertiserLines()}

    assert sorted(map(json.loads, run(graph)["lines"]), key=str) == [
        {"advertiser_id": "x", "days": [[10, 3], [11, 1]]},
        {"advertiser_id": "y", "days": [[9, 4]]},
    ]


def test_what_is_written_is_read(tmp_path):
    measures = {("day", 11): (2, 1), ("day", 10): (5, 3), ("lag", 7): (4, 0), ("touches", 0): (9, 0)}
    label_health.write_labels(None, measures, str(tmp_path / label_health.LABELS_FILE))
    assert label_health.read_labels(str(tmp_path)) == {
        "days": [[10, 5, 3], [11, 2, 1]],
        "lags": [[7, 4]],
        "num_touches": 9,
    }
    folder = tmp_path / label_health.ADVERTISERS_FOLDER
    folder.mkdir()
    for number, name in enumerate(("é", "y")):
        with gzip.open(folder / f"part-{number}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps({"advertiser_id": name, "days": [[number, 1]]}) + "\n")
    assert list(label_health.read_advertisers(str(tmp_path))) == [("é", [[0, 1]]), ("y", [[1, 1]])]


def test_a_bucket_of_lag_is_right_to_half_a_percent():
    seconds = np.geomspace(60, 365 * 86_400, 10_000)
    found = np.array([label_health.lag_of_bucket(label_health.bucket_of_lag(s)) for s in seconds])
    np.testing.assert_allclose(1 + found, 1 + seconds, rtol=math.expm1(0.00501))
    assert label_health.bucket_of_lag(0.0) == 0
    assert len({label_health.bucket_of_lag(s) for s in np.geomspace(1, 365 * 86_400, 100_000)}) < 1_800
