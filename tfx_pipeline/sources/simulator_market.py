"""The supply side of the synthetic market: items, advertisers and search queries with their latent vectors."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from schemas import tables
from tfx_pipeline.sources import simulator_words as words
from tfx_pipeline.sources.simulator_options import Options

HOME = "home"
RELATED = "related"
SEARCH = "search"
SURFACES = (HOME, RELATED, SEARCH)

# How the weight of the query vector's parts is split on each surface: user, subject item, search query.
_MIX = {HOME: (1.0, 0.0, 0.0), RELATED: (0.65, 0.7, 0.0), SEARCH: (0.5, 0.0, 0.85)}
_EMBEDDING_NOISE = 0.5
_CONTENT_SHARE = 0.35


@dataclass(frozen=True)
class Market:
    """Everything that does not depend on the users. Vectors are float32 and of length 1.

    The log propensity of a purchase is `q . vectors[i] + bias[i]`, where q mixes user, subject and query vectors by
    `coefficients`, and `bias` is the sum of popularity, appeal, quality and log_reporting.
    """

    item_ids: np.ndarray  # [items] str
    vectors: np.ndarray  # [items, dim]
    available_from_us: np.ndarray  # [items] int64
    popularity: np.ndarray  # [items] acts on exposure
    appeal: np.ndarray  # [items] acts on clicks
    quality: np.ndarray  # [items] acts on conversions
    log_reporting: np.ndarray  # [items] log of the advertiser's reporting rate
    price: np.ndarray  # [items]
    leaf_vectors: np.ndarray  # [categories, dim]
    query_texts: np.ndarray  # [queries] str
    query_vectors: np.ndarray  # [queries, dim]
    coefficients: np.ndarray  # [surfaces, 3] of user, subject, query
    items: pd.DataFrame  # the raw table

    @property
    def bias(self) -> np.ndarray:
        """[items] float32: the item's part of the log propensity."""
        return self.popularity + self.appeal + self.quality + self.log_reporting


def build_market(options: Options) -> Market:
    """Draws the market; the same options give the same market."""
    rng = np.random.default_rng([options.seed, 0])
    n = options.num_items
    leaf_vectors = _leaf_vectors(options, rng)
    adjective_vectors = unit(rng.standard_normal((len(words.ADJECTIVES), options.vector_dim)))
    brand_vectors = unit(rng.standard_normal((options.num_advertisers, options.vector_dim)))
    leaf = rng.choice(options.num_categories, size=n, p=rng.dirichlet(np.full(options.num_categories, 5.0)))
    adjective = rng.integers(len(words.ADJECTIVES), size=n)
    size = 1.0 / np.arange(1, options.num_advertisers + 1) ** 0.8
    advertiser = rng.choice(options.num_advertisers, size=n, p=size / size.sum())
    content = leaf_vectors[leaf] + _CONTENT_SHARE * (adjective_vectors[adjective] + brand_vectors[advertiser])
    vectors = unit(content + 0.8 * unit(rng.standard_normal((n, options.vector_dim))))
    query_texts, query_vectors = _queries(leaf_vectors, adjective_vectors)
    price = np.exp(rng.normal(3.2, 0.8, options.num_categories)[leaf] + rng.normal(0.0, 0.5, n)).clip(0.5).round(2)
    item_ids = np.array([f"i{number:07d}" for number in range(n)], dtype=object)
    return Market(
        item_ids=item_ids,
        vectors=vectors,
        available_from_us=_launches(options, rng),
        popularity=rng.normal(0.0, 0.8, n).astype(np.float32),
        appeal=rng.normal(0.0, 0.2, n).astype(np.float32),
        quality=rng.normal(0.0, 0.2, n).astype(np.float32),
        log_reporting=np.log(_reporting_rates(options, rng))[advertiser].astype(np.float32),
        price=price,
        leaf_vectors=leaf_vectors,
        query_texts=query_texts,
        query_vectors=query_vectors,
        # Inner products of unit vectors shrink with the dimension; the factor keeps tastes as strong.
        coefficients=np.array([_MIX[s] for s in SURFACES]) * options.affinity_strength * math.sqrt(options.vector_dim),
        items=pd.DataFrame(
            {
                "item_id": item_ids,
                "advertiser_id": [f"a{number:05d}" for number in advertiser],
                "category": [words.category(number)[0] for number in leaf],
                "title": _titles(leaf, adjective, advertiser, words.brands(options.num_advertisers, rng)),
                "price": price,
                "embedding": list(_noisy(vectors, rng)),
            }
        ),
    )


def coefficients_by_surface(market: Market) -> dict[str, dict[str, float]]:
    """Surface -> weight of the user, subject and query vector; the unknown surface takes those of home."""
    named = {
        surface: dict(zip(("user", "subject", "query"), map(float, row), strict=True))
        for surface, row in zip(SURFACES, market.coefficients, strict=True)
    }
    return {**named, tables.SURFACE_UNKNOWN: named[HOME]}


def unit(vectors: np.ndarray) -> np.ndarray:
    """[rows, dim] -> float32 rows of length 1."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _leaf_vectors(options: Options, rng: np.random.Generator) -> np.ndarray:
    departments = unit(rng.standard_normal((words.num_departments(), options.vector_dim)))
    of_leaf = departments[[words.department(leaf) for leaf in range(options.num_categories)]]
    return unit(of_leaf + 1.2 * unit(rng.standard_normal(of_leaf.shape)))


def _launches(options: Options, rng: np.random.Generator) -> np.ndarray:
    launches = np.full(options.num_items, options.start_us, dtype=np.int64)
    cold = rng.permutation(options.num_items)[: options.num_cold_items]
    launches[cold] = rng.integers(options.start_us, options.end_us, size=len(cold))
    return launches


def _reporting_rates(options: Options, rng: np.random.Generator) -> np.ndarray:
    rates = rng.beta(8.0, 2.0, options.num_advertisers).clip(0.05, 1.0)
    silent = rng.permutation(options.num_advertisers)[: round(options.num_advertisers * options.underreporting_share)]
    rates[silent] = rng.uniform(0.01, 0.05, size=len(silent))
    return rates


def _queries(leaf_vectors: np.ndarray, adjective_vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    texts: list[str] = []
    vectors: list[np.ndarray] = []
    for leaf, centre in enumerate(leaf_vectors):
        noun = words.category(leaf)[1]
        texts += [noun, *(f"{adjective} {noun}" for adjective in words.ADJECTIVES)]
        vectors += [centre, *(centre + _CONTENT_SHARE * vector for vector in adjective_vectors)]
    return np.array(texts, dtype=object), unit(np.stack(vectors))


def _titles(leaf: np.ndarray, adjective: np.ndarray, advertiser: np.ndarray, brands: list[str]) -> list[str]:
    return [
        f"{brands[a]} {words.ADJECTIVES[j]} {words.category(c)[1]}"
        for c, j, a in zip(leaf, adjective, advertiser, strict=True)
    ]


def _noisy(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return unit(vectors + _EMBEDDING_NOISE * unit(rng.standard_normal(vectors.shape)))
