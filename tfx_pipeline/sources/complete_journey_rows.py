"""Rows of the raw tables from those of The Complete Journey: purchases, promoted impressions, items and users."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from schemas import tables
from tfx_pipeline.sources.complete_journey_files import DEMOGRAPHICS

SURFACE_DISPLAY = "display"
SURFACE_MAILER = "mailer"


def purchases(lines: pd.DataFrame) -> pd.DataFrame:
    """Events of transaction lines."""
    events = _basket_columns(lines)
    return events.assign(
        item_id=_text(lines["product_id"]),
        event=tables.PURCHASE,
        surface=tables.SURFACE_UNKNOWN,
        value=lines["sales_value"].to_numpy(),
    )


def impressions(taken: pd.DataFrame, promotions: pd.DataFrame, *, per_basket: int, seed: int) -> pd.DataFrame:
    """Samples each basket's impressions. A basket's sample depends on its id and the seed, not on the slice.

    Args:
        taken: transaction lines of one week.
        promotions: of the same week, as `promotions_by_week` yields them.
        per_basket: most impressions of a basket.
        seed: of the sample, >= 0.
    """
    promotions = promotions[promotions["displayed"] | promotions["mailed"]]
    # A product in the mailer and on display, or twice on display, is one impression; the mailer names it.
    promotions = promotions.sort_values(["store_id", "product_id", "mailed"], ascending=[True, True, False])
    promotions = promotions.drop_duplicates(["store_id", "product_id"], ignore_index=True)
    taken = taken[taken["store_id"].isin(promotions["store_id"])].sort_values("basket_id", kind="stable")
    baskets = taken.drop_duplicates("basket_id")
    shown = promotions["product_id"].to_numpy()
    starts = np.searchsorted(promotions["store_id"], baskets["store_id"], side="left")
    ends = np.searchsorted(promotions["store_id"], baskets["store_id"], side="right")
    held = np.split(taken["product_id"].to_numpy(), np.searchsorted(taken["basket_id"], baskets["basket_id"])[1:])
    samples = [
        start + _sample(shown[start:end], products, per_basket=per_basket, seed=[seed, basket])
        for basket, start, end, products in zip(baskets["basket_id"].tolist(), starts, ends, held, strict=False)
    ]
    sampled = promotions.iloc[np.concatenate([np.empty(0, dtype=np.int64), *samples])]
    return _basket_columns(baskets.loc[np.repeat(baskets.index, [len(rows) for rows in samples])]).assign(
        item_id=_text(sampled["product_id"]),
        event=tables.IMPRESSION,
        surface=np.where(sampled["mailed"], SURFACE_MAILER, SURFACE_DISPLAY),
    )


def _sample(shown: np.ndarray, taken: np.ndarray, *, per_basket: int, seed: list[int]) -> np.ndarray:
    """Positions in `shown` of at most `per_basket` products, uniformly from those not taken."""
    generator = np.random.default_rng(seed)
    positions = generator.choice(len(shown), size=min(len(shown), per_basket + len(taken)), replace=False)
    return positions[~np.isin(shown[positions], taken)][:per_basket]


def unit_prices(lines: pd.DataFrame) -> pd.Series:
    """Median of sales value per unit, by product."""
    sold = lines[(lines["quantity"] > 0) & (lines["sales_value"] > 0)]
    return (sold["sales_value"] / sold["quantity"]).groupby(sold["product_id"]).median()


def items(products: pd.DataFrame, prices: pd.Series) -> pd.DataFrame:
    """One row per product, with its price in `prices` by product id, if any."""
    products = products.drop_duplicates("product_id")
    levels = products[["department", "product_category", "product_type"]]
    deepest = products["product_type"].fillna(products["product_category"]).fillna(products["department"])
    brands = products["brand"].str.lower() + " brand"
    named = zip(deepest.str.capitalize(), products["package_size"].str.lower(), brands, strict=True)
    return pd.DataFrame(
        {
            "item_id": _text(products["product_id"]),
            "advertiser_id": _text(products["manufacturer_id"]),
            "category": [_joined(path, tables.CATEGORY_SEPARATOR) for path in levels.itertuples(index=False)],
            "title": [_joined(parts, ", ") for parts in named],
            "price": prices.reindex(products["product_id"]).to_numpy(),
            "brand": products["brand"].astype("string").array,
        }
    )


def _joined(parts: Iterable[str | None], separator: str) -> str:
    return separator.join(part for part in parts if isinstance(part, str) and part)


def users(demographics: pd.DataFrame, households: np.ndarray) -> pd.DataFrame:
    """One row per household; text columns even where every value is missing."""
    known = demographics.drop_duplicates("household_id").set_index("household_id")
    users = known[DEMOGRAPHICS].reindex(households).astype("string").reset_index(drop=True)
    users.insert(0, "user_id", _text(pd.Series(households)))
    return users


def _basket_columns(lines: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": _text(lines["household_id"]),
            "timestamp": lines["transaction_timestamp"].to_numpy("datetime64[us]").astype("int64"),
            "request_id": _text(lines["basket_id"]),
            "store": _text(lines["store_id"]),
        }
    )


def _text(ids: pd.Series) -> np.ndarray:
    return ids.astype(str).to_numpy()
