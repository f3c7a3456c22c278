"""Raw rows of two tastes: a user of a taste buys its items, the first ones more often."""

import numpy as np

TASTES = ("A", "B")
ITEMS_PER_TASTE = 12


def planted_items(random: np.random.Generator) -> dict[str, dict]:
    items = {}
    for taste in TASTES:
        for number in range(ITEMS_PER_TASTE):
            item_id = f"{taste.lower()}{number:02d}" + ("-ü東" if number == 3 else "")
            items[item_id] = {
                "item_id": item_id,
                "advertiser_id": f"maker-{number % 3}",
                "category": f"Shop > {taste} > {number % 2}",
                "title": f"Item No {number} of Größe {number % 4}",
                "own_score": float(number),
                "own_vector": random.normal(size=3).round(3).tolist(),
            }
            if number == 0:  # the first of each taste has no score
                del items[item_id]["own_score"]
    return items


def planted_rows(random: np.random.Generator, items: dict[str, dict], num_rows: int) -> list[dict]:
    """A user of a taste buys items of that taste, the first ones more often, and has bought such before."""
    by_taste = {taste: [item for item in items if item[0] == taste.lower()] for taste in TASTES}
    skewed = 1 / np.arange(1, ITEMS_PER_TASTE + 1)
    rows = []
    for number in range(num_rows):
        owned = by_taste[TASTES[number % 2]]
        item_id = str(random.choice(owned, p=skewed / skewed.sum()))
        length = int(random.integers(1, 5))
        row = {
            **items[item_id],
            "user_id": f"u{number % 40}",
            "timestamp_us": number,
            "task": "engagement" if number % 5 == 0 else "conversion",
            "event": "click" if number % 5 == 0 else "purchase",
            "is_repeat": number % 2,
            "positive_rate": float(np.float32(skewed[owned.index(item_id)] / skewed.sum() / 2)),
            "impression_rate": 0.0,
            "user_num_clicks": float(number % 7),
            "surface": ("home", "search")[number % 2 if number % 3 else 0],
            "history_item_id": [str(i) for i in random.choice(owned, length)],
            "history_event": ["click" if (number + place) % 4 == 0 else "purchase" for place in range(length)],
            "history_age_days": [float(age) for age in range(1, length + 1)],
            "own_segment": f"segment-{number % 3}",
            "own_note": "Note ONE" if number % 2 else "note two",
        }
        if number % 4 == 0:
            row["subject_item_id"] = str(random.choice(owned))
        if number % 5 == 0:
            row["click_duration_s"] = float(number % 200)
        rows.append(row)
    return rows
