import pytest
from planted_transform import serialize

from tfx_pipeline.evaluation.given_slices import given_slices

ROWS = [
    {"user_id": "u", "country": "FR", "age": 20.0, "visits": 1},
    {"user_id": "v", "age": 50.0},
    {"user_id": "w", "country": ["DE", "FR"], "age": 30.0, "visits": 7},
    {"user_id": "x", "age": 40.0, "visits": 7},
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("country", ["FR", "unknown", "DE", "unknown"]),
        ("age", ["up to 30.00", "above", "up to 30.00", "up to 40.00"]),  # thirds of 20, 30, 40 and 50
        ("visits", ["up to 5.00", "unknown", "up to 7.00", "up to 7.00"]),  # of 1, 7 and 7: 5 and 7
    ],
)
def test_rows_are_sliced_by_any_feature(name, expected):
    assert given_slices([serialize(row) for row in ROWS], (name,))[name].tolist() == expected


def test_no_rows_have_no_slices():
    assert given_slices([], ("country",))["country"].tolist() == []


def test_a_feature_that_no_row_has_is_refused():
    with pytest.raises(
        ValueError, match=r"must name features of the split eval. Received: colour; a row of it has age"
    ):
        given_slices([serialize(row) for row in ROWS], ("colour",))
