import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from planted_catalog import catalog_of

from tfx_pipeline.dataset import shards
from tfx_pipeline.index.changes import changed_catalog
from tfx_pipeline.index.changes import copy_with_values
from tfx_pipeline.index.changes import read_changes


@pytest.fixture
def folder(tmp_path):
    """Two shards: the second corrects the first."""
    pq.write_table(
        pa.table({"item_id": ["a", "b", "c", None], "price": [1.5, None, -3.0, 9.0]}), tmp_path / "1.parquet"
    )
    (tmp_path / "2.csv").write_text("item_id,is_available,price\nb,0,\na,,2.5\nd,1,4\ne,,\n")
    (tmp_path / "_SUCCESS").touch()
    return tmp_path


def test_later_rows_correct_earlier_ones_and_what_is_unusable_is_counted(folder):
    changes, counts = read_changes(shards(folder, "changes"), max_id_length=9)
    assert changes == {"a": {"price": 2.5}, "b": {"is_available": 0.0}, "d": {"price": 4.0, "is_available": 1.0}}
    assert counts == {"items.rows": 8, "items.value_dropped.price": 1, "items.set_aside": 1}


def test_one_file_will_do(folder):
    assert set(read_changes(shards(folder / "1.parquet", "changes"), max_id_length=9)[0]) == {"a"}


@pytest.mark.parametrize("text", ["item_id,title\na,red\n", "item_id,price\n"])
def test_files_that_change_nothing_are_refused(tmp_path, text):
    (tmp_path / "part.csv").write_text(text)
    with pytest.raises(ValueError, match="--changes must hold a price or is_available of an item"):
        read_changes(shards(tmp_path, "changes"), max_id_length=9)


def test_only_what_is_named_changes_and_unknown_items_are_counted():
    catalog = catalog_of([b"a", b"b", b"c"], np.eye(3), prices=np.array([1, 2, 3], np.float32))
    found, num_unknown = changed_catalog(
        catalog, {"a": {"price": 9.0}, "c": {"is_available": 0.0}, "x": {"price": 1.0}}
    )
    assert num_unknown == 1
    assert found.prices.tolist() == [9, 2, 3]
    assert found.is_available.tolist() == [True, True, False]
    assert (catalog.prices.tolist(), catalog.is_available.tolist()) == ([1, 2, 3], [True] * 3)  # as it was
    np.testing.assert_array_equal(found.vectors, catalog.vectors)


class Shop(tf.Module):
    """Stands in for a retriever: variables as its filters have them, a table with an asset, and what reads them."""

    def __init__(self, vocabulary):
        super().__init__()
        self.filters = tf.Module()
        self.filters.prices = tf.Variable([1.0, 2.0, float("nan")])
        self.filters.is_available = tf.Variable([True, True, False])
        self.index_version = tf.Variable("1")
        self._names = tf.Variable(["a", "ü", "c"])
        initializer = tf.lookup.TextFileInitializer(
            vocabulary, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self._places = tf.lookup.StaticHashTable(initializer, -1)

    def signature(self):
        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="names")])
        def look(names):
            prices = tf.gather(self.filters.prices, self._places.lookup(names))
            version = tf.fill([tf.size(names)], self.index_version)
            return {"prices": prices, "version": version, "is_available": self.filters.is_available}

        return look


@pytest.fixture
def exported(tmp_path):
    (tmp_path / "vocabulary").write_text("a\nü\nc\n")
    shop = Shop(str(tmp_path / "vocabulary"))
    tf.saved_model.save(shop, str(tmp_path / "model"), signatures={"look": shop.signature()})
    (tmp_path / "model/assets.extra").mkdir()
    (tmp_path / "model/assets.extra/requests").write_bytes(b"kept")
    return tmp_path / "model"


def test_a_copy_answers_with_the_new_values_and_keeps_its_graph(exported, tmp_path, fresh_process):
    before = sorted(path.relative_to(exported) for path in exported.rglob("*"))
    values = {
        "filters.prices": np.array([4.5, np.nan, 7], np.float32),
        "filters.is_available": np.array([False, True, True]),
        "index_version": "20260203040506",
    }
    copy_with_values(exported, tmp_path / "copy", values)
    answer = fresh_process(str(tmp_path / "copy"), "look", names=np.array(["c", "ü", "a"], object))
    np.testing.assert_array_equal(answer["prices"], np.array([7, np.nan, 4.5], np.float32))
    assert answer["is_available"].tolist() == [False, True, True]
    assert answer["version"].tolist() == [b"20260203040506"] * 3
    kept = {path.name for path in before} - {"fingerprint.pb"}
    assert {path.name for path in (tmp_path / "copy").rglob("*")} == kept
    for name in ("saved_model.pb", "assets/vocabulary", "assets.extra/requests"):
        assert (tmp_path / "copy" / name).read_bytes() == (exported / name).read_bytes()
    original = tf.saved_model.load(str(exported)).signatures["look"](names=tf.constant(["a"]))
    assert original["prices"].numpy().tolist() == [1.0]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"filters.colours": np.zeros(3)}, "has no variable filters.colours: older code exported it"),
        ({"filters.prices": np.zeros(2)}, r"must have shape \[3\]. Received: \[2\]"),
    ],
)
def test_values_that_do_not_fit_are_refused_and_nothing_is_written(exported, tmp_path, values, text):
    with pytest.raises(ValueError, match=text):
        copy_with_values(exported, tmp_path / "copy", values)
    assert not (tmp_path / "copy").exists()
