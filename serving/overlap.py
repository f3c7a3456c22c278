"""How what was retrieved overlaps with what the user did before."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from serving.snapshot import UNKNOWN_ITEM
from serving.snapshot import Item


class Overlap(NamedTuple):
    """How often an item, its category and its advertiser are in a history; 0 for a category or advertiser unknown."""

    item: int
    category: int
    advertiser: int


def overlaps(item_ids: Sequence[str], history: Sequence[str], items: Mapping[str, Item]) -> list[Overlap]:
    """What each of `item_ids` has in common with the items of `history`, by the texts in `items`."""
    texts = [items.get(item_id, UNKNOWN_ITEM) for item_id in history]
    seen = Counter(history)
    categories: Counter[str | None] = Counter(item.category for item in texts if item.category)
    advertisers: Counter[str | None] = Counter(item.advertiser_id for item in texts if item.advertiser_id)
    found = []
    for item_id in item_ids:
        item = items.get(item_id, UNKNOWN_ITEM)
        found.append(Overlap(seen[item_id], categories[item.category], advertisers[item.advertiser_id]))
    return found


def num_in_history(found: Sequence[Overlap]) -> Overlap:
    """How many of the items, their categories and their advertisers are in the history at all."""
    return Overlap(*(sum(map(bool, column)) for column in zip(*found, strict=True))) if found else Overlap(0, 0, 0)
