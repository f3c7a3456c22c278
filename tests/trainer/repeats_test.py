import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.repeats import RepeatBonus
from trainer.repeats import Repeats
from trainer.repeats import bonus_of_own
from trainer.repeats import bonuses_of
from trainer.repeats import columns_of

RATE_FLOOR = 0.005
B = (2.5, 2.0, 1.0, 3.0, 0.7, -0.4, 0.3, 0.9, 0.6)  # by event, then b_1 to b_5
OF_ENGAGEMENTS = (-1.0, 0.5, 0.0, 0.3, 0.2, 0.1, 0.0, 0.4, 0.2)
LOYALTY = np.linspace(-1.0, 1.0, 12)
TRENDS = np.linspace(0.5, -2.0, 12)
ROWS = (
    [(3, 1, 0.0), (4, 2, 3.0), (3, 2, 40.0), (3, 1, 5000.0)],  # an item three times, of other events and ages
    [(0, 1, 1.0), (5, 3, 2.0), (0, 2, 9.0)],  # unknown items beside one without positives
    [(0, 1, 1.0)],  # an unknown item alone
    [],
    [(11, 0, 7.0), (1, 1, 7.0)],  # an unknown event
)


@pytest.fixture(scope="module")
def layer(parts, histories):
    """A bonus with random weights of events and ages."""
    found = RepeatBonus(parts.groups, parts.tables, parts.catalog, parts.config, rate_floor=RATE_FLOOR, num_events=4)
    found(histories(*ROWS))
    random = np.random.default_rng(4)
    for variable in own_variables(found).values():
        variable.assign(0.05 * random.normal(size=variable.shape))
    own_variables(found)["constants"].assign(np.array([B, OF_ENGAGEMENTS]) / 10)
    found.loyalty.assign(LOYALTY)
    found.trends.assign(TRENDS)
    return found


def own_variables(layer):
    names = {(2, 9): "constants", (64, 1): "ages", (4, 1): "events"}  # by shape; 4 numbers an event
    return {names[tuple(v.shape)]: v for v in layer.trainable_variables if tuple(v.shape) in names}


def plain_bonuses(layer, parts, row, constants=B):
    """Of one history: item -> bonus, by the formula."""
    events, ages = (own_variables(layer)[name].numpy()[:, 0] for name in ("events", "ages"))
    weight_of, latest = {}, {}
    for item, event, age_days in row:
        if item != 0:
            age = min(63, int(2 * math.log2(1 + 86_400 * age_days)))
            score = parts.table("history_event")[event] @ events + ages[age]
            weight_of.setdefault(item, []).append(math.exp(10 * score))
            latest.setdefault(item, event)
    whole = sum(map(sum, weight_of.values()))
    return {
        item: parts.config.temperature
        * (
            constants[latest[item]]
            + constants[4] * math.log(sum(weights))
            + constants[5] * math.log(1 + whole)
            - constants[6] * math.log(len(parts.rates) * max(parts.rates[item], RATE_FLOOR))
            + constants[7] * LOYALTY[item]
            - constants[8] * TRENDS[item]
        )
        for item, weights in weight_of.items()
    }


def by_item(repeats, row):
    """What is listed in a row, each item once."""
    items, bonuses = repeats.items.numpy()[row], repeats.bonuses.numpy()[row]
    assert (bonuses[items == 0] == 0).all()
    listed = items[items != 0].tolist()
    assert len(set(listed)) == len(listed)
    return dict(zip(listed, bonuses[items != 0].tolist(), strict=True))


def test_bonuses_equal_the_formula(layer, parts, histories):
    found = layer(histories(*ROWS))
    assert found.items.dtype == tf.int64
    assert found.items.shape == found.bonuses.shape == (5, 4)
    for number, row in enumerate(ROWS):
        assert by_item(found, number) == pytest.approx(plain_bonuses(layer, parts, row), rel=1e-4)
    assert [len(by_item(found, number)) for number in range(5)] == [2, 1, 0, 0, 2]


def test_what_is_not_shown_is_not_there(layer, parts, histories):
    shown = np.array([[True, True, False, False], [False] * 4, [False] * 4, [False] * 4, [False, True, False, False]])
    found = layer(histories(*ROWS), shown=tf.constant(shown))
    for number, row in enumerate(ROWS):
        left = [action for action, is_shown in zip(row, shown[number], strict=False) if is_shown]
        assert by_item(found, number) == pytest.approx(plain_bonuses(layer, parts, left), rel=1e-4)


def test_engagements_have_constants_of_their_own(layer, parts, histories):
    is_engagement = [False, True, False, True, True]
    found = layer(histories(*ROWS), is_engagement=tf.constant(is_engagement))
    for number, row in enumerate(ROWS):
        constants = OF_ENGAGEMENTS if is_engagement[number] else B
        assert by_item(found, number) == pytest.approx(plain_bonuses(layer, parts, row, constants), rel=1e-4)


def test_constants_are_those_of_conversions(layer):
    np.testing.assert_allclose(layer.conversion_constants, B, rtol=1e-6)
    layer.set_conversion_constants(np.arange(9.0))
    np.testing.assert_allclose(
        10 * own_variables(layer)["constants"].numpy(), [np.arange(9), OF_ENGAGEMENTS], rtol=1e-5
    )
    layer.set_conversion_constants(B)


def test_a_batch_without_any_history_has_no_bonus(layer, histories):
    found = layer(histories([], []))
    assert found.items.shape == found.bonuses.shape == (2, 0)
    np.testing.assert_array_equal(
        bonuses_of(found, columns_of(found.items, tf.constant([3, 3, 0], tf.int64))), np.zeros((2, 3))
    )
    np.testing.assert_array_equal(bonus_of_own(found, tf.constant([3, 0], tf.int64)), np.zeros(2))


def test_a_fresh_bonus_weighs_events_and_ages_alike(parts, histories):
    fresh = RepeatBonus(parts.groups, parts.tables, parts.catalog, parts.config, rate_floor=RATE_FLOOR, num_events=4)
    found = by_item(fresh(histories([(3, 1, 1.0), (3, 2, 90.0), (4, 3, 5.0)])), 0)
    # Every action weighs 1: 0.5 * (3 + 0.8 log 2 + 0 - 0.25 log(12 f)) for the item that is there twice.
    popularity = {item: math.log(12 * parts.rates[item]) for item in (3, 4)}
    expected = {3: 3 + 0.8 * math.log(2) - 0.25 * popularity[3], 4: 3 - 0.25 * popularity[4]}
    assert found == pytest.approx({item: 0.5 * value for item, value in expected.items()}, rel=1e-5)


LISTED = Repeats(
    tf.constant([[3, 0, 4, 9], [0, 0, 0, 0], [7, 4, 0, 0]], tf.int64),
    tf.constant([[0.5, 0.0, -1.5, 2.0], [0.0] * 4, [3.0, 4.0, 0.0, 0.0]]),
)


@pytest.mark.parametrize("items", [[4, 3, 4, 0, 8, 0, 10], [4], [0], [1, 2], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
def test_bonuses_of_columns_equal_a_loop(items):
    expected = np.zeros((3, len(items)))
    for row, (listed, bonuses) in enumerate(zip(LISTED.items.numpy(), LISTED.bonuses.numpy(), strict=True)):
        for column, item in enumerate(items):
            expected[row, column] = sum(b for other, b in zip(listed, bonuses, strict=True) if other == item != 0)
    np.testing.assert_array_equal(bonuses_of(LISTED, columns_of(LISTED.items, tf.constant(items, tf.int64))), expected)


@pytest.mark.parametrize(
    ("items", "expected"), [([4, 4, 4], [-1.5, 0, 4]), ([9, 0, 0], [2, 0, 0]), ([7, 3, 3], [0, 0, 0])]
)
def test_bonus_of_each_rows_own_item(items, expected):
    np.testing.assert_array_equal(bonus_of_own(LISTED, tf.constant(items, tf.int64)), expected)


def test_what_is_learned_of_columns_is_learned_of_the_lists():
    bonuses = tf.Variable(LISTED.bonuses)
    weights = np.arange(9, dtype=np.float32).reshape(3, 3)
    with tf.GradientTape() as tape:
        columns = columns_of(LISTED.items, tf.constant([4, 0, 4], tf.int64))
        found = bonuses_of(Repeats(LISTED.items, bonuses), columns)
        total = tf.reduce_sum(found * weights)
    # Item 4 is listed at [0, 2] and [2, 1] and asked for in columns 0 and 2: 0 + 2 and 6 + 8.
    expected = np.zeros((3, 4))
    expected[0, 2], expected[2, 1] = 2, 14
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(total, bonuses)), expected)
