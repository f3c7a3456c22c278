import numpy as np
import pytest
from scipy import sparse

from benchmarks.peers import table
from benchmarks.peers_methods import ease
from benchmarks.peers_methods import item_knn
from benchmarks.peers_methods import own_frequency
from benchmarks.peers_methods import plain_two_tower
from benchmarks.peers_methods import popularity
from benchmarks.peers_tasks import Conversions
from benchmarks.peers_tasks import earlier_task

COUNTS = np.array([[2, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 3, 1, 0]], np.float32)
USERS = np.array([3, 0])


def scores_of(peer, **options):
    return np.asarray(peer(sparse.csr_matrix(COUNTS), USERS, **options)(slice(0, 2)))


def test_popularity_is_the_share_of_conversions():
    np.testing.assert_allclose(scores_of(popularity), [np.array([3, 5, 2, 1]) / 11] * 2)


def test_own_frequency_comes_before_popularity():
    np.testing.assert_allclose(
        scores_of(own_frequency), np.array([[0, 3, 1, 0], [2, 1, 0, 0]]) + np.array([3, 5, 2, 1]) / 11
    )


@pytest.mark.parametrize("shrink", [0.0, 2.0])
def test_item_knn_sums_cosines_of_the_nearest(shrink):
    together = (COUNTS > 0).astype(float).T @ (COUNTS > 0)
    norms = np.sqrt(np.diag(together))
    cosines = together / (np.outer(norms, norms) + shrink) * (1 - np.eye(4))
    cosines[cosines < np.sort(cosines, axis=0)[-2]] = 0.0  # two a column
    expected = (COUNTS[USERS] > 0) @ cosines
    np.testing.assert_allclose(scores_of(item_knn, neighbors=2, shrink=shrink), expected, atol=1e-5)


def test_ease_predicts_each_item_from_the_others():
    """The closed form equals, item by item, the ridge regression on all other items."""
    binary = (COUNTS > 0).astype(float)
    weights = np.zeros((4, 4))
    for item in range(4):
        others = np.delete(np.arange(4), item)
        x = binary[:, others]
        weights[others, item] = np.linalg.solve(x.T @ x + 0.7 * np.eye(3), x.T @ binary[:, item])
    np.testing.assert_allclose(scores_of(ease, ridge=0.7), binary[USERS] @ weights, atol=1e-5)


def test_the_plain_two_tower_learns_who_buys_what_and_adds_popularity():
    """Two groups of users and of items, each user with half of the group's items."""
    random = np.random.default_rng(0)
    is_own = np.arange(40)[:, np.newaxis] % 2 == np.arange(20) % 2
    counts = sparse.csr_matrix((is_own & (random.random((40, 20)) < 0.5)).astype(np.float32) * 2)
    users, options = np.arange(40)[::-1], {"epochs": 60, "batch_size": 64}
    scores = plain_two_tower(counts, users, **options)(slice(0, 40))
    own = is_own[users]
    assert scores[own].mean() > scores[~own].mean() + 1.0
    raised = plain_two_tower(counts, users, **options, log_popularity=2.0)(slice(5, 7))
    shares = np.asarray(counts.sum(axis=0)).ravel() / counts.sum()
    np.testing.assert_allclose(raised - scores[5:7], np.tile(2 * np.log(shares), (2, 1)), atol=1e-3)


def test_the_earlier_task_asks_users_with_a_past_about_known_items():
    # 20 moments: 85% of them are before 17. User 2 has no past, item 3 none either.
    users = np.array([0] * 17 + [0, 1, 2])
    items = np.array([0, 1] * 8 + [2] + [1, 3, 0])
    moments = np.arange(20)
    users[3] = 1
    task = earlier_task(Conversions(users, items, moments), num_items=4)
    assert task.counts.shape == (3, 3)
    assert task.users.tolist() == [0]  # user 1's later item is unknown
    assert [found.tolist() for found in task.targets] == [[1]]
    assert [found.tolist() for found in task.known] == [[0, 1, 2]]


def test_a_table_holds_means_over_users():
    ranks = ([np.array([3, 30]), np.array([5])], [np.array([30]), np.array([50])])
    lines = table({"one": ranks}, {"one": 7.4}, [20, 100]).splitlines()
    assert lines[0] == "| peer | recall@20 all | recall@100 all | recall@20 new | recall@100 new | seconds |"
    assert lines[2].split(" | ")[1:] == ["0.7500", "1.0000", "0.0000", "1.0000", "7 |"]
