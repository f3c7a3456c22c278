"""Some users for people to look at: what they did beside what they are shown and what they bought then."""

from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from tfx_pipeline.evaluation.retrieved import best_items
from tfx_pipeline.evaluation.rows import Queries
from tfx_pipeline.evaluation.rows import UserRows
from tfx_pipeline.index.catalog import Catalog

NUM_USERS = 10
_NUM_ITEMS = 10
_NUM_ACTIONS = 20
_NUM_BOUGHT = 30
_BATCH = 4096


def sample_users(users: UserRows, catalog: Catalog, files: list[str], *, seed: int) -> list[dict[str, Any]]:
    """Ten users, of those with a history where there are as many.

    Args:
        users: of the split `queries`.
        catalog: of the retriever.
        files: TFRecords of the split `catalog`, for titles.
        seed: of the choice.
    """
    order = np.random.default_rng(seed).permutation(len(users.targets))
    chosen = order[np.argsort(~users.has_history[order], kind="stable")][:NUM_USERS]
    queries = users.queries
    asked = Queries(
        queries.vectors[chosen], [queries.listed[at] for at in chosen], [queries.bonuses[at] for at in chosen]
    )
    found, scores = best_items(asked, catalog.vectors, min(_NUM_ITEMS, len(catalog.item_ids)))
    histories = [_history(users.examples[at]) for at in chosen]
    bought = [users.targets[at] for at in chosen]
    ids = {row["item_id"].encode() for _, history in histories for row in history}
    ids |= {catalog.item_ids[place] for places in (*found, *bought) for place in places}
    texts = _texts(files, ids)
    return [
        {
            "user_id": user,
            "history": [{**row, **_text(texts, row["item_id"].encode())} for row in history],
            "retrieved": [
                {**_item(catalog, texts, place), "score": float(score), "is_bought": bool(place in own)}
                for place, score in zip(places, row_scores, strict=True)
            ],
            "bought": [_item(catalog, texts, place) for place in own[:_NUM_BOUGHT]],
        }
        for (user, history), places, row_scores, own in zip(histories, found, scores, bought, strict=True)
    ]


def _item(catalog: Catalog, texts: dict[bytes, dict[str, str]], place: int) -> dict[str, str]:
    item_id = catalog.item_ids[place]
    return {
        "item_id": item_id.decode(),
        **_text(texts, item_id),
        "advertiser_id": catalog.advertisers[place].decode(),
    }


def _text(texts: dict[bytes, dict[str, str]], item_id: bytes) -> dict[str, str]:
    return texts.get(item_id, {"title": "", "category": ""})


def _history(record: bytes) -> tuple[str, list[dict[str, Any]]]:
    """A user's id and latest actions, the newest first."""
    lists = (contract.HISTORY_EVENT, contract.HISTORY_ITEM_ID)
    spec = {
        "user_id": tf.io.FixedLenFeature([], tf.string),
        **{name: tf.io.VarLenFeature(tf.string) for name in lists},
        contract.HISTORY_AGE_DAYS: tf.io.VarLenFeature(tf.float32),
    }
    parsed = tf.io.parse_single_example(record, spec)
    events, items = (parsed[name].values.numpy()[:_NUM_ACTIONS] for name in lists)
    ages = parsed[contract.HISTORY_AGE_DAYS].values.numpy()[:_NUM_ACTIONS]
    ages = np.pad(ages, [0, len(items) - len(ages)], constant_values=np.nan)  # a schema need not have ages
    history = [
        {"event": event.decode(), "item_id": item.decode(), "age_days": float(age)}
        for event, item, age in zip(events, items, ages, strict=True)
    ]
    return parsed["user_id"].numpy().decode(), history


def _texts(files: list[str], ids: set[bytes]) -> dict[bytes, dict[str, str]]:
    """Title and category of the asked items."""
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in ("item_id", "title", "category")}
    asked = tf.constant(sorted(ids), tf.string)

    def chosen(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(batch, spec)
        is_asked = tf.reduce_any(parsed["item_id"][:, tf.newaxis] == asked[tf.newaxis, :], axis=1)
        return {name: tf.boolean_mask(values, is_asked) for name, values in parsed.items()}

    texts = {}
    for batch in tf.data.TFRecordDataset(sorted(files), "GZIP").batch(_BATCH).map(chosen):
        columns = (batch[name].numpy() for name in ("item_id", "title", "category"))
        for item_id, title, category in zip(*columns, strict=True):
            texts[item_id] = {"title": title.decode(), "category": category.decode()}
    return texts
