import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.components.server_validator import check
from tfx_pipeline.components.server_validator import first_rows

_ITEMS = {b"a", b"b", b"c"}


def response(**changes):
    good = {
        "item_ids": np.array([[b"a", b"b", b"c"], [b"c", b"a", b"b"]], object),
        "scores": np.array([[0.9, 0.5, 0.5], [0.3, 0.2, -0.1]], np.float32),
        "index_version": np.array([b"7", b"7"], object),
    }
    return {**good, **changes}


def run(found):
    return check(found, num_queries=2, version="7", item_ids=_ITEMS)


def test_a_whole_answer_passes():
    assert run(response()) is None


def test_an_answer_is_padded_where_few_items_are_available():
    least = np.finfo(np.float32).min
    scores = np.array([[0.9, least, least]] * 2, np.float32)
    assert run(response(item_ids=np.array([[b"a", b"", b""]] * 2, object), scores=scores)) is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"index_version": np.array([b"7", b"6"], object)}, "Served answers must name version 7. Received: "),
        ({"item_ids": np.array([[b"a", b"b", b"c"]], object)}, r"must have shape \(2, 3\). Received: \(1, 3\)"),
        ({"scores": np.zeros((2, 2), np.float32)}, r"Served answers must have shape \(2, 3\)"),
        ({"item_ids": np.array([[b"a", b"a", b"c"]] * 2, object)}, "must be distinct and of the catalogue"),
        ({"item_ids": np.array([[b"a", b"b", b"x"]] * 2, object)}, "must be distinct and of the catalogue"),
        ({"item_ids": np.full((2, 3), b"", object)}, "at least one. Received"),
        ({"scores": np.array([[0.1, 0.2, 0.3]] * 2, np.float32)}, "Served scores must be finite and descend"),
        ({"scores": np.full((2, 3), np.nan, np.float32)}, "Served scores must be finite and descend"),
    ],
)
def test_a_broken_answer_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        run(response(**changes))


@pytest.mark.parametrize(("num_rows", "num_asked"), [(1, 1), (20, 8)])
def test_the_first_rows_of_the_split_are_asked(tmp_path, num_rows, num_asked):
    rows = [f"row {number}".encode() for number in range(num_rows)]
    assert first_rows([write(tmp_path, rows)]).numpy().tolist() == rows[:num_asked]


@pytest.mark.parametrize("num_files", [0, 1])
def test_an_empty_split_is_refused(tmp_path, num_files):
    files = [write(tmp_path, [])][:num_files]
    with pytest.raises(ValueError, match=r"The split eval must hold an example to query .* change examples.cut or"):
        first_rows(files)


def write(folder, rows):
    path = str(folder / "part.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as file:
        for row in rows:
            file.write(row)
    return path
