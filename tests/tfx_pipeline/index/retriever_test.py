import numpy as np
import pytest
import tensorflow as tf
from given_towers import GivenTowers
from planted_catalog import catalog_of

from schemas import contract
from tfx_pipeline.index.indexes import KINDS
from tfx_pipeline.index.retriever import Retriever
from tfx_pipeline.index.retriever import export_retriever

VERSIONS = {"model_version": "20260102030405", "index_version": "20260203040506"}


@pytest.fixture(scope="module")
def catalog(market_catalog):
    return market_catalog


@pytest.fixture(scope="module")
def retrievers(towers, catalog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrievers")
    for kind in KINDS:
        export_retriever(Retriever(towers, catalog, kind=kind, max_k=1000, **VERSIONS), str(folder / kind))
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
    for name, version in VERSIONS.items():
        assert answer[name].tolist() == [version.encode()] * 3


def test_embeddings_are_the_towers_and_name_the_version(exact, towers, inputs):
    found = exact["embed_query"](**inputs)
    own = towers.signatures["embed_query"](**inputs)
    np.testing.assert_allclose(found["embedding"], own["embedding"], atol=1e-6)
    for name, version in VERSIONS.items():
        assert set(found[name].numpy()) == {version.encode()}
    assert set(exact) == {"retrieve", "retrieve_filtered", "serving_default", "embed_query", "embed_item"}
    assert set(found) == {"embedding", "bonus_item_ids", "bonuses", *VERSIONS}
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
    for name, version in VERSIONS.items():
        assert answer[name].tolist() == [version.encode()] * 8
    without = np.argsort(-(embedded["embedding"].numpy() @ catalog.vectors.T), axis=1)
    assert (without != np.argsort(-scores, axis=1)).any()  # the bonus moves something


NUM_ROWS, NUM_ITEMS, LENGTH = 24, 60, 20


@pytest.fixture(scope="module")
def given_catalog():
    """60 items with the towers' indices 1 to 80, but one that the towers do not know; 81 to 99 are of other catalogues."""
    random = np.random.default_rng(3)
    ids = np.array([f"i{number:02d}".encode() for number in range(NUM_ITEMS)])
    indices = random.permutation(np.arange(1, 81))[:NUM_ITEMS]
    indices[7] = 0
    return catalog_of(ids, random.normal(size=(NUM_ITEMS, 6)), indices=indices)


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
    return Retriever(given_towers, given_catalog, kind=request.param, max_k=NUM_ITEMS, **VERSIONS).signatures()


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
    unknown = catalog_of([b"a", b"b"], np.eye(2, 6))
    signatures = Retriever(given_towers, unknown, kind="exact", max_k=5, **VERSIONS).signatures()
    rows = {"row": tf.range(NUM_ROWS, dtype=tf.float32)}
    answer = signatures["retrieve"](**rows, k=tf.fill([NUM_ROWS], 5))
    products = given_towers.signatures["embed_query"](**rows)["embedding"].numpy() @ unknown.vectors.T
    assert_best(answer, products, unknown, k=2)


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_copies_the_vectors(given_towers, given_catalog, kind):
    """A variable that ResourceGather has read is copied whole by each ReadVariableOp after it."""
    retriever = Retriever(given_towers, given_catalog, kind=kind, max_k=5, **VERSIONS)
    graph = retriever.signatures()["retrieve"].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    types = {node.op for node in nodes}  # these towers gather from no variable
    assert "ReadVariableOp" in types
    assert "ResourceGather" not in types
