"""Options of data health: what each check does, and its bound."""

import dataclasses
from dataclasses import dataclass

OFF, WARN, BLOCK = "off", "warn", "block"
CHECKS = (
    "skew",
    "drift",
    "volume",
    "advertiser_jump",
    "advertiser_stop",
    "silent_days",
    "duplicates",
    "unattributed",
    "dead_letters",
)


@dataclass(frozen=True)
class HealthConfig:
    """Each check is `off`, `warn` or `block`: a run that is blocked stops before anything is trained.

    Attributes:
        skew: eval's distribution of a feature against train's.
        drift: a feature's distribution, and the number of rows, against the statistics of the last run that was not blocked.
        volume: all conversions of the recent days against those of the days before.
        advertiser_jump: an advertiser with far more conversions than before.
        advertiser_stop: an advertiser with far fewer conversions than before, or none.
        silent_days: days without conversions on which some were to be expected, by the weekday.
        duplicates: events that are there more than once.
        unattributed: conversions without a touch, where there are touches at all.
        dead_letters: rows that were set aside, by table and reason.
        max_skew_distance: L-infinity distance of a categorical feature, the largest change of one value's share, in [0, 1].
        max_skew_divergence: Jensen-Shannon divergence of a numeric feature, in [0, 1].
        max_drift_distance: as `max_skew_distance`, between two runs.
        max_drift_divergence: as `max_skew_divergence`, between two runs.
        max_drift_rows: factor by which the rows of train or catalog may grow or shrink between two runs, above 1.
        recent_days: length of the window that is looked at, at the end of the data.
        before_days: length of the window before it; as much of it as there is, at least `recent_days`.
        max_change: factor by which conversions may grow or shrink from the one window to the other, above 1.
        min_conversions: of both windows together, below which an advertiser is not looked at.
        false_alarm: probability that a check of volumes or days alarms by chance, over a whole run, in (0, 1).
        max_silent_days: unexpected ones.
        max_duplicates_share: of the events, in [0, 1].
        max_unattributed_share: of the conversions, in [0, 1].
        max_dead_letter_share: of a table's rows, for each reason, in [0, 1]; above `examples.max_dead_letter_share` in
            all, the run fails in any case.
    """

    skew: str = WARN
    drift: str = WARN
    volume: str = WARN
    advertiser_jump: str = WARN
    advertiser_stop: str = WARN
    silent_days: str = WARN
    duplicates: str = WARN
    unattributed: str = WARN
    dead_letters: str = WARN
    max_skew_distance: float = 0.1
    max_skew_divergence: float = 0.1
    max_drift_distance: float = 0.05
    max_drift_divergence: float = 0.05
    max_drift_rows: float = 2.0
    recent_days: int = 7
    before_days: int = 28
    max_change: float = 3.0
    min_conversions: int = 30
    false_alarm: float = 0.001
    max_silent_days: int = 0
    max_duplicates_share: float = 0.05
    max_unattributed_share: float = 0.5
    max_dead_letter_share: float = 0.01

    def __post_init__(self) -> None:
        """Rejects values that no run could use."""
        for name in CHECKS:
            if getattr(self, name) not in (OFF, WARN, BLOCK):
                raise ValueError(f"health.{name} must be off, warn or block. Received: {getattr(self, name)!r}")
        for name, value in dataclasses.asdict(self).items():
            if name.endswith(("_distance", "_divergence", "_share")) and not 0 <= value <= 1:
                raise ValueError(f"health.{name} must be in [0, 1]. Received: {value}")
        for name in ("max_drift_rows", "max_change"):
            if not getattr(self, name) > 1:
                raise ValueError(f"health.{name} must be above 1. Received: {getattr(self, name)}")
        for name in ("recent_days", "before_days", "min_conversions"):
            if getattr(self, name) < 1:
                raise ValueError(f"health.{name} must be >= 1. Received: {getattr(self, name)}")
        if not 0 < self.false_alarm < 1:
            raise ValueError(f"health.false_alarm must be above 0 and below 1. Received: {self.false_alarm}")
        if self.max_silent_days < 0:
            raise ValueError(f"health.max_silent_days must be >= 0. Received: {self.max_silent_days}")
        if self.before_days < self.recent_days:
            raise ValueError(
                f"health.before_days must be >= health.recent_days={self.recent_days}. Received: {self.before_days}"
            )

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)
