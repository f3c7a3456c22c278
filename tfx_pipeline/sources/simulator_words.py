"""Names of the synthetic market: categories, brands, adjectives, queries. None of them is a real brand."""

import numpy as np

from schemas import tables

ADJECTIVES = ("classic", "modern", "compact", "rustic", "bright", "soft", "slim", "outdoor", "vintage", "light")

_DEPARTMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "home": {"decor": ("vase", "mirror", "candle"), "furniture": ("chair", "table", "shelf")},
    "fashion": {"clothes": ("dress", "jacket", "shirt"), "shoes": ("boots", "sneakers", "sandals")},
    "beauty": {"care": ("cream", "soap", "shampoo"), "makeup": ("lipstick", "mascara", "powder")},
    "garden": {"plants": ("fern", "cactus", "rose"), "tools": ("spade", "hose", "planter")},
    "kitchen": {"cookware": ("pan", "pot", "kettle"), "tableware": ("plate", "mug", "bowl")},
    "sports": {"fitness": ("mat", "dumbbell", "rope"), "camping": ("tent", "lantern", "backpack")},
    "children": {"toys": ("puzzle", "doll", "blocks"), "nursery": ("crib", "blanket", "pram")},
    "craft": {"paper": ("notebook", "stickers", "cards"), "textile": ("yarn", "fabric", "needles")},
}
_SYLLABLES = ("ba", "do", "fi", "ka", "lu", "me", "no", "pi", "ra", "so", "ta", "vu", "zi", "el", "or", "un")


def category(leaf: int) -> tuple[str, str]:
    """Path (2 or 3 levels) and noun of a leaf category; past the word list, nouns are numbered."""
    departments = list(_DEPARTMENTS)
    department = departments[leaf % len(departments)]
    leaves = [(group, noun) for group, nouns in _DEPARTMENTS[department].items() for noun in nouns]
    turn, rank = divmod(leaf // len(departments), len(leaves))
    group, noun = leaves[rank]
    noun = noun if turn == 0 else f"{noun}{turn + 1}"
    # A mix of depths, as in real feeds: every third leaf hangs directly below its department.
    path = (department, noun) if leaf % 3 == 2 else (department, group, noun)
    return tables.CATEGORY_SEPARATOR.join(path), noun


def department(leaf: int) -> int:
    """Number of the department that a leaf category belongs to."""
    return leaf % len(_DEPARTMENTS)


def num_departments() -> int:
    """Departments of the synthetic shop, count."""
    return len(_DEPARTMENTS)


def brands(count: int, rng: np.random.Generator) -> list[str]:
    """Made-up, pronounceable and distinct brand words."""
    names: dict[str, None] = {}
    while len(names) < count:
        length = 3 if len(names) < 1000 else 5
        names["".join(rng.choice(_SYLLABLES, size=length))] = None
    return list(names)
