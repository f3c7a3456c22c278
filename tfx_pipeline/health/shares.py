"""Shares of rows and conversions against their bounds, and days on which nothing came."""

from collections.abc import Iterator

from schemas import tables
from tfx_pipeline.examples.clean import REMEDIES
from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.finding import Finding
from tfx_pipeline.health.labels import Labels
from tfx_pipeline.health.labels import date_of
from tfx_pipeline.health.labels import silent_days_of

_MOST_DAYS_NAMED = 5


def unexpected_silence(labels: Labels, config: HealthConfig) -> Iterator[Finding]:
    """A finding where too many days have no conversions although their weekday usually has."""
    _, days = silent_days_of(labels, config)
    if len(days) > config.max_silent_days:
        named = ", ".join(date_of(day) for day in days[:_MOST_DAYS_NAMED])
        more = f" and {len(days) - _MOST_DAYS_NAMED} more" if len(days) > _MOST_DAYS_NAMED else ""
        message = (
            f"days without conversions although their weekday usually has some: {len(days)}, more than health.max_silent_days="
            f"{config.max_silent_days}: {named}{more}; closed, or is a day's file missing?"
        )
        yield Finding("silent_days", "all conversions", len(days), config.max_silent_days, message)


def too_many_duplicates(labels: Labels, config: HealthConfig) -> Iterator[Finding]:
    """A finding where too many events are there more than once."""
    share, bound = labels.duplicates_share, config.max_duplicates_share
    if share > bound:
        message = (
            f"{share:.1%} of the events are there more than once, more than health.max_duplicates_share={bound:.1%}; "
            "one of each is kept: is a file there twice, or a tag fired twice?"
        )
        yield Finding("duplicates", tables.EVENTS, share, bound, message)


def too_many_unattributed(labels: Labels, config: HealthConfig) -> Iterator[Finding]:
    """A finding where too many conversions have no touch."""
    share, bound = labels.unattributed_share, config.max_unattributed_share
    if share is not None and share > bound:
        message = (
            f"{share:.1%} of the conversions have no click or impression of their item before them, more than "
            f"health.max_unattributed_share={bound:.1%}: do ids agree between both logs, and are examples.click_window_days and "
            "examples.view_window_days long enough?"
        )
        yield Finding("unattributed", "conversions", share, bound, message)


def too_many_dead_letters(labels: Labels, config: HealthConfig) -> Iterator[Finding]:
    """A finding per table and reason for which too many rows were set aside."""
    for subject, number in sorted(labels.dead_letters.items()):
        table, _, reason = subject.partition(".")
        rows = labels.counts.get(f"{table}.rows", 0)
        share, bound = number / max(1, rows), config.max_dead_letter_share
        if share > bound:
            message = (
                f"table {table}: {number:,} of {rows:,} rows ({share:.1%}) were set aside as {reason}, more than "
                f"health.max_dead_letter_share={bound:.1%}: {REMEDIES.get(reason, 'see the dead letters')}"
            )
            yield Finding("dead_letters", subject, share, bound, message)
