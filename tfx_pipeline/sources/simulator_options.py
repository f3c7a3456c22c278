"""The size and the behaviour of the synthetic market, as one validated record."""

import datetime
import math
from dataclasses import dataclass

_RATES = (
    "click_rate",
    "conversion_rate",
    "unattributed_share",
    "accidental_click_rate",
    "missing_duration_share",
    "cold_item_share",
    "underreporting_share",
    "duplicate_share",
)
_COUNTS = (
    "num_users",
    "num_items",
    "num_advertisers",
    "num_categories",
    "days",
    "impressions_per_request",
    "vector_dim",
    "users_per_chunk",
)
_POSITIVES = ("sessions_per_user", "affinity_strength", "conversion_delay_h")


@dataclass(frozen=True)
class Options:
    """What to simulate. Shares and rates are probabilities in [0, 1).

    Attributes:
        num_users: users, count.
        num_items: items of the catalogue, count.
        num_advertisers: advertisers, count; their sizes follow a power law.
        num_categories: leaf categories, count.
        days: length of the simulated period, days.
        sessions_per_user: mean sessions of a user over the whole period, count.
        seed: seed of every draw, integer >= 0.
        vector_dim: length of latent and content vectors, count.
        start: first day, ISO date, UTC midnight.
        requests_per_session: mean requests of a session, count >= 1.
        impressions_per_request: items shown per request, count.
        click_rate: mean deliberate clicks per impression, rate.
        conversion_rate: mean purchases per deliberate click, before under-reporting, rate.
        unattributed_share: purchases without any touch, share of all purchases.
        accidental_click_rate: short accidental clicks per impression that was not clicked deliberately, rate.
        missing_duration_share: clicks without a duration, share.
        conversion_delay_h: mean time from click to purchase, hours.
        cold_item_share: items launched inside the period, share.
        underreporting_share: advertisers that report almost no conversions, share.
        duplicate_share: events written twice, and as many again retried seconds later, share.
        affinity_strength: standard deviation that taste gives the log propensity over items, nats (approximate).
        users_per_chunk: users simulated, and written as one shard, at a time, count.
    """

    num_users: int = 5000
    num_items: int = 5000
    num_advertisers: int = 200
    num_categories: int = 40
    days: int = 60
    sessions_per_user: float = 6.0
    seed: int = 7
    vector_dim: int = 16
    start: str = "2024-01-01"
    requests_per_session: float = 1.6
    impressions_per_request: int = 8
    click_rate: float = 0.3
    conversion_rate: float = 0.36
    unattributed_share: float = 0.3
    accidental_click_rate: float = 0.03
    missing_duration_share: float = 0.1
    conversion_delay_h: float = 30.0
    cold_item_share: float = 0.15
    underreporting_share: float = 0.1
    duplicate_share: float = 0.001
    affinity_strength: float = 1.7
    users_per_chunk: int = 500

    def __post_init__(self) -> None:
        """Refuses what cannot be simulated.

        Raises:
            ValueError: a value is out of its range.
        """
        for name in _COUNTS:
            _require(getattr(self, name) >= 1, f"{name} must be >= 1", getattr(self, name))
        for name in _POSITIVES:
            _require(getattr(self, name) > 0, f"{name} must be > 0", getattr(self, name))
        for name in _RATES:
            _require(0 <= getattr(self, name) < 1, f"{name} must be in [0, 1)", getattr(self, name))
        for name in ("click_rate", "conversion_rate"):
            _require(getattr(self, name) > 0, f"{name} must be > 0", getattr(self, name))
        # Beyond it exp(score) leaves the range of float32.
        _require(
            self.affinity_strength * math.sqrt(self.vector_dim) <= 40,
            "affinity_strength must be <= 40 / sqrt(vector_dim)",
            self.affinity_strength,
        )
        _require(self.seed >= 0, "seed must be >= 0", self.seed)
        _require(self.requests_per_session >= 1, "requests_per_session must be >= 1", self.requests_per_session)
        _require(
            self.num_items - self.num_cold_items >= self.impressions_per_request,
            "num_items less the cold ones must be >= impressions_per_request; simulate more items",
            self.num_items,
        )
        _require(_is_date(self.start), "start must be an ISO date such as 2024-01-01", self.start)

    @property
    def num_cold_items(self) -> int:
        """Items launched inside the period, count."""
        return int(self.num_items * self.cold_item_share)

    @property
    def start_us(self) -> int:
        """First instant of the period, microseconds since 1970, UTC."""
        midnight = datetime.datetime.fromisoformat(self.start).replace(tzinfo=datetime.timezone.utc)
        return int(midnight.timestamp()) * 1_000_000

    @property
    def end_us(self) -> int:
        """First instant after the period, microseconds since 1970, UTC."""
        return self.start_us + self.days * 86_400_000_000


def _require(condition: bool, rule: str, received: object) -> None:
    if not condition:
        raise ValueError(f"{rule}. Received: {received!r}")


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True
