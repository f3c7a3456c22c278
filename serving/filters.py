"""Which items a client wants back."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas import contract
from serving.query_inputs import Features


@dataclass(frozen=True)
class Filters:
    """Conditions that every retrieved item meets; those left out let all items through.

    Attributes:
        exclude_item_ids: Items that must not come back, such as those already bought.
        allow_advertiser_ids: Only items of these advertisers.
        deny_advertiser_ids: No item of these, allowed or not.
        allow_categories: Only items of these categories and below: `a > b` allows `a > b > c`.
        deny_categories: No item of these or below, allowed or not.
        min_price: The least price; with a bound, items of unknown price are left out.
        max_price: The greatest price.
        max_per_advertiser: Most items of one advertiser, the best ones; 0 for no limit.
    """

    exclude_item_ids: Sequence[str] = ()
    allow_advertiser_ids: Sequence[str] = ()
    deny_advertiser_ids: Sequence[str] = ()
    allow_categories: Sequence[str] = ()
    deny_categories: Sequence[str] = ()
    min_price: float | None = None
    max_price: float | None = None
    max_per_advertiser: int = 0

    def __post_init__(self) -> None:
        """Refuses a limit that is none; the types of the rest are checked against the served model's inputs."""
        if not isinstance(self.max_per_advertiser, int) or self.max_per_advertiser < 0:
            raise ValueError(f"max_per_advertiser must be a whole number from 0. Received: {self.max_per_advertiser!r}")

    def inputs(self) -> Features:
        """The named inputs of `retrieve_filtered`."""
        return {
            contract.INPUT_EXCLUDE_ITEM_IDS: self.exclude_item_ids,
            contract.INPUT_ALLOW_ADVERTISER_IDS: self.allow_advertiser_ids,
            contract.INPUT_DENY_ADVERTISER_IDS: self.deny_advertiser_ids,
            contract.INPUT_ALLOW_CATEGORIES: self.allow_categories,
            contract.INPUT_DENY_CATEGORIES: self.deny_categories,
            contract.INPUT_MIN_PRICE: self.min_price,
            contract.INPUT_MAX_PRICE: self.max_price,
            contract.INPUT_MAX_PER_ADVERTISER: self.max_per_advertiser,
        }


def filtered(features: Sequence[Features], filters: Filters | Sequence[Filters]) -> list[Features]:
    """The users' named inputs with their filters: one for all, or one per user.

    Raises:
        ValueError: Neither one nor as many filters as users.
    """
    each = [filters] * len(features) if isinstance(filters, Filters) else filters
    if len(each) != len(features):
        raise ValueError(f"give one Filters for all users, or one per user. Received: {len(each)} for {len(features)}")
    return [{**user, **own.inputs()} for user, own in zip(features, each, strict=True)]
