"""Turns what happened in the synthetic market into rows of the raw `events` table."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from schemas import tables
from tfx_pipeline.sources.simulator_demand import Requests
from tfx_pipeline.sources.simulator_demand import Users
from tfx_pipeline.sources.simulator_market import SURFACES
from tfx_pipeline.sources.simulator_market import Market
from tfx_pipeline.sources.simulator_options import Options


class Shown(NamedTuple):
    """Pairs of a request and an item that it showed, or what became of them later; flat columns of one length."""

    request: np.ndarray  # position
    item: np.ndarray  # position
    affinity: np.ndarray  # q . v
    time_us: np.ndarray  # int64

    def where(self, chosen: np.ndarray) -> "Shown":
        """The pairs at which `chosen` is true."""
        return Shown(*(column[chosen] for column in self))

    def later(self, delay_s: np.ndarray) -> "Shown":
        """The same pairs, each `delay_s` seconds later."""
        return self._replace(time_us=self.time_us + (delay_s * 1e6).astype(np.int64))


@dataclass(frozen=True)
class Recorder:
    """Writes down the events of one chunk of users."""

    market: Market
    users: Users
    requests: Requests

    def touches(self, shown: Shown, event: str, *, duration_s: np.ndarray | None = None) -> pd.DataFrame:
        """Rows of onsite events, with the context of their request."""
        market, requests = self.market, self.requests
        user_ids = self.users.user_ids[requests.user[shown.request]]
        return pd.DataFrame(
            {
                "user_id": user_ids,
                "item_id": market.item_ids[shown.item],
                "event": event,
                "timestamp": shown.time_us,
                "surface": np.array(SURFACES, dtype=object)[requests.surface[shown.request]],
                "click_duration_s": np.nan if duration_s is None else duration_s,
                "value": np.nan,
                "subject_item_id": _present(market.item_ids, requests.subject[shown.request]),
                "query": _present(market.query_texts, requests.query[shown.request]),
                "request_id": [f"{user}-{rank}" for user, rank in zip(user_ids, shown.request, strict=True)],
            }
        )

    def offsite(
        self, event: str, *, user: np.ndarray, item: np.ndarray, time_us: np.ndarray, quantity: np.ndarray
    ) -> pd.DataFrame:
        """Rows of conversions: no context, and the money spent."""
        return pd.DataFrame(
            {
                "user_id": self.users.user_ids[user],
                "item_id": self.market.item_ids[item],
                "event": event,
                "timestamp": time_us,
                "surface": tables.SURFACE_UNKNOWN,
                "value": (self.market.price[item] * quantity).round(2),
            }
        )


def as_logged(options: Options, events: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The log as it arrives: cut at the end of the period, some rows written twice, some retried seconds later."""
    events = events[events["timestamp"] < options.end_us]
    twice = events[rng.random(len(events)) < options.duplicate_share]
    retried = events[rng.random(len(events)) < options.duplicate_share]
    retried = retried.assign(timestamp=retried["timestamp"] + rng.integers(1, 5, size=len(retried)) * 1_000_000)
    retried = retried[retried["timestamp"] < options.end_us]
    return pd.concat([events, twice, retried]).sort_values("timestamp", kind="stable", ignore_index=True)


def _present(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    chosen = values[positions]
    chosen[positions < 0] = None
    return chosen
