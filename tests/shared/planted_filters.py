"""A catalogue with whole-number vectors, and filtered retrieval from it in plain Python."""

from collections import Counter

import numpy as np
import tensorflow as tf
from given_towers import GivenTowers
from planted_catalog import catalog_of

NO_RULE = {
    "exclude_item_ids": [],
    "allow_advertiser_ids": [],
    "deny_advertiser_ids": [],
    "allow_categories": [],
    "deny_categories": [],
    "min_price": float("nan"),
    "max_price": float("nan"),
    "max_per_advertiser": 0,
}
CATEGORIES = ["", "a", "a > b", "a > b > c", "a > bc", "a b", "d > b", "d > b > ü", "e > f > g > h"]
ADVERTISERS = ["", "ad", "ad 1", "ad 2", "größe", "rare"]
NUM_ROWS, NUM_LISTED = 24, 12


def make(*, num_items, dim, seed, num_rows=NUM_ROWS):
    """A catalogue and towers of small whole numbers, of which float32 sums are exact and many scores equal."""
    random = np.random.default_rng(seed)
    catalog = catalog_of(
        [f"i{number:05d}".encode() for number in range(num_items)],
        random.integers(-3, 4, size=(num_items, dim)),
        indices=random.permutation(np.arange(1, num_items + 1)),
        advertisers=random.choice(
            [name.encode() for name in ADVERTISERS], num_items, p=[0.2, 0.5, 0.1, 0.1, 0.09, 0.01]
        ),
        categories=random.choice([name.encode() for name in CATEGORIES], num_items),
        prices=np.where(random.random(num_items) < 0.2, np.nan, random.integers(1, 50, num_items)).astype(np.float32),
        is_available=random.random(num_items) < 0.9,
    )
    repeats = np.stack([random.permutation(num_items + 20)[:NUM_LISTED] for _ in range(num_rows)])
    bonuses = np.where(repeats, random.integers(-15, 16, size=repeats.shape), 0)
    towers = GivenTowers(random.integers(-3, 4, size=(num_rows, dim)), repeats, bonuses)
    return catalog, towers


def all_scores(towers, catalog, num_rows=NUM_ROWS):
    """[rows, items]: the inner product, and the bonus of the listed items."""
    embedded = towers.signatures["embed_query"](row=tf.range(num_rows, dtype=tf.float32))
    embedded = {name: value.numpy() for name, value in embedded.items()}
    scores = embedded["embedding"] @ catalog.vectors.T
    for row, (items, bonuses) in enumerate(zip(embedded["bonus_items"], embedded["bonuses"], strict=True)):
        for item, bonus in zip(items, bonuses, strict=True):
            scores[row, catalog.indices == item] += bonus if item else 0
    return scores


def passes(catalog, rule, position):
    """Whether an item passes all but the limit an advertiser."""

    def is_below(name):
        path, wanted = catalog.categories[position].decode().split(" > "), name.split(" > ")
        return name != "" and path[: len(wanted)] == wanted

    advertiser, price = catalog.advertisers[position].decode(), catalog.prices[position]
    allowed_advertisers, allowed_categories = (
        [name for name in rule[key] if name] for key in ("allow_advertiser_ids", "allow_categories")
    )
    return (
        catalog.is_available[position]
        and catalog.item_ids[position].decode() not in rule["exclude_item_ids"]
        and (not allowed_advertisers or advertiser in allowed_advertisers)
        and (advertiser == "" or advertiser not in rule["deny_advertiser_ids"])
        and (not allowed_categories or any(map(is_below, allowed_categories)))
        and not any(map(is_below, rule["deny_categories"]))
        and (np.isnan(rule["min_price"]) or price >= rule["min_price"])
        and (np.isnan(rule["max_price"]) or price <= rule["max_price"])
    )


def brute_force(catalog, scores, rule, k):
    """Positions of the best k [items] scores, the earlier one first where they are equal."""
    best, taken = [], Counter()
    for position in sorted(range(len(scores)), key=lambda position: (-scores[position], position)):
        advertiser = catalog.advertisers[position]
        is_full = advertiser != b"" and 0 < rule["max_per_advertiser"] <= taken[advertiser]
        if not is_full and passes(catalog, rule, position):
            taken[advertiser] += 1
            best.append(position)
    return best[:k]
