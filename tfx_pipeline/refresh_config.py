"""Options of a refresh: what becomes of new items, and how much of a catalogue may go."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class RefreshConfig:
    """How a new catalogue replaces the one that is served.

    Attributes:
        new_item_popularity: a new item's `positive_rate` is so many times the mean of the known items of its category (see
            `tfx_pipeline.examples.catalog`); 0: it is as unpopular as an item that nobody converted on.
        max_removed_share: refused when a larger share of the items that are served now is missing, in [0, 1].
    """

    new_item_popularity: float = 1.0
    max_removed_share: float = 0.5

    def __post_init__(self) -> None:
        """Rejects values that no refresh could use."""
        if self.new_item_popularity < 0:
            raise ValueError(f"refresh.new_item_popularity must be >= 0. Received: {self.new_item_popularity}")
        if not 0 <= self.max_removed_share <= 1:
            raise ValueError(f"refresh.max_removed_share must be in [0, 1]. Received: {self.max_removed_share}")

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)
