"""What users of the synthetic market do with what they are shown: clicks, saves and late, partly reported purchases."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd

from schemas import tables
from tfx_pipeline.sources import simulator_demand as demand
from tfx_pipeline.sources.simulator_demand import Requests
from tfx_pipeline.sources.simulator_demand import Users
from tfx_pipeline.sources.simulator_log import Recorder
from tfx_pipeline.sources.simulator_log import Shown
from tfx_pipeline.sources.simulator_log import as_logged
from tfx_pipeline.sources.simulator_market import HOME
from tfx_pipeline.sources.simulator_market import SURFACES
from tfx_pipeline.sources.simulator_market import Market
from tfx_pipeline.sources.simulator_options import Options

_SAVE_RATE = 0.1  # of deliberate clicks
_CART_RATE = 0.6  # of purchases
_ABANDONED_CART_RATE = 0.5  # of the conversion probability, where no purchase follows
_TWO_PIECES_RATE = 0.1  # of conversions
_PILOT_SESSIONS = 6.0


class Levels(NamedTuple):
    """Constants that set the mean rates, measured once on pilot users."""

    click: float  # taken off the log of the click probability
    conversion: float  # taken off the log of the conversion probability
    affinity_mean: float  # of the bilinear part over shown items
    affinity_std: float


class Clipping(NamedTuple):
    """How often a probability passed 1 and was cut, where the log-linear law does not hold exactly."""

    impressions: int
    clipped_clicks: int
    clicks: int
    clipped_conversions: int


def measure_levels(market: Market, options: Options, users: Users, rng: np.random.Generator) -> Levels:
    """Finds the constants under which pilot users click and convert at the rates of the options."""
    options = dataclasses.replace(options, sessions_per_user=_PILOT_SESSIONS)
    shown = _show(market, options, demand.draw_requests(market, options, users, rng), rng)
    click = np.exp(demand.CLICK_SHARE * shown.affinity + market.appeal[shown.item])
    conversion = np.exp(demand.CONVERSION_SHARE * shown.affinity + market.quality[shown.item])
    return Levels(
        click=float(np.log(click.mean() / options.click_rate)),
        # Weighted by the clicks, since only what was clicked can convert.
        conversion=float(np.log((click * conversion).sum() / click.sum() / options.conversion_rate)),
        affinity_mean=float(shown.affinity.mean()),
        affinity_std=float(shown.affinity.std()),
    )


def simulate(
    market: Market, options: Options, levels: Levels, users: Users, rng: np.random.Generator
) -> tuple[pd.DataFrame, Clipping]:
    """Simulates one chunk of users: their events in time order, and how often a probability was clipped."""
    requests = demand.draw_requests(market, options, users, rng)
    recorder = Recorder(market, users, requests)
    shown = _show(market, options, requests, rng)
    log_click = demand.CLICK_SHARE * shown.affinity + market.appeal[shown.item] - levels.click
    deliberate = rng.random(len(log_click)) < np.exp(log_click)
    clicks = shown.where(deliberate).later(2.0 + rng.exponential(8.0, deliberate.sum()))
    saves = clicks.where(rng.random(len(clicks.item)) < _SAVE_RATE)
    log_conversion = demand.CONVERSION_SHARE * clicks.affinity + market.quality[clicks.item] - levels.conversion
    conversions = _conversions(recorder, options, clicks, np.exp(log_conversion), rng)
    num_attributed = int((conversions["event"] == tables.PURCHASE).sum())
    frames = [
        recorder.touches(shown, tables.IMPRESSION),
        recorder.touches(clicks, tables.CLICK, duration_s=_durations(options, levels, clicks, rng)),
        _accidental_clicks(recorder, options, shown.where(~deliberate), rng),
        recorder.touches(saves.later(1.0 + rng.exponential(10.0, len(saves.item))), tables.SAVE),
        conversions,
        _unattributed(recorder, options, num_attributed, rng),
    ]
    clipping = Clipping(len(log_click), int((log_click > 0).sum()), len(clicks.item), int((log_conversion > 0).sum()))
    return as_logged(options, pd.concat(frames, ignore_index=True), rng), clipping


def _show(market: Market, options: Options, requests: Requests, rng: np.random.Generator) -> Shown:
    k = options.impressions_per_request
    item = demand.draw_shown(market, requests.vectors, requests.time_us, rng, k=k).ravel()
    request = np.repeat(np.arange(len(requests.user)), k)
    affinity = np.einsum("nd,nd->n", requests.vectors[request], market.vectors[item])
    return Shown(request, item, affinity, requests.time_us[request])


def _durations(options: Options, levels: Levels, clicks: Shown, rng: np.random.Generator) -> np.ndarray:
    """Lognormal seconds, longer for what the user likes more."""
    standardised = (clicks.affinity - levels.affinity_mean) / max(levels.affinity_std, 1e-6)
    seconds = np.exp(np.log(20.0) + 0.5 * standardised + rng.normal(0.0, 0.8, len(standardised)))
    return _partly_missing(options, seconds.clip(max=1800.0), rng)


def _accidental_clicks(recorder: Recorder, options: Options, ignored: Shown, rng: np.random.Generator) -> pd.DataFrame:
    """Short clicks on anything shown. No conversion follows them, so the propensity stays log-linear."""
    slips = ignored.where(rng.random(len(ignored.item)) < options.accidental_click_rate)
    slips = slips.later(1.0 + rng.exponential(4.0, len(slips.item)))
    seconds = _partly_missing(options, rng.uniform(0.2, 2.0, len(slips.item)), rng)
    return recorder.touches(slips, tables.CLICK, duration_s=seconds)


def _partly_missing(options: Options, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(seconds)) < options.missing_duration_share, np.nan, seconds.round(2))


def _conversions(
    recorder: Recorder, options: Options, clicks: Shown, probability: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Late add_to_cart and purchase events of deliberate clicks, as far as the advertiser reports them."""
    num_clicks = len(clicks.item)
    bought = rng.random(num_clicks) < probability
    abandoned = ~bought & (rng.random(num_clicks) < _ABANDONED_CART_RATE * probability)
    carted = abandoned | (bought & (rng.random(num_clicks) < _CART_RATE))
    delay_s = 2.0 + rng.exponential(options.conversion_delay_h * 3600.0, num_clicks)
    until_cart_s = 1.0 + (delay_s - 1.0) * rng.random(num_clicks)
    quantity = _quantities(num_clicks, rng)
    reporting_rate = np.exp(recorder.market.log_reporting[clicks.item])
    frames = []
    for event, chosen, wait_s in ((tables.ADD_TO_CART, carted, until_cart_s), (tables.PURCHASE, bought, delay_s)):
        reported = chosen & (rng.random(num_clicks) < reporting_rate)
        rows = clicks.where(reported).later(wait_s[reported])
        user = recorder.requests.user[rows.request]
        frames.append(
            recorder.offsite(event, user=user, item=rows.item, time_us=rows.time_us, quantity=quantity[reported])
        )
    return pd.concat(frames, ignore_index=True)


def _unattributed(recorder: Recorder, options: Options, num_attributed: int, rng: np.random.Generator) -> pd.DataFrame:
    """Purchases without a touch: items drawn from the same propensity (coefficients of home) at uniform times."""
    users, market = recorder.users, recorder.market
    share = options.unattributed_share
    count = rng.poisson(num_attributed * share / (1.0 - share))
    user = rng.choice(len(users.user_ids), size=count, p=users.activity / users.activity.sum())
    time_us = rng.integers(options.start_us, options.end_us, size=count)
    item = demand.draw_bought(market, market.coefficients[SURFACES.index(HOME), 0] * users.vectors[user], time_us, rng)
    return recorder.offsite(tables.PURCHASE, user=user, item=item, time_us=time_us, quantity=_quantities(count, rng))


def _quantities(count: int, rng: np.random.Generator) -> np.ndarray:
    return 1 + (rng.random(count) < _TWO_PIECES_RATE)
