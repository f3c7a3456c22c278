import numpy as np
import pytest

from trainer import associations
from trainer.associations import Rows
from trainer.associations import cooccurrences
from trainer.associations import transitions

NUM_ITEMS = 15


def random_rows(*, seed=1, num_rows=100, num_moments=30):
    """Rows of 8 users at few moments, so that many share one; item 0 is none."""
    random = np.random.default_rng(seed)
    users = random.integers(0, 8, num_rows) * 10**15
    return Rows(users, random.integers(0, num_moments, num_rows), random.integers(0, NUM_ITEMS, num_rows))


def as_matrix(neighbors):
    """[items, items] of the weights."""
    found = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for item, (others, weights) in enumerate(zip(neighbors.items, neighbors.weights, strict=True)):
        assert (weights[others == 0] == 0).all()
        listed = others[others != 0]
        assert len(set(listed)) == len(listed)
        assert (np.diff(weights) <= 0).all()  # strongest first
        found[item, listed] = weights[others != 0]
    return found


def plain_transitions(rows):
    counts = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for user in set(rows.users.tolist()):
        own = sorted((m, i) for u, m, i in zip(*rows, strict=True) if u == user)
        for moment, item in own:
            earlier = [action for action in own if action[0] < moment]
            for place, (other_moment, other) in enumerate(earlier):
                between = sum(other_moment < m < moment for m, _ in own)
                if 0 not in (item, other) and item != other and len(earlier) - place <= associations.MAX_BACK:
                    counts[other, item] += 1 / (1 + between)
    return counts / (counts.sum(axis=1, keepdims=True) + 1)


@pytest.mark.parametrize("max_back", [30, 4])
def test_transitions_equal_a_count_by_hand(monkeypatch, max_back):
    monkeypatch.setattr(associations, "MAX_BACK", max_back)
    rows = random_rows(num_moments=1000 if max_back == 4 else 30)  # with ties the cut among equals is anybody's choice
    found = transitions(rows, num_items=NUM_ITEMS, num_neighbors=NUM_ITEMS)
    np.testing.assert_allclose(as_matrix(found), plain_transitions(rows), atol=1e-6)


def test_what_comes_next_counts_most():
    rows = Rows(*np.array([[1, 1, 1], [10, 20, 30], [3, 4, 5]]))
    found = transitions(rows, num_items=NUM_ITEMS, num_neighbors=2)
    assert found.items[3].tolist() == [4, 5]
    np.testing.assert_allclose(found.weights[3], np.array([1, 0.5]) / 2.5)
    assert found.items[4].tolist() == [5, 0]
    assert found.items.dtype == np.int32
    assert not found.items[[0, 5, 6]].any()


def plain_cooccurrences(rows, *, num_neighbors, ridge):
    users = sorted(set(rows.users[rows.items != 0].tolist()))
    matrix = np.zeros((len(users), NUM_ITEMS))
    for user, _, item in zip(*rows, strict=True):
        if item:
            matrix[users.index(user), item] = 1
    gram, weights = matrix.T @ matrix, np.zeros((NUM_ITEMS, NUM_ITEMS))
    for target in range(1, NUM_ITEMS):
        near = [i for i in range(NUM_ITEMS) if i != target and gram[i, target]]
        near.sort(key=lambda i: -gram[i, target] / np.sqrt(gram[i, i] + ridge))
        near = near[:num_neighbors]
        if gram[target, target] >= 2:
            solved = np.linalg.solve(gram[np.ix_(near, near)] + ridge * np.eye(len(near)), gram[near, target])
            weights[near, target] = np.maximum(solved, 0)
    return weights


@pytest.mark.parametrize(("num_neighbors", "ridge"), [(NUM_ITEMS, 0.5), (NUM_ITEMS, 5.0), (4, 2.0)])
def test_cooccurrences_solve_the_ridge_regressions(num_neighbors, ridge):
    rows = random_rows(num_rows=60)
    found = as_matrix(cooccurrences(rows, num_items=NUM_ITEMS, num_neighbors=num_neighbors, ridge=ridge))
    expected = plain_cooccurrences(rows, num_neighbors=num_neighbors, ridge=ridge)
    if num_neighbors < NUM_ITEMS:  # of each item only the strongest are kept
        least = -np.sort(-expected, axis=1)[:, [num_neighbors - 1]]
        expected = np.where(expected >= least, expected, 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found > 0).sum() > 10


def test_a_user_with_many_items_counts_with_the_latest(monkeypatch):
    monkeypatch.setattr(associations, "_MAX_ITEMS_PER_USER", 2)
    users = np.array([1, 1, 1, 1, 2, 2])
    rows = Rows(users, np.array([1, 2, 3, 4, 1, 2]), np.array([5, 3, 4, 5, 4, 5]))  # 1 has 4 and, again, 5 last
    found = as_matrix(cooccurrences(rows, num_items=NUM_ITEMS, num_neighbors=3, ridge=1.0))
    assert np.argwhere(found).tolist() == [[4, 5], [5, 4]]


@pytest.mark.parametrize("kind", ["transitions", "cooccurrences"])
def test_only_the_latest_rows_are_counted(monkeypatch, kind):
    monkeypatch.setattr(associations, "_MAX_ROWS", 80)
    rows = random_rows(num_moments=10_000)
    late = rows.at(np.argsort(rows.moments_us)[-80:])
    options = {"num_items": NUM_ITEMS, "num_neighbors": 5, **({"ridge": 1.0} if kind == "cooccurrences" else {})}
    found, expected = (getattr(associations, kind)(given, **options) for given in (rows, late))
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other)


@pytest.mark.parametrize("rows", [Rows(*np.zeros((3, 0), int)), Rows(*np.zeros((3, 4), int))])
def test_without_items_nothing_goes_together(rows):
    for found in (
        transitions(rows, num_items=NUM_ITEMS, num_neighbors=3),
        cooccurrences(rows, num_items=NUM_ITEMS, num_neighbors=3, ridge=1.0),
    ):
        assert found.items.shape == found.weights.shape == (NUM_ITEMS, 3)
        assert not found.items.any()
