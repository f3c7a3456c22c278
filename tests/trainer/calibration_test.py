import numpy as np
import pytest

from trainer.calibration import Listed
from trainer.calibration import fit_constants
from trainer.calibration import fit_retrieved
from trainer.calibration import log_likelihood
from trainer.calibration import mixed_bonuses
from trainer.calibration import retrieved

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
    targets = np.argmax(raised + random.gumbel(size=raised.shape), axis=1)  # a draw from each row's softmax
    own = np.take_along_axis(logits, history, axis=1)
    normalizers = np.log(np.exp(logits).sum(axis=1))
    is_target = history == targets[:, np.newaxis]
    of_row, _ = np.nonzero(is_there)
    entries = (of_row, own[is_there], terms[is_there].T, is_target[is_there])
    of_rows = (np.ones(num_rows), np.full(num_rows, -np.inf), normalizers, logits[np.arange(num_rows), targets])
    return logits, history, targets, terms, Listed(*of_rows, *entries)


def with_bonus(logits, history, terms, constants):
    raised = logits.copy()
    for row, items in enumerate(history):
        raised[row, items] += terms[row] @ constants
    return raised


def test_the_planted_constants_are_found():
    constants = np.array([1.5, -0.5, 0.8, 0.3])
    *_, rows = planted(num_rows=20_000, constants=constants)
    found = fit_constants([rows], START)
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

    found = fit_constants([rows], START)
    best = loss(found)
    assert best < loss(START)
    without = -(rows.weights @ (logits[np.arange(300), targets] - rows.normalizers)) / rows.weights.sum()
    value, *_ = log_likelihood([rows], found, START)
    assert value == pytest.approx(without - best)
    for place in range(4):
        for step in (-0.05, 0.05):
            assert best < loss(found + step * np.eye(4)[place])


def test_rows_without_histories_leave_the_constants_as_they_are():
    none = np.zeros(0)
    of_rows = (np.ones(7), np.zeros(7), np.zeros(7), np.zeros(7))
    empty = Listed(*of_rows, none.astype(int), none, np.zeros((4, 0)), none.astype(bool))
    np.testing.assert_allclose(fit_constants([empty], START), START)


def block_of(rows, first, end):
    """The rows from first to end."""
    is_in = (rows.rows >= first) & (rows.rows < end)
    of_rows = {name: getattr(rows, name)[first:end] for name in ("weights", "thresholds", "normalizers", "targets")}
    of_entries = {name: getattr(rows, name)[is_in] for name in ("logits", "is_target")}
    return rows._replace(**of_rows, **of_entries, rows=rows.rows[is_in] - first, terms=rows.terms[:, is_in])


def test_rows_in_blocks_are_fitted_as_one():
    *_, rows = cut_to(8, num_rows=300, constants=np.array([2.0, 0.0, -1.0, 0.5]))
    rows = rows._replace(weights=np.random.default_rng(1).random(300))
    blocks = [block_of(rows, 0, 90), block_of(rows, 90, 91), block_of(rows, 91, 300)]
    found = fit_retrieved(blocks, START)
    assert np.abs(found - START).max() > 0.5
    np.testing.assert_allclose(found, fit_retrieved([rows], START), rtol=1e-6)


def test_histories_that_are_never_bought_again_lose_their_bonus_and_stay_finite():
    *_, rows = planted(num_rows=50, constants=np.array([-20.0, 0.0, 0.0, 0.0]))
    assert not rows.is_target.any()
    found = fit_constants([rows], START)
    assert np.isfinite(found).all()
    assert found[0] < -2


def mixture(num_rows, constants, seed=3, num_items=30, length=12):
    """Rows with one own term and two kinds of neighbours, whose targets are drawn from the mixture's softmax: Listed."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(num_rows, num_items))
    items = np.argsort(random.random((num_rows, num_items)), axis=1)[:, :length]
    terms = np.zeros((num_rows, length, 9))
    terms[:, :3, 0] = 1.0
    kinds = terms[:, 3:, 1:].reshape(num_rows, length - 3, 2, 4)
    kinds[...] = np.stack([np.ones(kinds.shape[:-1]), *random.normal(size=(3, *kinds.shape[:-1]))], axis=-1)
    kinds *= (random.random(kinds.shape[:-1]) < 0.7)[..., np.newaxis]
    terms[:, 3:, 1:] = kinds.reshape(num_rows, length - 3, 8)
    odds = np.exp((kinds * constants[1:].reshape(2, 4)).sum(axis=-1))
    raised = logits.copy()
    bonuses = constants[0] * terms[:, :, 0]
    bonuses[:, 3:] += np.log1p((odds * kinds[..., 0]).sum(axis=2))
    np.put_along_axis(raised, items, np.take_along_axis(raised, items, 1) + bonuses, 1)
    targets = np.argmax(raised + random.gumbel(size=raised.shape), axis=1)  # a draw from each row's softmax
    return bonuses, Listed(
        np.ones(num_rows),
        np.full(num_rows, -np.inf),
        np.log(np.exp(logits).sum(axis=1)),
        logits[np.arange(num_rows), targets],
        np.repeat(np.arange(num_rows), length),
        np.take_along_axis(logits, items, 1).ravel(),
        terms.reshape(-1, 9).T,
        (items == targets[:, np.newaxis]).ravel(),
        num_kinds=2,
    )


MIXED = np.array([0.7, 1.0, 0.8, -0.4, 1.1, 0.2, 1.2, -0.5, 0.9])


def test_bonuses_of_a_mixture_and_their_slopes():
    expected, rows = mixture(20, MIXED)
    found, slopes = mixed_bonuses(rows, MIXED)
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-12)
    for place in range(9):
        step = 1e-6 * np.eye(9)[place]
        numeric = (mixed_bonuses(rows, MIXED + step)[0] - mixed_bonuses(rows, MIXED - step)[0]) / 2e-6
        np.testing.assert_allclose(slopes[place], numeric, atol=1e-8)


def test_the_planted_mixture_is_found():
    _, rows = mixture(20_000, MIXED)
    start = np.array([0.0, *[0.0, 1.0, 0.0, 1.0] * 2])
    # Standard errors are about 0.03 here, and the pull to 1 is slight.
    np.testing.assert_allclose(fit_constants([rows], start), MIXED, atol=0.15)


def cut_to(number, *, num_rows, constants, seed=0):
    """Rows of `planted`, and Listed with thresholds at the `number`-th of the items without bonuses."""
    logits, history, targets, terms, rows = planted(num_rows=num_rows, constants=constants, seed=seed)
    thresholds = -np.sort(-logits, axis=1)[:, number - 1]
    reached = np.where(logits >= thresholds[:, np.newaxis], np.exp(logits), 0.0)
    return (
        logits,
        history,
        targets,
        terms,
        rows._replace(thresholds=thresholds, normalizers=np.log(reached.sum(axis=1))),
    )


def test_what_is_retrieved_is_cut_to_the_threshold_bonus_included():
    constants = np.array([1.5, -0.5, 0.8, 0.3])
    logits, history, targets, terms, rows = cut_to(8, num_rows=200, constants=constants)
    found = retrieved(rows, constants)
    raised = with_bonus(logits, history, terms, constants)
    is_in = raised >= rows.thresholds[:, np.newaxis]
    is_row = is_in[np.arange(200), targets]
    assert 0 < is_row.sum() < 200
    assert len(found.weights) == is_row.sum()
    without = np.log(np.where(is_in, np.exp(logits), 0.0).sum(axis=1))[is_row]  # of what is in, without its bonus
    np.testing.assert_allclose(found.normalizers, without)
    listed = np.zeros(raised.shape, bool)
    listed[rows.rows, history[terms[:, :, 0] != 0]] = True
    expected_rows, _ = np.nonzero((listed & is_in)[is_row])
    np.testing.assert_array_equal(found.rows, expected_rows)
    assert found.is_target.sum() == (listed & is_in)[is_row][np.arange(is_row.sum()), targets[is_row]].sum()
    value, *_ = log_likelihood([found], constants, constants)
    shares = np.where(is_in, np.exp(raised), 0.0)
    chances = shares[np.arange(200), targets] / shares.sum(axis=1)
    assert value == pytest.approx(np.mean(np.log(chances[is_row])) - np.mean(rows.targets[is_row] - without))


def test_planted_constants_are_found_among_what_is_retrieved():
    constants = np.array([1.5, -0.5, 0.8, 0.3])
    *_, rows = cut_to(10, num_rows=40_000, constants=constants)
    found = fit_retrieved([rows], START)
    np.testing.assert_allclose(found, constants, atol=0.1)


def test_where_nothing_is_retrieved_the_constants_are_those_of_the_start():
    *_, rows = cut_to(1, num_rows=20, constants=np.zeros(4))
    found = fit_retrieved([rows._replace(thresholds=rows.thresholds + 100.0)], START)
    np.testing.assert_allclose(found, START)
