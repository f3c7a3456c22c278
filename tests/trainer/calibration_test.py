import numpy as np
import pytest

from trainer.calibration import Listed
from trainer.calibration import fit_constants
from trainer.calibration import log_likelihood

START = np.array([3.0, 0.8, 0.0, 0.25])


def planted(*, num_rows, constants, seed=0, num_items=40, length=5):
    """Rows whose targets are drawn from a softmax: logits [rows, items], history, targets, terms [rows, n, 4] and Listed."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(num_rows, num_items))
    history = np.argsort(random.random((num_rows, num_items)), axis=1)[:, :length]
    is_there = random.random((num_rows, length)) < 0.8
    terms = np.stack([np.ones((num_rows, length)), *random.normal(size=(3, num_rows, length))], axis=2)
    terms[~is_there] = 0.0
    raised = with_bonus(logits, history, terms, constants)
    chances = np.exp(raised) / np.exp(raised).sum(axis=1, keepdims=True)
    targets = np.array([random.choice(num_items, p=row) for row in chances])
    own = np.take_along_axis(logits, history, axis=1)
    normalizers = np.log(np.exp(logits).sum(axis=1))
    is_target = history == targets[:, np.newaxis]
    of_row, _ = np.nonzero(is_there)
    entries = (of_row, own[is_there], terms[is_there], is_target[is_there])
    return logits, history, targets, terms, Listed(np.ones(num_rows), normalizers, *entries)


def with_bonus(logits, history, terms, constants):
    raised = logits.copy()
    for row, items in enumerate(history):
        raised[row, items] += terms[row] @ constants
    return raised


def test_the_planted_constants_are_found():
    constants = np.array([1.5, -0.5, 0.8, 0.3])
    *_, rows = planted(num_rows=20_000, constants=constants)
    found = fit_constants(rows, START)
    # The error of a maximum likelihood estimate from 20,000 rows is about 0.02.
    np.testing.assert_allclose(found, constants, atol=0.1)


def test_no_constants_near_those_found_are_likelier():
    """Against the full softmax, row by row, in numpy."""
    logits, history, targets, terms, rows = planted(num_rows=300, constants=np.array([2.0, 0.0, -1.0, 0.5]))
    rows = rows._replace(weights=np.random.default_rng(1).random(300))

    def loss(constants):
        raised = with_bonus(logits, history, terms, constants)
        own = raised[np.arange(300), targets] - np.log(np.exp(raised).sum(axis=1))
        pull = constants - START
        return -(rows.weights @ own) / rows.weights.sum() + 1e-3 * pull @ pull / 2

    found = fit_constants(rows, START)
    best = loss(found)
    assert best < loss(START)
    without = -(rows.weights @ (logits[np.arange(300), targets] - rows.normalizers)) / rows.weights.sum()
    value, *_ = log_likelihood(rows, rows.weights / rows.weights.sum(), found, START)
    assert value == pytest.approx(without - best)
    for place in range(4):
        for step in (-0.05, 0.05):
            assert best < loss(found + step * np.eye(4)[place])


def test_rows_without_histories_leave_the_constants_as_they_are():
    none = np.zeros(0)
    empty = Listed(np.ones(7), np.zeros(7), none.astype(int), none, np.zeros((0, 4)), none.astype(bool))
    np.testing.assert_allclose(fit_constants(empty, START), START)


def test_histories_that_are_never_bought_again_lose_their_bonus_and_stay_finite():
    *_, rows = planted(num_rows=50, constants=np.array([-20.0, 0.0, 0.0, 0.0]))
    assert not rows.is_target.any()
    found = fit_constants(rows, START)
    assert np.isfinite(found).all()
    assert found[0] < -2
