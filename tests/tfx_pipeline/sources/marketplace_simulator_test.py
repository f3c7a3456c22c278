import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from schemas import tables
from tfx_pipeline.sources import command
from tfx_pipeline.sources import marketplace_simulator
from tfx_pipeline.sources import simulator_demand
from tfx_pipeline.sources import simulator_words
from tfx_pipeline.sources.oracle import Oracle
from tfx_pipeline.sources.simulator_market import build_market
from tfx_pipeline.sources.simulator_options import Options

_OPTIONS = Options(
    num_users=500,
    num_items=500,
    num_advertisers=30,
    num_categories=12,
    days=30,
    sessions_per_user=8.0,
    users_per_chunk=200,
)
_TINY = dataclasses.replace(_OPTIONS, num_users=50, users_per_chunk=20)
_ARROW_TYPES = {"string": "string", "int64": "int64", "float": "double", "float_list": "list<item: float>"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("market") / "data"
    marketplace_simulator.write_tables(data=None, out=out, options=_OPTIONS)
    return out


@pytest.fixture(scope="module")
def events(dataset: Path) -> pd.DataFrame:
    return pd.read_parquet(dataset / tables.EVENTS)


@pytest.fixture(scope="module")
def items(dataset: Path) -> pd.DataFrame:
    return pd.read_parquet(dataset / tables.ITEMS)


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _with_touch(events: pd.DataFrame, event: str) -> pd.DataFrame:
    """Conversions beside the user's last click of the same item at or before them (columns `_touch`)."""
    conversions = events[events["event"] == event].sort_values("timestamp")
    clicks = events[events["event"] == tables.CLICK].sort_values("timestamp")
    return pd.merge_asof(conversions, clicks, on="timestamp", by=["user_id", "item_id"], suffixes=("", "_touch"))


def test_same_seed_same_bytes(tmp_path: Path):
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        options = dataclasses.replace(_TINY, seed=seed)
        marketplace_simulator.write_tables(data=None, out=tmp_path / name, options=options)
    first, second, other = (_digests(tmp_path / name) for name in ("first", "second", "other"))
    # 3 chunks of 20, 20 and 10 users: as many shards of events, users and oracle_users; 3 tables of the market; facts.
    assert len(first) == 3 * 3 + 3 + 1
    assert first == second
    assert all(first[name] != other[name] for name in first if "oracle_queries" not in name)


@pytest.mark.parametrize("table", [tables.EVENTS, tables.ITEMS, tables.USERS])
def test_tables_have_the_contract_columns_and_types(dataset: Path, table: str):
    schema = pq.read_table(dataset / table).schema
    for name, column in tables.TABLES[table].items():
        if name == "is_available":  # nothing is ever sold out there
            continue
        assert str(schema.field(name).type).replace("element", "item") == _ARROW_TYPES[column.kind]


def test_values_are_in_range(events: pd.DataFrame, items: pd.DataFrame):
    assert events[["user_id", "item_id", "event", "timestamp", "surface"]].notna().all(axis=None)
    assert events["timestamp"].between(_OPTIONS.start_us, _OPTIONS.end_us - 1).all()
    assert events["item_id"].isin(items["item_id"]).all()
    assert events["click_duration_s"].dropna().between(0, 1800).all()
    assert (events["value"].dropna() > 0).all()
    assert (items["price"] > 0).all()
    assert items["item_id"].is_unique
    assert set(items["category"].str.count(tables.CATEGORY_SEPARATOR)) == {1, 2}
    assert items["embedding"].map(len).eq(_OPTIONS.vector_dim).all()


def test_titles_name_the_category(items: pd.DataFrame):
    nouns = items["category"].str.split(tables.CATEGORY_SEPARATOR).str[-1]
    assert all(title.endswith(" " + noun) for title, noun in zip(items["title"], nouns, strict=True))


def test_every_event_and_surface_occurs_with_its_context(events: pd.DataFrame):
    onsite = events[~events["event"].isin(tables.CONVERSIONS)]
    assert set(events["event"]) == set(tables.EVENT_TYPES)
    assert set(onsite["surface"]) == {"home", "related", "search"}
    assert (onsite["subject_item_id"].notna() == (onsite["surface"] == "related")).all()
    assert (onsite["query"].notna() == (onsite["surface"] == "search")).all()
    assert events["click_duration_s"][events["event"] != tables.CLICK].isna().all()


def test_conversions_are_offsite_and_valued(events: pd.DataFrame):
    conversions = events[events["event"].isin(tables.CONVERSIONS)]
    assert set(conversions["surface"]) == {tables.SURFACE_UNKNOWN}
    assert conversions[["subject_item_id", "query", "request_id"]].isna().all(axis=None)
    assert conversions["value"].notna().all()


def test_a_request_shows_distinct_items_on_one_surface(events: pd.DataFrame):
    impressions = events[events["event"] == tables.IMPRESSION].drop_duplicates(["request_id", "item_id"])
    requests = impressions.groupby("request_id")
    assert set(requests.size()) == {_OPTIONS.impressions_per_request}
    assert requests[["user_id", "surface"]].nunique().eq(1).all(axis=None)


def test_no_item_appears_before_its_launch(dataset: Path, events: pd.DataFrame):
    launches = pd.read_parquet(dataset / "oracle_items").set_index("item_id")["available_from"]
    assert (launches > _OPTIONS.start_us).sum() == 75  # 15% of 500
    assert (events["timestamp"].to_numpy() >= launches[events["item_id"]].to_numpy()).all()


def test_conversions_follow_their_click_and_the_rest_has_none(events: pd.DataFrame):
    carts = _with_touch(events, tables.ADD_TO_CART)
    assert carts["request_id_touch"].notna().all()
    purchases = _with_touch(events, tables.PURCHASE)
    untouched = purchases["request_id_touch"].isna().mean()
    # 30% are drawn without a touch; a few of those happen to follow a click of the item.
    assert 0.2 < untouched < 0.32


def test_durations_are_longer_where_the_user_bought(events: pd.DataFrame):
    clicks = events[events["event"] == tables.CLICK]
    bought = clicks.set_index(["user_id", "item_id"]).index.isin(
        events[events["event"] == tables.PURCHASE].set_index(["user_id", "item_id"]).index
    )
    assert clicks["click_duration_s"][bought].median() > 1.1 * clicks["click_duration_s"][~bought].median()
    assert clicks["click_duration_s"].isna().mean() == pytest.approx(_OPTIONS.missing_duration_share, abs=0.02)
    assert (clicks["click_duration_s"] < 2.0).mean() > 0.03


def test_some_rows_are_repeated_and_some_retried(events: pd.DataFrame):
    assert 0 < events.duplicated().mean() < 0.005
    apart_from_time = [name for name in events.columns if name != "timestamp"]
    clicks = events[events["event"] == tables.IMPRESSION].drop_duplicates()
    assert 0 < clicks.duplicated(apart_from_time).mean() < 0.005


def test_advertisers_that_underreport_convert_less(events: pd.DataFrame, items: pd.DataFrame):
    advertiser = events["item_id"].map(items.set_index("item_id")["advertiser_id"])
    counts = pd.crosstab(advertiser, events["event"])
    rates = (counts[tables.ADD_TO_CART] / counts[tables.CLICK])[counts[tables.CLICK] >= 50]
    # Silent advertisers report at most 5%; the others 80% on average.
    assert rates.min() < 0.2 * rates.median()


def test_rates_follow_the_options_and_facts_agree(dataset: Path, events: pd.DataFrame):
    facts = json.loads((dataset / "source.json").read_text())
    assert facts["kind"] == "synthetic"
    assert "Synthetic" in facts["notice"]
    assert facts["events"] == events["event"].value_counts().to_dict()
    assert max(facts["clipped_share"].values()) < 0.01
    # Mean clicks per impression: deliberate 0.3 and accidental 0.03 of the other 0.7.
    assert facts["events"]["click"] / facts["events"]["impression"] == pytest.approx(0.321, abs=0.03)


def test_purchases_are_distributed_as_the_oracle_says(tmp_path: Path):
    # One impression per request, so that the shown distribution is the softmax exactly.
    options = dataclasses.replace(_OPTIONS, num_items=1000, impressions_per_request=1, sessions_per_user=30.0)
    marketplace_simulator.write_tables(data=None, out=tmp_path / "data", options=options)
    market = build_market(options)
    oracle = Oracle.load(tmp_path / "data")
    assert oracle is not None
    purchases = _with_touch(pd.read_parquet(tmp_path / "data" / tables.EVENTS).drop_duplicates(), tables.PURCHASE)
    scores = oracle.scores(
        purchases["user_id"].tolist(),
        purchases["surface_touch"].fillna("unknown").tolist(),
        purchases["subject_item_id_touch"].fillna("").tolist(),
        purchases["query_touch"].fillna("").tolist(),
        market.item_ids.tolist(),
    )
    launched = market.available_from_us[None, :] <= purchases["timestamp"].to_numpy()[:, None]
    mass = np.where(launched, np.exp(scores - scores.max(axis=1, keepdims=True)), 0.0)
    mass /= mass.sum(axis=1, keepdims=True)
    bought = purchases["item_id"].str[1:].astype(int).to_numpy()  # ids number the items
    assert len(bought) > 2000
    # A log-linear law holds if and only if every term of its exponent has the same mean over what was bought as over
    # the law's own draws. Tolerances are about four standard errors; without a term of the bias the means of
    # popularity and reporting differ by 0.6 and 0.2.
    np.testing.assert_allclose(market.popularity[bought].mean(), (mass @ market.popularity).mean(), atol=0.06)
    np.testing.assert_allclose(market.log_reporting[bought].mean(), (mass @ market.log_reporting).mean(), atol=0.05)
    np.testing.assert_allclose(market.quality[bought].mean(), (mass @ market.quality).mean(), atol=0.015)
    own = scores[np.arange(len(bought)), bought]
    np.testing.assert_allclose(own.mean(), (mass * scores).sum(axis=1).mean(), atol=0.12)


def test_oracle_ranks_later_purchases_better_than_popularity(dataset: Path, events: pd.DataFrame, items: pd.DataFrame):
    purchases = events[events["event"] == tables.PURCHASE]
    cut_us = _OPTIONS.start_us + int(0.8 * (_OPTIONS.end_us - _OPTIONS.start_us))
    later = purchases[purchases["timestamp"] >= cut_us]
    bought = items.set_index("item_id").index.get_indexer(later["item_id"])
    earlier = purchases["item_id"][purchases["timestamp"] < cut_us].value_counts()
    popularity = items["item_id"].map(earlier).fillna(0).to_numpy()
    popular = np.argsort(np.argsort(-popularity, kind="stable"))[bought] < 25
    oracle = Oracle.load(dataset)
    assert oracle is not None
    nothing = [""] * len(later)
    scores = oracle.scores(
        later["user_id"].tolist(), ["home"] * len(later), nothing, nothing, items["item_id"].tolist()
    )
    found = (scores > scores[np.arange(len(later)), bought][:, None]).sum(axis=1) < 25
    # recall@25 of 500 items: chance is 0.05.
    assert popular.mean() > 0.08
    assert found.mean() > 1.8 * popular.mean()


def test_draw_follows_the_softmax():
    shelf = simulator_demand.Shelf(
        np.zeros((3, 1), np.float32), np.log([1, 2, 5]).astype(np.float32), np.zeros(3, np.int64)
    )
    rng = np.random.default_rng(0)
    num_rows = 40_000
    drawn = simulator_demand.draw(np.zeros((num_rows, 1)), shelf, np.ones(num_rows, np.int64), rng, k=2)
    np.testing.assert_allclose(np.bincount(drawn[:, 0]) / num_rows, [1 / 8, 2 / 8, 5 / 8], atol=0.01)
    # Second after item 2 was first: 1 and 2 parts of what is left.
    second = drawn[drawn[:, 0] == 2, 1]
    np.testing.assert_allclose(np.bincount(second) / len(second), [1 / 3, 2 / 3], atol=0.01)


def test_categories_stay_distinct_past_the_word_list():
    paths, nouns = zip(*(simulator_words.category(leaf) for leaf in range(200)), strict=True)
    assert len(set(paths)) == len(set(nouns)) == 200


def test_users_without_sessions_make_a_dataset(tmp_path: Path):
    options = dataclasses.replace(_TINY, num_users=3, sessions_per_user=0.001)
    marketplace_simulator.write_tables(data=None, out=tmp_path / "data", options=options)
    assert len(pd.read_parquet(tmp_path / "data" / tables.USERS)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_users": 0}, "num_users must be >= 1. Received: 0"),
        ({"click_rate": 1.0}, r"click_rate must be in \[0, 1\). Received: 1.0"),
        ({"click_rate": 0.0}, "click_rate must be > 0"),
        ({"affinity_strength": 11.0}, "affinity_strength must be <= 40 / sqrt.* Received: 11.0"),
        ({"seed": -1}, "seed must be >= 0. Received: -1"),
        ({"requests_per_session": 0.5}, "requests_per_session must be >= 1"),
        ({"num_items": 8}, "must be >= impressions_per_request; simulate more items. Received: 8"),
        ({"start": "soon"}, "start must be an ISO date such as 2024-01-01. Received: 'soon'"),
    ],
)
def test_options_refuse_what_cannot_be_simulated(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(_OPTIONS, **changes)


def test_command_writes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    flags = [f"--out={tmp_path / 'data'}", "--num_users=10", "--num_items=40", "--num_categories=3", "--days=5"]
    status = command.run(
        marketplace_simulator.__doc__, Options, marketplace_simulator.write_tables, flags, data_required=False
    )
    assert status == 0
    assert "Synthetic data" in capsys.readouterr().out
    assert len(pd.read_parquet(tmp_path / "data" / tables.ITEMS)) == 40
