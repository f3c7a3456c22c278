import numpy as np
import pytest
import tensorflow as tf

from schemas import contract
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.catalog import embed_catalog
from tfx_pipeline.index.retriever import Retriever
from tfx_pipeline.index.retriever import export_retriever

_VERSION = 20260102030405
KINDS = ("exact", "scann", "ivf")


@pytest.fixture(scope="module")
def catalog(market, towers):
    return embed_catalog(towers, market.raw_files["catalog"])


@pytest.fixture(scope="module")
def retrievers(towers, catalog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrievers")
    for kind in KINDS:
        export_retriever(Retriever(towers, catalog, kind=kind, version=_VERSION, max_k=1000), str(folder / kind))
    return folder


@pytest.fixture(scope="module")
def exact(retrievers):
    return tf.saved_model.load(str(retrievers / "exact")).signatures


@pytest.fixture(scope="module")
def inputs(market):
    """Named inputs of three users of whom only a history is known: two items, the same one twice, an unknown one."""
    given = {}
    for feature in market.groups.query:
        missing = contract.MISSING_STRING if feature.is_string else contract.MISSING_FLOAT
        given[feature.name] = tf.constant([[missing] * 2] * 3 if feature.role == "history" else [missing] * 3)
    return {**given, "history_item_id": tf.constant([["a00", "b11"], ["b03-ü東", "b03-ü東"], ["gone", ""]])}


def plain_scores(embedded, catalog):
    """All scores of all items [batch, items], row by row: the inner product, and the bonus of the history's items."""
    scores = embedded["embedding"].numpy() @ catalog.vectors.T
    for row, (items, bonuses) in enumerate(zip(embedded["bonus_items"], embedded["bonuses"], strict=True)):
        for item, bonus in zip(items.numpy(), bonuses.numpy(), strict=True):
            if item != 0:
                scores[row, catalog.indices == item] += bonus
    return scores


def assert_best(answer, scores, catalog, *, k):
    """The answer is that of brute force, no item twice."""
    order = np.argsort(-scores, axis=1)[:, :k]
    np.testing.assert_array_equal(answer["item_ids"], catalog.item_ids[order].astype(object))
    np.testing.assert_allclose(answer["scores"], np.take_along_axis(scores, order, axis=1), atol=1e-4)
    assert all(len(set(row)) == k for row in np.asarray(answer["item_ids"]).tolist())


def test_the_catalogue_is_sorted_and_whole(market, catalog, trained):
    assert catalog.item_ids.tolist() == sorted(row["item_id"].encode() for row in market.catalog)
    rates = {row["item_id"].encode(): row["positive_rate"] for row in market.catalog}
    np.testing.assert_allclose(catalog.positive_rates, [rates[item_id] for item_id in catalog.item_ids])
    train = [row["item_id"].encode() for row in market.train[:16]]
    place = [catalog.item_ids.tolist().index(item_id) for item_id in train]
    batch = market.batch(16)
    np.testing.assert_allclose(catalog.vectors[place], trained.model.item_tower(batch).numpy(), atol=1e-5)
    np.testing.assert_array_equal(catalog.indices[place], batch["item_id_xf"])


def test_the_catalogue_reloads_as_it_was(catalog, tmp_path):
    catalog.save(tmp_path / "catalog")
    loaded = Catalog.load(tmp_path / "catalog")
    for name in ("item_ids", "vectors", "positive_rates", "indices", "position_of_index"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(catalog, name))


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([2, 5, 3], [-1, -1, 0, 2, -1, 1]),
        ([0, 1, 0], [-1, 1]),  # two items that the towers do not know
        ([0, 0, 0], [-1]),
    ],
)
def test_positions_by_index(indices, expected):
    vectors, rates = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    catalog = Catalog(np.array([b"a", b"b", b"c"]), vectors, rates, np.array(indices))
    assert catalog.position_of_index.tolist() == expected


@pytest.mark.parametrize(
    ("item_ids", "vectors", "text"),
    [
        ([b"a", b"a"], [[1.0], [1.0]], r"Item ids must be unique. Received more than once: \[b'a'\]"),
        ([b"a", b"b"], [[1.0], [float("nan")]], "Item vectors must be finite"),
        ([], np.zeros((0, 1)), "The catalog split is empty"),
    ],
)
def test_an_unusable_catalogue_is_refused(item_ids, vectors, text):
    rates, indices = np.zeros(len(item_ids), np.float32), np.zeros(len(item_ids), np.int64)
    with pytest.raises(ValueError, match=text):
        Catalog(np.array(item_ids, dtype=np.bytes_), np.array(vectors, np.float32), rates, indices)


def test_an_empty_split_is_refused(towers, tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "empty.gz"), "GZIP"):
        pass
    with pytest.raises(ValueError, match="The catalog split is empty"):
        embed_catalog(towers, [str(tmp_path / "empty.gz")])


@pytest.mark.parametrize(
    ("ks", "num_columns"),
    [
        ([1, 1, 1], 1),
        ([2, 5, 3], 5),
        ([0, 0, 0], 1),
        ([-4, 2, 1], 2),
        ([24] * 3, 24),  # every item
        ([1000] * 3, 24),  # a k above the number of items is lowered to it
    ],
)
def test_an_answer_has_as_many_columns_as_the_largest_k(exact, towers, catalog, inputs, ks, num_columns):
    answer = {name: value.numpy() for name, value in exact["retrieve"](**inputs, k=tf.constant(ks)).items()}
    assert_best(answer, plain_scores(towers.signatures["embed_query"](**inputs), catalog), catalog, k=num_columns)
    assert answer["model_version"].tolist() == [str(_VERSION).encode()] * 3


def test_embeddings_are_the_towers_and_name_the_version(exact, towers, inputs):
    found = exact["embed_query"](**inputs)
    own = towers.signatures["embed_query"](**inputs)
    np.testing.assert_allclose(found["embedding"], own["embedding"], atol=1e-6)
    assert set(found["model_version"].numpy()) == {str(_VERSION).encode()}
    assert set(exact) == {"retrieve", "serving_default", "embed_query", "embed_item"}
    assert set(found) == {"embedding", "bonus_item_ids", "bonuses", "model_version"}
    ids = found["bonus_item_ids"].numpy()
    assert ids[:, :2].tolist() == [[b"a00", b"b11"], ["b03-ü東".encode(), b""], [b"", b""]]
    assert [len(set(row[2:].tolist()) - {b""}) > 0 for row in ids] == [True, True, False]  # neighbours
    np.testing.assert_allclose(found["bonuses"], own["bonuses"], atol=1e-6)
    bonuses = found["bonuses"].numpy()
    assert ((bonuses[:, :2] != 0) == (ids[:, :2] != b"")).all()
    assert (bonuses[ids == b""] == 0).all()
    assert (bonuses[:, 2:] >= 0).all()


def test_an_empty_batch_gets_an_empty_answer(exact, inputs):
    none = {name: value[:0] for name, value in inputs.items()}
    assert exact["retrieve"](**none, k=tf.zeros([0], tf.int32))["item_ids"].shape[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_process_answers_the_same(market, towers, catalog, retrievers, fresh_process, kind):
    examples = market.serialized(market.evaluation[:8])
    answer = fresh_process(str(retrievers / kind), "serving_default", examples=np.array(examples, object))
    embedded = towers.signatures["embed_query_examples"](examples=tf.constant(examples))
    scores = plain_scores(embedded, catalog)
    assert_best(answer, scores, catalog, k=24)
    assert answer["model_version"].tolist() == [str(_VERSION).encode()] * 8
    without = np.argsort(-(embedded["embedding"].numpy() @ catalog.vectors.T), axis=1)
    assert (without != np.argsort(-scores, axis=1)).any()  # the bonus moves something


class GivenTowers(tf.Module):
    """Stands in for the towers: `row` names what a query gets."""

    def __init__(self, vectors, repeats, bonuses):
        super().__init__()
        self._given = {
            "embedding": tf.constant(vectors, tf.float32),
            "bonus_items": tf.constant(repeats, tf.int64),
            "bonuses": tf.constant(bonuses, tf.float32),
        }
        strings = tf.TensorSpec([None], tf.string)
        query = tf.function(lambda **inputs: self._embed(inputs["row"]))
        examples = tf.function(lambda **inputs: self._embed(tf.strings.to_number(inputs["examples"])))
        item = tf.function(lambda **inputs: {"embedding": tf.ones([tf.size(inputs["item_id"]), 1])})
        self.signatures = {
            "embed_query": query.get_concrete_function(row=tf.TensorSpec([None], tf.float32)),
            "embed_query_examples": examples.get_concrete_function(examples=strings),
            "embed_item": item.get_concrete_function(item_id=strings),
        }

    def _embed(self, row):
        return {name: tf.gather(value, tf.cast(row, tf.int32)) for name, value in self._given.items()}


NUM_ROWS, NUM_ITEMS, LENGTH = 24, 60, 20


@pytest.fixture(scope="module")
def given_catalog():
    """60 items with the towers' indices 1 to 80, but one that the towers do not know; 81 to 99 are of other catalogues."""
    random = np.random.default_rng(3)
    ids = np.array([f"i{number:02d}".encode() for number in range(NUM_ITEMS)])
    indices = random.permutation(np.arange(1, 81))[:NUM_ITEMS]
    indices[7] = 0
    vectors = random.normal(size=(NUM_ITEMS, 6)).astype(np.float32)
    return Catalog(ids, vectors, np.zeros(NUM_ITEMS, np.float32), indices)


@pytest.fixture(scope="module")
def given_towers():
    """Histories of 0 to 20 places, padding between; bonuses of both signs, many larger than the inner products."""
    random = np.random.default_rng(4)
    repeats = np.zeros((NUM_ROWS, LENGTH), np.int64)
    for row in range(NUM_ROWS):
        length = random.integers(0, LENGTH + 1) if row else 0
        repeats[row, random.permutation(LENGTH)[:length]] = random.permutation(np.arange(1, 100))[:length]
    bonuses = np.where(repeats, 4 * random.normal(size=repeats.shape), 0.0)
    return GivenTowers(random.normal(size=(NUM_ROWS, 6)), repeats, bonuses)


@pytest.fixture(scope="module", params=KINDS)
def given_retriever(request, given_towers, given_catalog):
    return Retriever(given_towers, given_catalog, kind=request.param, version=1, max_k=NUM_ITEMS).signatures()


@pytest.mark.parametrize("k", [1, 7, 45, NUM_ITEMS])
def test_answers_are_those_of_brute_force_with_bonuses(given_retriever, given_towers, given_catalog, k):
    rows = {"row": tf.range(NUM_ROWS, dtype=tf.float32)}
    answer = given_retriever["retrieve"](**rows, k=tf.fill([NUM_ROWS], k))
    embedded = given_towers.signatures["embed_query"](**rows)
    assert_best(answer, plain_scores(embedded, given_catalog), given_catalog, k=k)


def test_repeats_outside_the_catalogue_are_not_named(given_retriever, given_towers, given_catalog):
    found = given_retriever["embed_query"](row=tf.range(NUM_ROWS, dtype=tf.float32))
    repeats, bonuses = (
        given_towers.signatures["embed_query"](row=tf.range(NUM_ROWS, dtype=tf.float32))[name].numpy()
        for name in ("bonus_items", "bonuses")
    )
    id_of = {
        index: item_id for index, item_id in zip(given_catalog.indices, given_catalog.item_ids, strict=True) if index
    }
    names = [[id_of.get(item, b"") for item in row] for row in repeats]
    assert found["bonus_item_ids"].numpy().tolist() == names
    np.testing.assert_allclose(found["bonuses"], np.where(np.array(names) == b"", 0.0, bonuses))
    assert (np.array(names)[repeats != 0] == b"").any()


def test_a_catalogue_that_the_towers_do_not_know_has_no_repeats(given_towers):
    unknown = Catalog(np.array([b"a", b"b"]), np.eye(2, 6, dtype=np.float32), np.zeros(2, np.float32), np.zeros(2, int))
    signatures = Retriever(given_towers, unknown, kind="exact", version=1, max_k=5).signatures()
    rows = {"row": tf.range(NUM_ROWS, dtype=tf.float32)}
    answer = signatures["retrieve"](**rows, k=tf.fill([NUM_ROWS], 5))
    products = given_towers.signatures["embed_query"](**rows)["embedding"].numpy() @ unknown.vectors.T
    assert_best(answer, products, unknown, k=2)
