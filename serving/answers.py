"""One user's answer as text or JSON: attributes, recent history, retrieved items."""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from schemas.contract import HISTORY_AGE_DAYS
from schemas.contract import HISTORY_EVENT
from schemas.contract import HISTORY_ITEM_ID
from schemas.contract import HISTORY_PREFIX
from serving import text_table
from serving.overlap import Overlap
from serving.overlap import num_in_history
from serving.overlap import overlaps
from serving.query_inputs import Features
from serving.results import Retrieved
from serving.snapshot import UNKNOWN_ITEM
from serving.snapshot import Item
from serving.text_table import Column

_NUM_HISTORY_SHOWN = 10
_HISTORY_COLUMNS = (
    Column("event"),
    Column("item"),
    Column("title"),
    Column("category"),
    Column("age [days]", is_number=True),
)
_ITEM_COLUMNS = (
    Column("rank", is_number=True),
    Column("item"),
    Column("title"),
    Column("advertiser"),
    Column("price", is_number=True),
    Column("score", is_number=True),
    Column(""),
)
_EXPLAINED_COLUMNS = (
    Column("rank", is_number=True),
    Column("item"),
    Column("title"),
    Column("category"),
    Column("advertiser"),
    Column("score", is_number=True),
    Column("item x", is_number=True),
    Column("category x", is_number=True),
    Column("advertiser x", is_number=True),
)


class Answer(NamedTuple):
    """What was known of a user and what was retrieved."""

    user_id: str
    features: Features
    retrieved: Retrieved

    def history(self, name: str) -> list[Any]:
        """The user's history feature `name`, newest first; empty if the user has none."""
        values = self.features.get(name)
        return list(values) if isinstance(values, list) else []

    def item_ids(self) -> set[str]:
        """Every item that is shown."""
        return {*self.history(HISTORY_ITEM_ID), *self.retrieved.item_ids}

    def overlaps(self, items: Mapping[str, Item]) -> list[Overlap]:
        """What each retrieved item has in common with the history."""
        return overlaps(self.retrieved.item_ids, self.history(HISTORY_ITEM_ID), items)


def as_text(answer: Answer, items: Mapping[str, Item], *, k: int, width: int, explain: bool) -> str:
    """The answer in lines of at most `width` columns; with what it has in common with the history if `explain`."""
    attributes = [
        f"{name}={value}" for name, value in sorted(answer.features.items()) if not name.startswith(HISTORY_PREFIX)
    ]
    num_found = len(answer.retrieved.item_ids)
    fewer = f"\n{num_found} of the {k} items asked for: no more are left." if num_found < k else ""
    return "\n".join(
        [
            f"User {answer.user_id}: {', '.join(attributes) or 'no attributes'}",
            "",
            _history_text(answer, items, width=width),
            "",
            _explained_text(answer, items, width=width) if explain else _items_text(answer, items, width=width),
            f"{fewer}\nModel version {answer.retrieved.model_version}, index version {answer.retrieved.index_version}",
        ]
    )


def as_json(answer: Answer, items: Mapping[str, Item], *, explain: bool) -> dict[str, Any]:
    """The answer as a JSON object; with what it has in common with the history if `explain`."""
    seen = answer.history(HISTORY_ITEM_ID)
    retrieved = [
        {"rank": rank, "item_id": item_id, "score": score, "again": item_id in seen}
        | items.get(item_id, UNKNOWN_ITEM)._asdict()
        for rank, (item_id, score) in enumerate(
            zip(answer.retrieved.item_ids, answer.retrieved.scores, strict=True), start=1
        )
    ]
    content: dict[str, Any] = {
        "user": answer.user_id,
        "features": answer.features,
        "items": retrieved,
        "model_version": answer.retrieved.model_version,
        "index_version": answer.retrieved.index_version,
    }
    if explain:
        found = answer.overlaps(items)
        for item, overlap in zip(retrieved, found, strict=True):
            item["in_history"] = overlap._asdict()
        content["num_in_history"] = num_in_history(found)._asdict()
    return content


def _history_text(answer: Answer, items: Mapping[str, Item], *, width: int) -> str:
    item_ids = answer.history(HISTORY_ITEM_ID)
    if not item_ids:
        return "No history"
    events = answer.history(HISTORY_EVENT)
    ages_days = answer.history(HISTORY_AGE_DAYS)
    rows = []
    for position, item_id in enumerate(item_ids[:_NUM_HISTORY_SHOWN]):
        item = items.get(item_id, UNKNOWN_ITEM)
        event = events[position] if position < len(events) else None
        age_days = ages_days[position] if position < len(ages_days) else None
        age = "" if age_days is None else f"{age_days:.1f}"
        rows.append([event or "", item_id, item.title or "", item.category or "", age])
    table = text_table.render(_HISTORY_COLUMNS, rows, width=width)
    return f"Recent history ({len(rows)} of {len(item_ids)}, newest first)\n{table}"


def _items_text(answer: Answer, items: Mapping[str, Item], *, width: int) -> str:
    seen = set(answer.history(HISTORY_ITEM_ID))
    rows = []
    for rank, (item_id, score) in enumerate(
        zip(answer.retrieved.item_ids, answer.retrieved.scores, strict=True), start=1
    ):
        item = items.get(item_id, UNKNOWN_ITEM)
        price = "" if item.price is None else f"{item.price:,.2f}"
        again = "again" if item_id in seen else ""
        rows.append([str(rank), item_id, item.title or "", item.advertiser_id or "", price, f"{score:.4f}", again])
    return f"Retrieved\n{text_table.render(_ITEM_COLUMNS, rows, width=width)}"


def _explained_text(answer: Answer, items: Mapping[str, Item], *, width: int) -> str:
    found = answer.overlaps(items)
    rows = []
    for rank, (item_id, score, overlap) in enumerate(
        zip(answer.retrieved.item_ids, answer.retrieved.scores, found, strict=True), start=1
    ):
        item = items.get(item_id, UNKNOWN_ITEM)
        texts = [item.title or "", item.category or "", item.advertiser_id or ""]
        rows.append([str(rank), item_id, *texts, f"{score:.4f}", *map(str, overlap)])
    shares = num_in_history(found)
    return "\n".join(
        [
            "Retrieved",
            f"In the history: category {_share(shares.category, len(found))}, "
            f"advertiser {_share(shares.advertiser, len(found))}, item {_share(shares.item, len(found))}",
            text_table.render(_EXPLAINED_COLUMNS, rows, width=width),
            "x: how often it is in the history",
        ]
    )


def _share(num: int, num_all: int) -> str:
    return f"{num} of {num_all}" + (f" ({num / num_all:.0%})" if num_all else "")
