"""The raw tables that users bring and sources write: columns, types and units of the data contract.

A dataset is a folder with `events/`, `items/` and optionally `users/`, each of Parquet, CSV or JSON-lines shards.
"""

from typing import NamedTuple

EVENTS = "events"
ITEMS = "items"
USERS = "users"

IMPRESSION = "impression"
CLICK = "click"
SAVE = "save"
ADD_TO_CART = "add_to_cart"
PURCHASE = "purchase"
EVENT_TYPES = (IMPRESSION, CLICK, SAVE, ADD_TO_CART, PURCHASE)
ENGAGEMENTS = frozenset({CLICK, SAVE})
CONVERSIONS = frozenset({ADD_TO_CART, PURCHASE})

SURFACE_UNKNOWN = "unknown"
CATEGORY_SEPARATOR = " > "


class Column(NamedTuple):
    """One column of a raw table. `kind` is `string`, `int64`, `float` or `float_list`."""

    kind: str
    required: bool = False


TABLES: dict[str, dict[str, Column]] = {
    EVENTS: {
        "user_id": Column("string", required=True),
        "item_id": Column("string", required=True),
        "event": Column("string", required=True),
        "timestamp": Column("int64", required=True),  # microseconds since 1970, UTC
        "surface": Column("string"),
        "click_duration_s": Column("float"),
        "value": Column("float"),
        "subject_item_id": Column("string"),
        "query": Column("string"),
        "request_id": Column("string"),
    },
    ITEMS: {
        "item_id": Column("string", required=True),
        "advertiser_id": Column("string"),
        "category": Column("string"),  # a path: "a > b > c"
        "title": Column("string"),
        "price": Column("float"),
        "is_available": Column("float"),  # 0 or false: not for sale now
        "embedding": Column("float_list"),
    },
    USERS: {"user_id": Column("string", required=True)},
}
"""Further columns are carried when the schema declares them, else ignored and counted."""
