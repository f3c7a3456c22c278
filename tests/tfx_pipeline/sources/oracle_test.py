import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.sources import oracle as oracle_module
from tfx_pipeline.sources.oracle import Oracle
from tfx_pipeline.sources.writer import TableWriter

_ITEMS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
_BIAS = np.array([0.5, -1.0, 0.0])
_USERS = np.array([[1.0, 0.0], [0.0, -1.0]], dtype=np.float32)
_QUERIES = np.array([[0.0, 1.0]], dtype=np.float32)
_COEFFICIENTS = {
    "home": {"user": 2.0, "subject": 0.0, "query": 0.0},
    "related": {"user": 1.0, "subject": 3.0, "query": 0.0},
    "search": {"user": 0.5, "subject": 0.0, "query": 4.0},
    "unknown": {"user": 2.0, "subject": 0.0, "query": 0.0},
}
_ITEM_IDS = ["i0", "i1", "i2"]


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    with TableWriter(tmp_path / "data") as writer:
        items = {"item_id": _ITEM_IDS, "vector": list(_ITEMS), "bias": _BIAS, "available_from": [5, 6, 7]}
        writer.write(oracle_module.ITEMS, pd.DataFrame(items))
        for number in range(2):  # one shard per user, as the simulator writes one per chunk
            user = {"user_id": [f"u{number}"], "vector": [_USERS[number]]}
            writer.write(oracle_module.USERS, pd.DataFrame(user))
        writer.write(oracle_module.QUERIES, pd.DataFrame({"query": ["red vase"], "vector": list(_QUERIES)}))
        writer.write_facts({"oracle": {"coefficients": _COEFFICIENTS}})
    loaded = Oracle.load(tmp_path / "data")
    assert loaded is not None
    return loaded


def test_scores_equal_the_law_written_out(oracle: Oracle):
    scores = oracle.scores(
        ["u0", "u0", "u1", "u1"],
        ["home", "related", "search", "unknown"],
        ["", "i2", "", ""],
        ["", "", "red vase", ""],
        _ITEM_IDS,
    )
    expected = np.array(
        [
            2 * _ITEMS @ _USERS[0] + _BIAS,
            _ITEMS @ (_USERS[0] + 3 * _ITEMS[2]) + _BIAS,
            _ITEMS @ (0.5 * _USERS[1] + 4 * _QUERIES[0]) + _BIAS,
            2 * _ITEMS @ _USERS[1] + _BIAS,
        ]
    )
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert scores.dtype == np.float32


def test_columns_follow_the_given_items(oracle: Oracle):
    # u0 at home: 2 * [1, 0] . v + bias is 2.5, -1 and 1.2.
    np.testing.assert_allclose(
        oracle.scores(["u0"], ["home"], [""], [""], ["i2", "i0", "i2"]), [[1.2, 2.5, 1.2]], rtol=1e-6
    )


def test_context_that_the_surface_does_not_use_is_ignored(oracle: Oracle):
    plain = oracle.scores(["u0"], ["home"], [""], [""], _ITEM_IDS)
    np.testing.assert_array_equal(oracle.scores(["u0"], ["home"], ["no item"], ["no query"], _ITEM_IDS), plain)


def test_no_rows_give_an_empty_matrix(oracle: Oracle):
    assert oracle.scores([], [], [], [], _ITEM_IDS).shape == (0, 3)


def test_launches_follow_the_given_items(oracle: Oracle):
    np.testing.assert_array_equal(oracle.available_from_us(["i2", "i0"]), [7, 5])


@pytest.mark.parametrize(
    ("user", "surface", "subject", "query", "item", "message"),
    [
        ("u9", "home", "", "", "i0", "user must be .* Received: 'u9'"),
        ("u0", "email", "", "", "i0", r"surface must be one of \['home', 'related', .* Received: 'email'"),
        ("u0", "related", "", "", "i0", "subject item must be .* Received: ''"),
        ("u0", "related", "i9", "", "i0", "subject item must be .* Received: 'i9'"),
        ("u0", "search", "", "blue vase", "i0", "query must be .* Received: 'blue vase'"),
        ("u0", "home", "", "", "i9", "item must be .* Received: 'i9'"),
    ],
)
def test_unknown_values_are_named(
    oracle: Oracle, user: str, surface: str, subject: str, query: str, item: str, message: str
):
    with pytest.raises(ValueError, match=message):
        oracle.scores([user], [surface], [subject], [query], [item])


def test_lists_of_different_lengths_are_refused(oracle: Oracle):
    with pytest.raises(ValueError, match=r"of one length\. Received: 2, 1, 1, 1"):
        oracle.scores(["u0", "u1"], ["home"], [""], [""], _ITEM_IDS)


def test_a_dataset_without_an_oracle_gives_none(tmp_path: Path):
    (tmp_path / "source.json").write_text(json.dumps({"kind": "real"}))
    assert Oracle.load(tmp_path) is None
