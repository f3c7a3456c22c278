"""Options of the way from raw tables to examples."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone

MICROSECONDS = 1_000_000
MICROSECONDS_PER_DAY = 86_400 * MICROSECONDS


@dataclass(frozen=True)
class ExamplesConfig:
    """How events become examples.

    Attributes:
        eval_days: the evaluation period is the last so many days of the events.
        cut: start of the evaluation period, ISO 8601 UTC; empty: from `eval_days`.
        train_days: only touches and impressions of so many days before the cut are trained on; 0: all. Histories reach
            back further.
        session_gap_min: minutes without an action that end a session.
        max_click_duration_s: cap of a duration derived from the gap to the next event, seconds.
        click_window_days: a conversion belongs to the last click or save of its item within so many days.
        view_window_days: else to the last impression within so many days; 0 switches it off.
        keep_unattributed: whether conversions without a touch are examples, with their own context.
        engagement_window_hours: an impression without click, save or conversion of its item for so long is unengaged.
        impression_share: share of the unengaged impressions to keep, chosen by hash, in [0, 1].
        history_length: latest actions in a history, at most.
        train_history_length: the same of train rows, which are by far the most; 0: `history_length`. The trainer reads no more
            than `trainer.max_history` of them; what is longer is only computed, written and transformed.
        max_events_per_user: older events of a user are dropped and counted.
        performance_window_days: trailing window of the item performance features.
        max_dead_letter_share: the run fails when a larger share of a table's rows is set aside, in [0, 1].
        max_id_length: longer ids are set aside, characters.
    """

    eval_days: float = 14.0
    cut: str = ""
    train_days: float = 0.0
    session_gap_min: float = 30.0
    max_click_duration_s: float = 600.0
    click_window_days: float = 7.0
    view_window_days: float = 1.0
    keep_unattributed: bool = True
    engagement_window_hours: float = 24.0
    impression_share: float = 1.0
    history_length: int = 50
    train_history_length: int = 0
    max_events_per_user: int = 20_000
    performance_window_days: int = 28
    max_dead_letter_share: float = 0.05
    max_id_length: int = 256

    def __post_init__(self) -> None:
        """Rejects values that no run could use."""
        for name in (
            "session_gap_min",
            "max_click_duration_s",
            "history_length",
            "max_events_per_user",
            "max_id_length",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"examples.{name} must be positive. Received: {getattr(self, name)}")
        for name in (
            "click_window_days",
            "view_window_days",
            "engagement_window_hours",
            "train_days",
            "train_history_length",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"examples.{name} must not be negative. Received: {getattr(self, name)}")
        for name in ("impression_share", "max_dead_letter_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"examples.{name} must be in [0, 1]. Received: {getattr(self, name)}")
        if not self.cut and self.eval_days <= 0:
            raise ValueError(
                f"examples.eval_days must be positive unless examples.cut is set. Received: {self.eval_days}"
            )
        if self.performance_window_days < 1:
            raise ValueError(f"examples.performance_window_days must be >= 1. Received: {self.performance_window_days}")
        if self.cut:
            self.cut_us(0)

    @property
    def are_histories_alike(self) -> bool:
        """Whether histories of train rows are as long as all others."""
        return self.train_history_length in (0, self.history_length)

    def cut_us(self, last_us: int) -> int:
        """Start of the evaluation period, microseconds, when the last event is at `last_us`.

        Raises:
            ValueError: `cut` is no ISO 8601 date or time.
        """
        if not self.cut:
            return last_us - int(self.eval_days * MICROSECONDS_PER_DAY)
        try:
            moment = datetime.fromisoformat(self.cut)
        except ValueError as error:
            raise ValueError(f"examples.cut must be ISO 8601, e.g. 2011-09-01. Received: {self.cut!r}") from error
        return int(moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp() * MICROSECONDS)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)
