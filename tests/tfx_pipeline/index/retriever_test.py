import numpy as np
import pytest
import tensorflow as tf

from schemas import contract
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.catalog import embed_catalog
from tfx_pipeline.index.retriever import Retriever
from tfx_pipeline.index.retriever import export_retriever

_VERSION = 20260102030405


@pytest.fixture(scope="module")
def catalog(market, towers):
    return embed_catalog(towers, market.raw_files["catalog"])


@pytest.fixture(scope="module")
def retrievers(towers, catalog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrievers")
    for kind in ("exact", "scann"):
        export_retriever(Retriever(towers, catalog, kind=kind, version=_VERSION, max_k=1000), str(folder / kind))
    return folder


@pytest.fixture(scope="module")
def exact(retrievers):
    return tf.saved_model.load(str(retrievers / "exact")).signatures


@pytest.fixture(scope="module")
def inputs(market):
    """Named inputs of three users of whom only a history of one item is known."""
    given = {}
    for feature in market.groups.query:
        missing = contract.MISSING_STRING if feature.is_string else contract.MISSING_FLOAT
        given[feature.name] = tf.constant([[missing]] * 3 if feature.role == "history" else [missing] * 3)
    return {**given, "history_item_id": tf.constant([["a00"], ["b03-ü東"], ["b05"]])}


def test_the_catalogue_is_sorted_and_whole(market, catalog, trained):
    assert catalog.item_ids.tolist() == sorted(row["item_id"].encode() for row in market.catalog)
    rates = {row["item_id"].encode(): row["positive_rate"] for row in market.catalog}
    np.testing.assert_allclose(catalog.positive_rates, [rates[item_id] for item_id in catalog.item_ids])
    train = [row["item_id"].encode() for row in market.train[:16]]
    own = catalog.vectors[[catalog.item_ids.tolist().index(item_id) for item_id in train]]
    np.testing.assert_allclose(own, trained.model.item_tower(market.batch(16)).numpy(), atol=1e-5)


def test_the_catalogue_reloads_as_it_was(catalog, tmp_path):
    catalog.save(tmp_path / "catalog")
    loaded = Catalog.load(tmp_path / "catalog")
    for name in ("item_ids", "vectors", "positive_rates"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(catalog, name))


@pytest.mark.parametrize(
    ("item_ids", "vectors", "text"),
    [
        ([b"a", b"a"], [[1.0], [1.0]], r"Item ids must be unique. Received more than once: \[b'a'\]"),
        ([b"a", b"b"], [[1.0], [float("nan")]], "Item vectors must be finite"),
        ([], np.zeros((0, 1)), "The catalog split is empty"),
    ],
)
def test_an_unusable_catalogue_is_refused(item_ids, vectors, text):
    with pytest.raises(ValueError, match=text):
        Catalog(np.array(item_ids, dtype=np.bytes_), np.array(vectors, np.float32), np.zeros(len(item_ids), np.float32))


def test_an_empty_split_is_refused(towers, tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "empty.gz"), "GZIP"):
        pass
    with pytest.raises(ValueError, match="The catalog split is empty"):
        embed_catalog(towers, [str(tmp_path / "empty.gz")])


def test_a_full_answer_has_every_item_once(exact, market, inputs):
    everything = sorted(row["item_id"].encode() for row in market.catalog)
    for k in (len(everything), 1000):  # a k above the number of items is lowered to it
        answer = exact["retrieve"](**inputs, k=tf.constant([k] * 3))
        assert answer["item_ids"].shape == (3, len(everything))
        for row in answer["item_ids"].numpy():
            assert sorted(row) == everything


@pytest.mark.parametrize(("ks", "num_columns"), [([1, 1, 1], 1), ([2, 5, 3], 5), ([0, 0, 0], 1), ([-4, 2, 1], 2)])
def test_an_answer_has_as_many_columns_as_the_largest_k(exact, catalog, inputs, ks, num_columns):
    answer = {name: value.numpy() for name, value in exact["retrieve"](**inputs, k=tf.constant(ks)).items()}
    vectors = exact["embed_query"](**inputs)["embedding"].numpy()
    scores = vectors @ catalog.vectors.T
    order = np.argsort(-scores, axis=1)[:, :num_columns]
    np.testing.assert_array_equal(answer["item_ids"], catalog.item_ids[order].astype(object))
    np.testing.assert_allclose(answer["scores"], np.take_along_axis(scores, order, axis=1), atol=1e-5)
    assert answer["model_version"].tolist() == [str(_VERSION).encode()] * 3


def test_embeddings_are_the_towers_and_name_the_version(exact, towers, inputs):
    found = exact["embed_query"](**inputs)
    np.testing.assert_allclose(found["embedding"], towers.signatures["embed_query"](**inputs)["embedding"], atol=1e-6)
    assert set(found["model_version"].numpy()) == {str(_VERSION).encode()}
    assert set(exact) == {"retrieve", "serving_default", "embed_query", "embed_item"}


def test_an_empty_batch_gets_an_empty_answer(exact, inputs):
    none = {name: value[:0] for name, value in inputs.items()}
    assert exact["retrieve"](**none, k=tf.zeros([0], tf.int32))["item_ids"].shape[0] == 0


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_a_fresh_process_answers_the_same(market, towers, catalog, retrievers, fresh_process, kind):
    examples = market.serialized(market.evaluation[:8])
    answer = fresh_process(str(retrievers / kind), "serving_default", examples=np.array(examples, object))
    vectors = towers.signatures["embed_query_examples"](examples=tf.constant(examples))["embedding"].numpy()
    scores = vectors @ catalog.vectors.T
    order = np.argsort(-scores, axis=1)
    np.testing.assert_array_equal(answer["item_ids"], catalog.item_ids[order].astype(object))
    np.testing.assert_allclose(answer["scores"], np.take_along_axis(scores, order, axis=1), atol=1e-5)
    assert answer["model_version"].tolist() == [str(_VERSION).encode()] * 8
