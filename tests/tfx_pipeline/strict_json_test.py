import json

import numpy as np
import pytest

from tfx_pipeline import strict_json

NAN, INF = float("nan"), float("inf")


def parsed(text):
    """As a reader that knows no NaN."""

    def refuse(name):
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "expected", "as_text"),
    [
        ({"recall": NAN, "n": 0}, {"recall": None, "n": 0}, {"recall": "nan", "n": 0}),
        ([1.5, (INF, -INF)], [1.5, [None, None]], [1.5, ["inf", "-inf"]]),
        ({"row": {"value": np.float64("nan")}}, {"row": {"value": None}}, {"row": {"value": "nan"}}),
        ({"a": True, "b": None, "c": "NaN"},) * 3,
    ],
)
def test_every_reader_takes_what_is_written(value, expected, as_text):
    assert parsed(strict_json.dumps(value)) == expected
    assert parsed(strict_json.dumps(value, as_text=True)) == as_text


def test_options_are_those_of_json():
    assert strict_json.dumps({"ü": [NAN]}, indent=2, ensure_ascii=False) == '{\n  "ü": [\n    null\n  ]\n}'
    assert strict_json.dumps({"at": object}, default=lambda _: "object") == '{"at": "object"}'
