"""The demand side of the synthetic market: users, their requests, and which items a softmax draws for them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tfx_pipeline.sources.simulator_market import HOME
from tfx_pipeline.sources.simulator_market import RELATED
from tfx_pipeline.sources.simulator_market import SEARCH
from tfx_pipeline.sources.simulator_market import SURFACES
from tfx_pipeline.sources.simulator_market import Market
from tfx_pipeline.sources.simulator_market import unit
from tfx_pipeline.sources.simulator_options import Options

# The share of the log propensity's bilinear part that acts at each step; they sum to 1.
EXPOSURE_SHARE = 0.6
CLICK_SHARE = 0.2
CONVERSION_SHARE = 0.2

_MAX_CELLS = 4_000_000
_AGE_GROUPS = ("18-24", "25-34", "35-44", "45-54", "55+")
_REGIONS = ("north", "south", "east", "west")
_SURFACE_SHARES = {HOME: 0.45, RELATED: 0.3, SEARCH: 0.25}


class Users(NamedTuple):
    """One chunk of users."""

    user_ids: np.ndarray  # [users] str
    vectors: np.ndarray  # [users, dim] float32, of length 1
    activity: np.ndarray  # [users] float, mean 1
    age_group: np.ndarray  # [users] str
    region: np.ndarray  # [users] str

    def table(self) -> pd.DataFrame:
        """The raw `users` table."""
        return pd.DataFrame({"user_id": self.user_ids, "age_group": self.age_group, "region": self.region})


class Requests(NamedTuple):
    """One row per request, in no particular order."""

    user: np.ndarray  # [requests] position in the chunk
    time_us: np.ndarray  # [requests] int64
    surface: np.ndarray  # [requests] position in SURFACES
    subject: np.ndarray  # [requests] position of the item; -1 off `related`
    query: np.ndarray  # [requests] position of the query; -1 off `search`
    vectors: np.ndarray  # [requests, dim] float32, the vector q


class Shelf(NamedTuple):
    """What `draw` chooses from."""

    vectors: np.ndarray  # [entries, dim] float32
    bias: np.ndarray  # [entries] float32
    available_from_us: np.ndarray  # [entries] int64


def draw_users(market: Market, options: Options, rng: np.random.Generator, *, first: int, count: int) -> Users:
    """Users with a taste for a few categories, bent a little by age group and region."""
    dim = options.vector_dim
    # The same for every chunk, so from the market's seed and not from the chunk's.
    shared = np.random.default_rng([options.seed, 1])
    age_vectors = unit(shared.standard_normal((len(_AGE_GROUPS), dim)))
    region_vectors = unit(shared.standard_normal((len(_REGIONS), dim)))
    age = rng.integers(len(_AGE_GROUPS), size=count)
    region = rng.integers(len(_REGIONS), size=count)
    favourites = rng.integers(len(market.leaf_vectors), size=(count, 3))
    weights = rng.dirichlet(np.ones(3), size=count)
    taste = np.einsum("uk,ukd->ud", weights, market.leaf_vectors[favourites])
    demographic = 0.25 * (age_vectors[age] + region_vectors[region])
    return Users(
        user_ids=np.array([f"u{number:07d}" for number in range(first, first + count)], dtype=object),
        vectors=unit(taste + demographic + 0.5 * unit(rng.standard_normal((count, dim)))),
        activity=rng.gamma(4.0, 0.25, count),
        age_group=np.array(_AGE_GROUPS, dtype=object)[age],
        region=np.array(_REGIONS, dtype=object)[region],
    )


def draw_requests(market: Market, options: Options, users: Users, rng: np.random.Generator) -> Requests:
    """Sessions at uniform times, a geometric number of requests in each, every request on one surface."""
    user, time_us = _request_times(options, users, rng)
    surface = rng.choice(len(SURFACES), size=len(user), p=[_SURFACE_SHARES[name] for name in SURFACES])
    subject = np.full(len(user), -1)
    related = np.flatnonzero(surface == SURFACES.index(RELATED))
    # The subject is an item that the user could have come from: drawn like an impression of the home surface.
    home = market.coefficients[SURFACES.index(HOME), 0] * users.vectors[user[related]]
    subject[related] = draw_shown(market, home, time_us[related], rng, k=1)[:, 0]
    query = np.full(len(user), -1)
    search = np.flatnonzero(surface == SURFACES.index(SEARCH))
    num_queries = len(market.query_texts)
    queries = Shelf(market.query_vectors, np.zeros(num_queries, np.float32), np.zeros(num_queries, np.int64))
    query[search] = draw(4.0 * users.vectors[user[search]], queries, time_us[search], rng, k=1)[:, 0]
    weights = market.coefficients[surface]
    vectors = (
        weights[:, :1] * users.vectors[user]
        + weights[:, 1:2] * np.where(subject[:, None] >= 0, market.vectors[subject], 0.0)
        + weights[:, 2:] * np.where(query[:, None] >= 0, market.query_vectors[query], 0.0)
    )
    return Requests(user, time_us, surface, subject, query, vectors.astype(np.float32))


def _request_times(options: Options, users: Users, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    num_sessions = rng.poisson(options.sessions_per_user * users.activity)
    session_user = np.repeat(np.arange(len(users.user_ids)), num_sessions)
    begin_us = rng.integers(options.start_us, options.end_us, size=len(session_user))
    num_requests = rng.geometric(1.0 / options.requests_per_session, size=len(session_user))
    session = np.repeat(np.arange(len(session_user)), num_requests)
    rank = np.arange(len(session)) - np.repeat(np.cumsum(num_requests) - num_requests, num_requests)
    gap_s = rank * 120.0 + rng.uniform(0.0, 60.0, len(session))
    time_us = begin_us[session] + (gap_s * 1e6).astype(np.int64)
    inside = time_us < options.end_us
    return session_user[session][inside], time_us[inside]


def draw_shown(
    market: Market, vectors: np.ndarray, time_us: np.ndarray, rng: np.random.Generator, *, k: int
) -> np.ndarray:
    """Draws k distinct items per row from the softmax of the exposure score: [rows, k] positions."""
    return draw(EXPOSURE_SHARE * vectors, _shelf(market, market.popularity), time_us, rng, k=k)


def draw_bought(market: Market, vectors: np.ndarray, time_us: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws one item per row from the softmax of the whole log propensity: [rows] positions."""
    return draw(vectors, _shelf(market, market.bias), time_us, rng, k=1)[:, 0]


def _shelf(market: Market, bias: np.ndarray) -> Shelf:
    return Shelf(market.vectors, bias, market.available_from_us)


def draw(vectors: np.ndarray, shelf: Shelf, time_us: np.ndarray, rng: np.random.Generator, *, k: int) -> np.ndarray:
    """Draws k distinct entries per row, each next one from the softmax of `vectors . entry + bias` over those left.

    Gumbel top-k (Kool et al., 2019) on the scale where it is cheap: the k smallest of Exponential / exp(score), in
    blocks of rows so that memory stays bounded.

    Args:
        vectors: [rows, dim].
        shelf: the entries; one that is not yet available at the row's time is never drawn.
        time_us: [rows] int64.
        rng: source of randomness.
        k: entries per row; at least k are available from the first day.

    Returns:
        [rows, k] positions, first drawn first.
    """
    chosen = np.empty((len(vectors), k), dtype=np.int64)
    step = max(1, _MAX_CELLS // len(shelf.bias))
    for begin in range(0, len(vectors), step):
        rows = slice(begin, begin + step)
        arrivals = vectors[rows].astype(np.float32) @ shelf.vectors.T
        arrivals += shelf.bias
        np.exp(np.negative(arrivals, out=arrivals), out=arrivals)
        arrivals *= rng.standard_exponential(arrivals.shape, dtype=np.float32)
        arrivals[shelf.available_from_us[None, :] > time_us[rows, None]] = np.inf
        nearest = np.argpartition(arrivals, k - 1, axis=1)[:, :k] if k > 1 else arrivals.argmin(axis=1)[:, None]
        order = np.take_along_axis(arrivals, nearest, axis=1).argsort(axis=1, kind="stable")
        chosen[rows] = np.take_along_axis(nearest, order, axis=1)
    return chosen
