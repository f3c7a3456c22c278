"""What flows between the transforms: events, a user's log, touches and positives."""

from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import NamedTuple

from schemas import tables

Attributes = dict[str, Any]
"""Values of schema features by name: str, float, int or a list of them; a missing value has no key."""


class Event(NamedTuple):
    """One clean row of the events table.

    `duration_s` and `value` are None where unknown; `context` holds the carried columns of the row.
    """

    item_id: str
    event: str
    timestamp_us: int
    duration_s: float | None
    value: float | None
    request_id: str
    context: tuple[tuple[str, str | float | tuple[float, ...]], ...]

    @property
    def is_conversion(self) -> bool:
        """Whether it is an add-to-cart or a purchase."""
        return self.event in tables.CONVERSIONS

    @property
    def is_engagement(self) -> bool:
        """Whether it is a click or a save."""
        return self.event in tables.ENGAGEMENTS


class Positive(NamedTuple):
    """An event that is worth learning from, with the touch that led to it.

    `touch` is the event whose moment and context the example takes: the attributed click, save or impression of a
    conversion, else the event itself. `attribution` is `click`, `view`, `none` or `self` (an engagement).
    """

    event: Event
    touch: Event
    attribution: str


@dataclass
class UserLog:
    """All that is known of one user, events in time order.

    Attributes:
        user_id: the user.
        attributes: carried columns of the users table.
        events: clean events, ascending by time.
        positives: filled by AttributeConversions.
        unengaged: filled by UnengagedImpressions.
        counts: what was dropped, by reason.
    """

    user_id: str
    attributes: Attributes
    events: list[Event]
    positives: list[Positive] = field(default_factory=list)
    unengaged: list[Event] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, reason: str, number: int = 1) -> None:
        """Adds to the count of a reason."""
        self.counts[reason] = self.counts.get(reason, 0) + number


class Period(NamedTuple):
    """The time split, microseconds UTC: training before `cut_us`, evaluation from it to `last_us` inclusive."""

    cut_us: int
    last_us: int
