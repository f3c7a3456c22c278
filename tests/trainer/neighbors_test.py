import math

import numpy as np
import pytest
import tensorflow as tf

from trainer import neighbors as neighbors_module
from trainer.associations import Neighbors
from trainer.bonuses import Bonuses
from trainer.neighbors import NeighborBonus
from trainer.repeats import RepeatBonus

RATE_FLOOR = 0.005
KINDS = ("transitions", "cooccurrences", "content")
NUM_GROUPS = 7
GROUPS = np.array(  # of 12 items; an item may have none
    [[0, 0], [1, 4], [1, 5], [2, 5], [2, 0], [3, 6], [3, 6], [0, 0], [1, 6], [0, 4], [2, 5], [3, 4]]
)


class PlantedGroups:
    """Groups of the 12 items."""

    number = NUM_GROUPS

    def of(self, items):
        return tf.gather(tf.constant(GROUPS, tf.int64), items)


class NoGroups:
    """No item has any."""

    number = 0

    def of(self, items):
        return tf.zeros([tf.size(items), 0], tf.int64)


ROWS = (
    [(3, 1, 0.0), (4, 2, 3.0), (3, 2, 40.0), (3, 1, 5000.0)],  # an item three times
    [(0, 1, 1.0), (5, 3, 2.0), (0, 2, 9.0)],  # an unknown item counts nothing, not even as a newer one
    [(0, 1, 1.0)],
    [],
    [(11, 0, 7.0), (1, 1, 7.0), (2, 1, 7.0)],  # one moment
)


@pytest.fixture(scope="module")
def tables():
    """Neighbours of 12 items, 4 at most, by kind; of content, of groups."""
    random = np.random.default_rng(5)
    found = {}
    for kind in KINDS:
        size = NUM_GROUPS if kind == "content" else 12
        items, weights = np.zeros((size, 4), np.int32), np.zeros((size, 4), np.float32)
        for item in range(1, size):
            number = random.integers(0, 5)
            others = [other for other in range(1, 12) if other != item]
            items[item, :number] = random.choice(others, number, replace=False)
            weights[item, :number] = -np.sort(-random.uniform(0.01, 1, number))
        found[kind] = Neighbors(items, weights)
    return found


@pytest.fixture(scope="module", autouse=True)
def _all_are_listed():
    """Of 12 items one would be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors_module, "LISTED_SHARE", 1.0)
        yield


@pytest.fixture(scope="module")
def layer(parts, tables):
    found = NeighborBonus(parts.groups, parts.catalog, PlantedGroups(), rate_floor=RATE_FLOOR, num_neighbors=4)
    found.fill(tables)
    return found


def plain_terms(parts, tables, row):
    """Of one history: neighbour -> terms, by the formula."""
    known = [(item, age) for item, _, age in row if item]
    factors = {
        "transitions": [1 / (1 + sum(other < age for _, other in known)) for _, age in known],
        "cooccurrences": [float(item not in [i for i, _ in known[:n]]) for n, (item, _) in enumerate(known)],
    }
    factors["content"] = factors["cooccurrences"]
    sums = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for (item, _), factor in zip(known, factors[kind], strict=True):
            for source in [group for group in GROUPS[item] if group] if kind == "content" else [item]:
                for other, weight in zip(tables[kind].items[source], tables[kind].weights[source], strict=True):
                    if factor and other and other not in [i for i, _ in known]:
                        sums[kind][other] = sums[kind].get(other, 0) + factor * weight
    found = {}
    for other in {other for of_kind in sums.values() for other in of_kind}:
        popularity = math.log(12 * max(parts.rates[other], RATE_FLOOR))
        found[other] = []
        for kind in KINDS:
            own = [1.0, math.log(sums[kind].get(other, 1.0)), math.log(1 + sum(factors[kind])), -popularity]
            found[other] += own if other in sums[kind] else [0.0] * 4
    return found


def by_item(items, terms, row):
    """What is listed in a row, each item once."""
    items, terms = items.numpy()[row], terms.numpy()[row]
    assert (terms[items == 0] == 0).all()
    listed = items[items != 0].tolist()
    assert len(set(listed)) == len(listed)
    return dict(zip(listed, terms[items != 0].tolist(), strict=True))


def test_terms_equal_the_formula(layer, parts, tables, histories):
    items, terms = layer.terms(histories(*ROWS))
    assert items.dtype == tf.int64
    assert items.shape == (5, 11)
    assert terms.shape == (5, 11, layer.num_constants)
    numbers = []
    for number, row in enumerate(ROWS):
        found, expected = by_item(items, terms, number), plain_terms(parts, tables, row)
        assert found.keys() == expected.keys()
        for item, values in expected.items():
            assert found[item] == pytest.approx(values, rel=1e-5, abs=1e-6)
        numbers.append(len(found))
    assert numbers[2:4] == [0, 0]
    assert min(numbers[:2]) >= 2


@pytest.mark.parametrize(("most", "share"), [(1, 1.0), (500, 1 / 12)])
def test_the_strongest_of_each_kind_are_listed(monkeypatch, parts, tables, histories, most, share):
    monkeypatch.setattr(neighbors_module, "NUM_LISTED", dict.fromkeys(KINDS, most))
    monkeypatch.setattr(neighbors_module, "LISTED_SHARE", share)
    fewer = NeighborBonus(parts.groups, parts.catalog, PlantedGroups(), rate_floor=RATE_FLOOR, num_neighbors=4)
    fewer.fill(tables)
    items, terms = fewer.terms(histories(*ROWS))
    whole = plain_terms(parts, tables, ROWS[0])
    strongest = [
        sorted((item for item, values in whole.items() if values[4 * kind]), key=lambda i: -whole[i][4 * kind + 1])[:1]
        for kind in range(len(KINDS))
    ]
    found = by_item(items, terms, 0)
    assert set(found) == {item for items_of_kind in strongest for item in items_of_kind}
    assert len(found) < len(whole)
    for item, values in found.items():
        assert values == pytest.approx(whole[item], rel=1e-5, abs=1e-6)


def test_order_does_not_matter_at_one_moment(layer, histories):
    rows = [[(11, 1, 7.0), (1, 1, 7.0), (2, 1, 2.0)], [(1, 1, 7.0), (2, 1, 2.0), (11, 1, 7.0)]]
    first, second = (by_item(*layer.terms(histories(*rows)), row) for row in (0, 1))
    assert first.keys() == second.keys()
    for item, values in first.items():
        assert second[item] == pytest.approx(values, rel=1e-5, abs=1e-6)


def test_without_neighbours_nothing_is_listed(parts, histories):
    off = NeighborBonus(parts.groups, parts.catalog, PlantedGroups(), rate_floor=RATE_FLOOR, num_neighbors=0)
    for features in (histories(*ROWS), histories([], [])):
        items, terms = off.terms(features)
        assert items.shape[1] == 0
        assert terms.shape[1:] == (0, off.num_constants)


def test_without_groups_the_other_kinds_are_listed(parts, tables, layer, histories):
    fewer = NeighborBonus(parts.groups, parts.catalog, NoGroups(), rate_floor=RATE_FLOOR, num_neighbors=4)
    no_groups = Neighbors(np.zeros((0, 4), np.int32), np.zeros((0, 4), np.float32))
    fewer.fill({**tables, "content": no_groups})
    (items, terms), (_, whole) = fewer.terms(histories(*ROWS)), layer.terms(histories(*ROWS))
    assert not terms[:, :, 8:].numpy().any()
    assert whole[:, :, 8:].numpy().any()
    for number, row in enumerate(ROWS):
        expected = {item: v for item, v in plain_terms(parts, tables, row).items() if any(v[:8])}
        found = by_item(items, terms, number)
        assert found.keys() == expected.keys()
        for item, values in found.items():
            assert values[:8] == pytest.approx(expected[item][:8], rel=1e-5, abs=1e-6)


def test_a_batch_without_any_history_has_none(layer, histories):
    items, terms = layer.terms(histories([], []))
    assert not items.numpy().any()
    assert not terms.numpy().any()


@pytest.fixture
def bonuses(parts, layer):
    repeat = RepeatBonus(parts.groups, parts.tables, parts.catalog, parts.config, rate_floor=RATE_FLOOR, num_events=4)
    return Bonuses(repeat, layer, temperature=0.5)


def test_both_bonuses_stand_side_by_side(bonuses, layer, histories):
    features = histories(*ROWS)
    bonuses.repeat(features)  # builds it
    num_own = len(bonuses.repeat.conversion_constants)
    constants = np.linspace(-1.0, 0.9, num_own + layer.num_constants, dtype=np.float32)
    bonuses.constants = constants
    np.testing.assert_allclose(bonuses.constants, constants, rtol=1e-5)
    found = bonuses(features)
    repeats, (near, terms) = bonuses.repeat(features), layer.terms(features)
    np.testing.assert_array_equal(found.items, np.concatenate([repeats.items, near], axis=1))
    np.testing.assert_allclose(found.bonuses[:, :4], repeats.bonuses, atol=1e-5)
    kinds = terms.numpy().reshape(5, 11, 3, 4)
    odds = sum(
        kinds[:, :, k, 0] * np.exp(kinds[:, :, k] @ constants[num_own + 4 * k : num_own + 4 + 4 * k]) for k in range(3)
    )
    np.testing.assert_allclose(found.bonuses[:, 4:], 0.5 * np.log(1 + odds), rtol=1e-5, atol=1e-6)
    assert (odds > 0).any()
    assert (found.bonuses.numpy()[:, 4:][near == 0] == 0).all()


def test_a_fresh_neighbour_bonus_is_none(parts, tables, histories):
    fresh = NeighborBonus(parts.groups, parts.catalog, PlantedGroups(), rate_floor=RATE_FLOOR, num_neighbors=4)
    fresh.fill(tables)
    repeat = RepeatBonus(parts.groups, parts.tables, parts.catalog, parts.config, rate_floor=RATE_FLOOR, num_events=4)
    assert not Bonuses(repeat, fresh, temperature=1.0)(histories(*ROWS)).bonuses[:, 4:].numpy().any()
