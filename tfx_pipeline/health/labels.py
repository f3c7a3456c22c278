"""Labels: what a run's conversions look like, summed from what ExampleGen wrote beside its splits."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from typing import Any

from schemas import tables
from tfx_pipeline.components.example_gen import read_facts
from tfx_pipeline.examples.label_health import lag_of_bucket
from tfx_pipeline.examples.label_health import read_advertisers
from tfx_pipeline.examples.label_health import read_labels
from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.days import silent_days
from tfx_pipeline.health.volumes import Volume
from tfx_pipeline.health.volumes import Windows

_NUM_TOP = 10
_MOST_DAYS = 1_100
_SECONDS_PER_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Labels:
    """Conversions of a run's events, distinct, of all users.

    Attributes:
        uri: Examples artifact.
        facts: what `read_facts` gives.
        days: `[day since 1970, conversions, users]`, ascending.
        lags: `[bucket, conversions]`, ascending.
        num_touches: clicks, saves and impressions.
        windows: recent days and those before; None where the data are too short.
    """

    uri: str
    facts: dict[str, Any]
    days: list[list[int]]
    lags: list[list[int]]
    num_touches: int
    windows: Windows | None

    @classmethod
    def read(cls, examples_uri: str, config: HealthConfig) -> "Labels":
        """Reads all but the advertisers."""
        facts, found = read_facts(examples_uri), read_labels(examples_uri)
        last_day = facts["period"]["last_us"] // (_SECONDS_PER_DAY * 1_000_000)
        lengths = {"recent_days": config.recent_days, "before_days": config.before_days}
        windows = Windows.of(found["days"][0][0], last_day, **lengths) if found["days"] else None
        return cls(examples_uri, facts, found["days"], found["lags"], found["num_touches"], windows)

    def advertisers(self) -> Iterator[tuple[str, list[list[int]]]]:
        """Each advertiser's `[day, conversions]`, one advertiser at a time."""
        return read_advertisers(self.uri)

    @property
    def counts(self) -> dict[str, int]:
        """Of ExampleGen, by name."""
        return self.facts["counts"]

    @property
    def unattributed_share(self) -> float | None:
        """Of the conversions; None where there are no conversions, or no touches that could explain them."""
        kinds = {kind: self.counts.get(f"conversions.attributed.{kind}", 0) for kind in ("click", "view", "none")}
        return kinds["none"] / sum(kinds.values()) if self.num_touches and sum(kinds.values()) else None

    @property
    def duplicates_share(self) -> float:
        """Of the events' rows."""
        return self.counts.get("events.dropped.duplicate", 0) / max(1, self.counts.get("events.rows", 0))

    @property
    def dead_letters(self) -> dict[str, int]:
        """Rows that were set aside, by `table.reason`."""
        prefix = "dead_letters."
        found = {name.removeprefix(prefix): n for name, n in self.counts.items() if name.startswith(prefix) and n}
        unknown = self.counts.get(
            "events.dropped.item_not_in_catalogue", 0
        )  # a letter is an item, here with all its rows
        return {**found, f"{tables.EVENTS}.item_not_in_catalogue": unknown} if unknown else found


def describe_labels(labels: Labels, config: HealthConfig) -> dict[str, Any]:
    """The section `labels` of `health.json`."""
    num_silent, unexpected = silent_days_of(labels, config)
    return {
        "conversions_per_day": _every_day(labels.days),
        "top_advertisers": _top_advertisers(labels),
        "recent_days": config.recent_days if labels.windows else None,
        "before_days": labels.windows.start - labels.windows.first if labels.windows else None,
        "lag_days": lag_percentiles(labels.lags),
        "unattributed_share": labels.unattributed_share,
        "duplicates_share": labels.duplicates_share,
        "dead_letters": labels.dead_letters,
        "silent_days": num_silent,
        "unexpected_silent_days": [date_of(day) for day in unexpected],
    }


def silent_days_of(labels: Labels, config: HealthConfig) -> tuple[int, list[int]]:
    """All days without conversions, and which of them are unexpected."""
    return silent_days(labels.days, last_us=labels.facts["period"]["last_us"], false_alarm=config.false_alarm)


def lag_percentiles(lags: list[list[int]]) -> dict[str, float] | None:
    """Days from touch to conversion that 10, 50, 90 and 99% of the attributed conversions do not exceed; None without any."""
    total = sum(number for _, number in lags)
    if not total:
        return None
    found, sofar = {}, 0
    wanted = [(10, "p10"), (50, "p50"), (90, "p90"), (99, "p99")]
    for bucket, number in lags:
        sofar += number
        while wanted and sofar * 100 >= wanted[0][0] * total:
            found[wanted.pop(0)[1]] = lag_of_bucket(bucket) / _SECONDS_PER_DAY
    return found


def date_of(day: int) -> str:
    """ISO date of a day since 1970."""
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def _every_day(days: list[list[int]]) -> list[dict[str, Any]]:
    """The latest days, those without conversions too."""
    if not days:
        return []
    known = {day: number for day, number, _ in days}
    last = days[-1][0]
    first = max(days[0][0], last - _MOST_DAYS + 1)
    return [{"day": date_of(day), "conversions": known.get(day, 0)} for day in range(first, last + 1)]


def _top_advertisers(labels: Labels) -> list[dict[str, Any]]:
    ranked = ((sum(number for _, number in days), name, days) for name, days in labels.advertisers())
    found = []
    for total, name, days in heapq.nlargest(_NUM_TOP, ranked):
        volume = Volume.of(days, labels.windows) if labels.windows else None
        recent, before = (volume.recent, volume.before) if volume else (None, None)
        found.append({"advertiser_id": name, "conversions": total, "recent": recent, "before": before})
    return found
