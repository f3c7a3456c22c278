"""Synthetic marketplace: simulates every behaviour of a shopping-ads log, with the true purchase propensity known.

The data is SYNTHETIC. It shows that the pipeline works and how near a model comes to the best possible ranking of
this made-up market; it says nothing about a real one.

What is assumed:
- Every user, item and search query has a latent vector. In context c the probability that item i is shown, then
  clicked, then bought and reported is proportional to exp(q . v_i + b_i), with
  q = a_user * u + a_subject * v_subject + a_query * w_query and coefficients that depend on the surface.
- b_i adds popularity (exposure), appeal (clicks), quality (conversions) and the log of the advertiser's reporting
  rate. Advertisers that report almost nothing thus have a low observed propensity, as in a real log.
- Exposure takes 0.6 of q . v_i, clicks 0.2, conversions 0.2. Shown items are a softmax draw over all items launched
  so far; several are drawn without replacement, so the shown distribution is only approximately a softmax.
  Click and conversion probabilities are exponentials cut at 1; the cut share is in the facts.
- Tastes, popularity and prices do not change over time; purchases are independent of each other given the user, so
  history tells about taste only. Some items are launched inside the period.
- Conversions come late (exponential delay), offsite (surface `unknown`), and some have no touch at all; those are
  drawn from the same propensity with the coefficients of home. The subject item may itself be shown.
- Noise: accidental short clicks, missing durations, under-reporting, duplicate and retried rows. Content vectors are
  noisy copies of the latent ones; age group and region are weakly informative.

Users are simulated in chunks, each with its own seed and its own shard: memory does not grow with the users, and the
same options give the same bytes. The latent truth goes beside the tables as `oracle_items`, `oracle_users` and
`oracle_queries`; `tfx_pipeline.sources.oracle` reads it.
"""

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from schemas import tables
from tfx_pipeline.sources import command
from tfx_pipeline.sources import oracle
from tfx_pipeline.sources import simulator_events
from tfx_pipeline.sources.simulator_demand import Users
from tfx_pipeline.sources.simulator_demand import draw_users
from tfx_pipeline.sources.simulator_events import Clipping
from tfx_pipeline.sources.simulator_market import Market
from tfx_pipeline.sources.simulator_market import build_market
from tfx_pipeline.sources.simulator_market import coefficients_by_surface
from tfx_pipeline.sources.simulator_options import Options
from tfx_pipeline.sources.writer import TableWriter

_NOTICE = "Synthetic data made by this project's marketplace simulator; says nothing about a real market."
_NUM_PILOT_USERS = 200


def write_tables(*, data: Path | None, out: Path, options: Options) -> None:
    """Writes events, items, users and the oracle's tables.

    Args:
        data: not read: the market is made up.
        out: folder of the dataset; an existing one is replaced.
        options: size and behaviour of the market.
    """
    market = build_market(options)
    rng = np.random.default_rng([options.seed, 2])
    pilots = draw_users(market, options, rng, first=0, count=_NUM_PILOT_USERS)
    levels = simulator_events.measure_levels(market, options, pilots, rng)
    clipping = Clipping(0, 0, 0, 0)
    counts: Counter[str] = Counter()
    with TableWriter(out) as writer:
        _write_market(writer, market)
        with tqdm(total=options.num_users, desc="synthetic market", unit="user") as progress:
            for chunk, first in enumerate(range(0, options.num_users, options.users_per_chunk)):
                rng = np.random.default_rng([options.seed, 3, chunk])
                count = min(options.users_per_chunk, options.num_users - first)
                users = draw_users(market, options, rng, first=first, count=count)
                events, clipped = simulator_events.simulate(market, options, levels, users, rng)
                writer.write(tables.EVENTS, events)
                _write_users(writer, users)
                clipping = Clipping(*map(sum, zip(clipping, clipped, strict=True)))
                counts.update(events["event"].value_counts().to_dict())
                progress.update(count)
        writer.write_facts(_facts(options, market, counts, clipping))


def _write_market(writer: TableWriter, market: Market) -> None:
    writer.write(tables.ITEMS, market.items)
    writer.write(
        oracle.ITEMS,
        pd.DataFrame(
            {
                "item_id": market.item_ids,
                "vector": list(market.vectors),
                "bias": market.bias,
                "available_from": market.available_from_us,
            }
        ),
    )
    writer.write(oracle.QUERIES, pd.DataFrame({"query": market.query_texts, "vector": list(market.query_vectors)}))


def _write_users(writer: TableWriter, users: Users) -> None:
    writer.write(tables.USERS, users.table())
    writer.write(oracle.USERS, pd.DataFrame({"user_id": users.user_ids, "vector": list(users.vectors)}))


def _facts(options: Options, market: Market, counts: Counter[str], clipping: Clipping) -> dict[str, Any]:
    return {
        "source": "marketplace_simulator",
        "kind": "synthetic",
        "notice": _NOTICE,
        "options": dataclasses.asdict(options),
        "events": {event: counts[event] for event in tables.EVENT_TYPES},
        "clipped_share": {
            "click": clipping.clipped_clicks / max(1, clipping.impressions),
            "conversion": clipping.clipped_conversions / max(1, clipping.clicks),
        },
        "oracle": {"coefficients": coefficients_by_surface(market)},
    }


if __name__ == "__main__":
    sys.exit(command.run(__doc__, Options, write_tables, data_required=False))
