import numpy as np
import pytest

from tfx_pipeline.evaluation import ranks as module
from tfx_pipeline.evaluation.ranks import constant_ranks
from tfx_pipeline.evaluation.ranks import macro_recall_at
from tfx_pipeline.evaluation.ranks import ranks
from tfx_pipeline.evaluation.ranks import recall_at
from tfx_pipeline.evaluation.ranks import set_ranks
from tfx_pipeline.evaluation.ranks import vector_ranks
from tfx_pipeline.evaluation.ranks import vector_scorer
from tfx_pipeline.evaluation.rows import Queries


def plain_rank(scores, target, *, left_out=()):
    """By counting, in plain Python."""
    rest = [score for place, score in enumerate(scores) if place != target and place not in left_out]
    return sum(score > scores[target] for score in rest) + sum(score == scores[target] for score in rest) / 2


@pytest.fixture(params=[32_000_000, 20, 1])
def cells(request, monkeypatch):
    """Cells of a block: all rows at once, a few rows, one row."""
    monkeypatch.setattr(module, "_CELLS", request.param)


@pytest.fixture
def scores():
    return np.random.default_rng(1).integers(0, 4, size=(11, 7)).astype(np.float32)  # many ties


@pytest.mark.usefixtures("cells")
def test_ranks_equal_plain_counting(scores):
    random = np.random.default_rng(2)
    targets = random.integers(0, 7, size=11)
    others = [np.setdiff1d(np.arange(7), target) for target in targets]
    known = [random.choice(rest, random.integers(0, 6), replace=False) for rest in others]
    everything, unknown = ranks(lambda rows: scores[rows], targets, known, num_items=7)
    given = list(zip(scores, targets, known, strict=True))
    assert everything.tolist() == [plain_rank(row, target) for row, target, _ in given]
    assert unknown.tolist() == [plain_rank(row, target, left_out=had) for row, target, had in given]
    assert (everything != unknown).any()


def test_without_known_items_both_ranks_are_one():
    scores = np.array([[3.0, 1.0, 3.0, 2.0]] * 3)
    nothing = [np.array([], int)] * 3
    for found in ranks(lambda rows: scores[rows], np.array([0, 3, 1]), nothing, num_items=4):
        assert found.tolist() == [0.5, 2.0, 3.0]  # 3.0 ties 3.0


def test_a_vector_scorer_is_the_inner_product_and_the_bonus():
    vectors, items = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 1.0], [0.0, 5.0], [1.0, 1.0]])
    queries = Queries(vectors, [np.array([], int), np.array([2, 0])], [np.array([]), np.array([0.5, -4.0])])
    score = vector_scorer(queries, items)
    for _ in range(2):  # a block may be asked for twice: nothing is added up
        np.testing.assert_allclose(score(slice(0, 2)), [[3.0, 0.0, 1.0], [2.0 - 4.0, 10.0, 2.0 + 0.5]])
    np.testing.assert_allclose(score(slice(1, 2)), [[-2.0, 10.0, 2.5]])


@pytest.mark.usefixtures("cells")
def test_set_ranks_equal_plain_counting(scores):
    random = np.random.default_rng(3)
    targets = [random.choice(7, random.integers(0, 4), replace=False) for _ in scores]
    known = [random.choice(7, random.integers(0, 4), replace=False) for _ in scores]
    everything, new = set_ranks(lambda rows: scores[rows], targets, known, num_items=7)
    for row, wanted, had, all_found, new_found in zip(scores, targets, known, everything, new, strict=True):
        assert all_found.tolist() == [plain_rank(row, target) for target in wanted]
        left = sorted(set(wanted.tolist()) - set(had.tolist()))
        assert new_found.tolist() == [plain_rank(row, target, left_out=had) for target in left]


def test_recall_at():
    found = np.array([0.0, 9.5, 10.0, 50.0])
    assert recall_at(found, 10) == 0.5
    assert recall_at(found, 1000) == 1.0  # k above the corpus
    assert np.isnan(recall_at(np.array([]), 10))


def test_macro_recall_is_the_mean_over_users_with_targets():
    found = [np.array([0.0, 20.0]), np.array([]), np.array([3.0])]  # a half, no target, all
    assert macro_recall_at(found, 10) == 0.75
    assert np.isnan(macro_recall_at([np.array([])], 10))


@pytest.fixture
def planted():
    """Whole numbers, so that scores are exact and tie; bonuses of which some lower; and what is known."""
    random = np.random.default_rng(5)
    num_rows, num_items = 60, 3_000
    vectors, items = (random.integers(-2, 3, (n, 5)).astype(np.float32) for n in (num_rows, num_items))
    targets = random.integers(0, num_items, num_rows)
    listed = [random.choice(num_items, random.integers(0, 40), replace=False) for _ in range(num_rows)]
    listed[0] = np.union1d(listed[0], targets[:1])  # a target with a bonus
    bonuses = [random.integers(-4, 5, len(own)).astype(np.float32) for own in listed]
    known = [np.setdiff1d(random.choice(num_items, 30), targets[row]) for row in range(num_rows)]
    return Queries(vectors, listed, bonuses), items, targets, known


def test_ranks_of_vectors_are_those_of_all_scores(planted):
    queries, items, targets, known = planted
    expected = ranks(vector_scorer(queries, items), targets, known, num_items=len(items))
    np.testing.assert_array_equal(vector_ranks(queries, items, targets, known), expected)


def test_equal_vectors_tie_wherever_they_stand():
    random = np.random.default_rng(7)
    items = random.normal(size=(5_000, 48)).astype(np.float32)
    copies = [17, 2_048, 4_999]  # in each tile one, the last of them not whole
    items[copies] = items[17]
    queries = Queries(random.normal(size=(50, 48)).astype(np.float32), [np.zeros(0, int)] * 50, [np.zeros(0)] * 50)
    none = [np.zeros(0, int)] * 50
    found = [vector_ranks(queries, items, np.full(50, copy), none)[0] for copy in copies]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    scores = queries.vectors.astype(float) @ items.T.astype(float)
    better = (scores > scores[:, 17:18] + 1e-5).sum(axis=1)
    np.testing.assert_array_equal(found[0], better + 1)  # and half of two ties


def test_ranks_of_constant_scores_are_those_of_all_scores(planted):
    _, items, targets, known = planted
    scores = np.random.default_rng(1).integers(0, 50, len(items)).astype(np.float32)
    same = lambda rows: np.broadcast_to(scores, (rows.stop - rows.start, len(items)))  # noqa: E731
    expected = ranks(same, targets, known, num_items=len(items))
    np.testing.assert_array_equal(constant_ranks(scores, targets, known), expected)
