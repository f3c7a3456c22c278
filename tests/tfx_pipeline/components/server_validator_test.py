import numpy as np
import pytest

from tfx_pipeline.components.server_validator import check

_ITEMS = {b"a", b"b", b"c"}


def response(**changes):
    good = {
        "item_ids": np.array([[b"a", b"b", b"c"], [b"c", b"a", b"b"]], object),
        "scores": np.array([[0.9, 0.5, 0.5], [0.3, 0.2, -0.1]], np.float32),
        "model_version": np.array([b"7", b"7"], object),
    }
    return {**good, **changes}


def run(found):
    return check(found, num_queries=2, version="7", item_ids=_ITEMS)


def test_a_whole_answer_passes():
    assert run(response()) is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_version": np.array([b"7", b"6"], object)}, "Served answers must name version 7. Received: "),
        ({"item_ids": np.array([[b"a", b"b", b"c"]], object)}, r"must have shape \(2, 3\). Received: \(1, 3\)"),
        ({"scores": np.zeros((2, 2), np.float32)}, r"Served answers must have shape \(2, 3\)"),
        ({"item_ids": np.array([[b"a", b"a", b"c"]] * 2, object)}, "must be distinct and of the catalogue"),
        ({"item_ids": np.array([[b"a", b"b", b"x"]] * 2, object)}, "must be distinct and of the catalogue"),
        ({"scores": np.array([[0.1, 0.2, 0.3]] * 2, np.float32)}, "Served scores must be finite and descend"),
        ({"scores": np.full((2, 3), np.nan, np.float32)}, "Served scores must be finite and descend"),
    ],
)
def test_a_broken_answer_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        run(response(**changes))
