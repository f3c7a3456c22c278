import numpy as np
import pytest
import tensorflow as tf

from trainer.held_out import HeldOut
from trainer.inputs import MIN_VALIDATION_ROWS
from trainer.inputs import split_by_time
from trainer.inputs import validation_batches


@pytest.fixture
def held_out(trained, files, spec):
    split = split_by_time(files, share=0.5)
    batches = validation_batches(files, spec, split, max_rows=MIN_VALIDATION_ROWS, max_history=100)
    return HeldOut(trained.model, batches, cutoffs=(50, 100, 200), trends=planted_trends(trained.model))


def planted_trends(model):
    return np.linspace(-1.0, 1.0, model.catalog.num_items, dtype=np.float32)


@pytest.mark.parametrize("cutoffs", [(125,), (125, 500)])
def test_recall_is_the_mean_over_the_cutoffs_which_shrink_with_a_small_catalogue(trained, held_out, cutoffs):
    assert trained.model.catalog.num_items - 1 == 24  # of 1,000: 3 and 12 places
    built = HeldOut(trained.model, held_out._batches, cutoffs=cutoffs)
    ranks = np.linspace(0.0, 24.0, len(built._weights))
    ranks[::5] = np.nan  # which do not count
    weights = np.where(np.isnan(ranks), 0.0, built._weights)
    found = [weights[ranks < cutoff * 0.024].sum() / weights.sum() for cutoff in cutoffs]
    assert built._recall(ranks) == pytest.approx(np.mean(found))


def ranks_of(held_out, scale, constants, *, has_trends):
    """[rows] ranks, among all and among the new."""
    vectors, popularity = held_out._catalog()
    popularity = popularity + held_out._trends if has_trends else popularity
    rows = held_out._read_all(vectors)
    parts = (tf.constant(scale, tf.float32), tf.constant(constants, tf.float32))
    ranks = [held_out._ranks(batch, popularity, *parts) for batch in rows]
    return tuple(np.concatenate([found[place].numpy() for found in ranks]) for place in (0, 1))


def test_calibration_takes_twice_as_many_items_as_the_largest_cutoff_for_retrieved(held_out):
    vectors, popularity = held_out._catalog()
    batch = held_out._batches[0]
    rows = held_out._read(batch, held_out._near(batch), vectors)
    thresholds, normalizers, targets, listed = held_out._normalize(rows, popularity, tf.constant(0.3))
    logits = 0.3 * rows.products.numpy() + popularity.numpy()
    number = round(2 * 200 * len(popularity) / 1000)
    assert 1 < number < len(popularity)
    expected = -np.sort(-logits, axis=1)[:, number - 1]
    np.testing.assert_allclose(thresholds, expected, rtol=1e-5)
    reached = np.where(logits >= expected[:, np.newaxis] - 1e-6, np.exp(logits), 0.0)
    np.testing.assert_allclose(normalizers, np.log(reached.sum(axis=1)), atol=1e-5)  # of numbers near 0
    np.testing.assert_allclose(
        targets, np.take_along_axis(logits, rows.targets.numpy()[:, np.newaxis], 1)[:, 0], rtol=1e-5
    )
    np.testing.assert_allclose(listed, np.take_along_axis(logits, rows.places.numpy(), 1), rtol=1e-5)


@pytest.fixture
def model(trained):
    """The trained model, whose trends and constants a test may change."""
    model = trained.model
    trends = [part.trends for part in (model.item_tower, model.repeat_bonus)]
    before, constants = [variable.numpy() for variable in trends], model.bonuses.constants
    yield model
    model.bonuses.constants = constants
    for variable, values in zip(trends, before, strict=True):
        variable.assign(values)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_ranks_equal_those_of_both_towers(market, model, held_out, scale):
    """Against scores item by item, in numpy."""
    own = model.bonuses.constants
    own[len(model.repeat_bonus.conversion_constants) - 1] = 0.7  # repeats follow trends less
    model.bonuses.constants = own
    of_all, of_new = ranks_of(held_out, scale, own, has_trends=True)
    rate_all, rate_new = ranks_of(held_out, 0.0, model.bonuses.no_constants, has_trends=False)
    vocabulary = market.tf_transform.vocabulary_by_name("item_id")
    bonuses = tf.function(model.bonuses.__call__, reduce_retracing=True)
    items = tf.range(1, len(vocabulary) + 1, dtype=tf.int64)
    for part in (model.item_tower, model.repeat_bonus):
        part.trends.assign(planted_trends(model))
    vectors, rates = model.item_tower(model.catalog.rows(items)).numpy(), model.catalog.rates(items).numpy()
    row = 0
    for batch in held_out._batches:
        queries, repeats = model.query_tower(batch).numpy(), bonuses(batch)
        queries[:, :-1] *= scale
        for number, query in enumerate(queries):
            scores = vectors @ query
            for item, bonus in zip(repeats.items[number].numpy(), repeats.bonuses[number].numpy(), strict=True):
                scores[item - 1] += bonus if item else 0.0
            target = int(batch["item_id_xf"][number]) - 1
            events = market.tf_transform.vocabulary_by_name("history_event")
            history = zip(
                batch["history_item_id_xf"][number].numpy(), batch["history_event_xf"][number].numpy(), strict=True
            )
            known = [item - 1 for item, event in history if item and events[event - 1] == b"purchase"]
            assert of_all[row] == pytest.approx(rank(scores, target, []), abs=0.5)  # ties of float32
            assert rate_all[row] == pytest.approx(rank(rates, target, []))
            if target in known:
                assert np.isnan(of_new[row])
                assert np.isnan(rate_new[row])
            else:
                assert of_new[row] == pytest.approx(rank(scores, target, known), abs=0.5)
                assert rate_new[row] == pytest.approx(rank(rates, target, known))
            row += 1
    assert np.isnan(of_new).any()
    assert np.isfinite(of_new).any()


def rank(scores, target, known):
    """Number of better items, and half of the ties."""
    others = [score for item, score in enumerate(scores) if item != target and item not in known]
    return sum(score > scores[target] for score in others) + sum(score == scores[target] for score in others) / 2


def test_a_measure_is_of_the_calibrated_model_and_leaves_it_as_it_was(model, held_out):
    own = model.bonuses.constants
    found = held_out.measure()
    np.testing.assert_array_equal(model.bonuses.constants, own)
    assert model.query_tower.scale.numpy() == 1.0
    assert not model.repeat_bonus.trends.numpy().any()
    of_all, of_new = ranks_of(held_out, found.scale, found.constants, has_trends=True)
    rate_all, rate_new = ranks_of(held_out, 0.0, model.bonuses.no_constants, has_trends=False)
    assert found.recalls == pytest.approx((held_out._recall(of_all), held_out._recall(of_new)))
    assert found.popularity == pytest.approx((held_out._recall(rate_all), held_out._recall(rate_new)))
    lifts = [ours / theirs for ours, theirs in zip(found.recalls, found.popularity, strict=True)]
    assert found.score == pytest.approx(lifts[0] * lifts[1])
    assert found.recalls[0] > found.popularity[0]
