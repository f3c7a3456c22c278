"""A new catalogue in a running server without training: new items come, removed ones go, no request fails."""

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from schemas import contract
from serving.client import RetrieverClient
from serving.training_run import read_training_run
from tfx_pipeline.sources.oracle import Oracle

pytestmark = pytest.mark.e2e

_NUM_USERS = 24
_SWAP_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def root(simulated: Any, copied_root: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_root(tmp_path_factory.mktemp("refresh") / "root")


class Shop:
    """The simulated market, and a feed that removes items and brings a twin of each user's truly best one."""

    def __init__(self, root: Path):
        with contextlib.closing(sqlite3.connect(root / "serving" / "user_snapshot.sqlite")) as database:
            rows = database.execute("SELECT user_id, features FROM users ORDER BY user_id LIMIT ?", (_NUM_USERS,))
            users = {user_id: {**json.loads(features), "surface": "home"} for user_id, features in rows}
        items = pd.read_parquet(root / "tables" / "items")
        empty = [""] * _NUM_USERS
        oracle = Oracle.load(root / "tables")
        scores = oracle.scores(list(users), ["home"] * _NUM_USERS, empty, empty, list(items["item_id"]))
        self.users = list(users.values())
        twins = items.iloc[scores.argmax(axis=1)].copy()
        self.twins = [f"twin-of-{item_id}" for item_id in twins["item_id"]]
        twins["item_id"], twins["title"] = self.twins, "a thing that nobody has bought"
        bought = pd.Series([item for user in self.users for item in user.get("history_item_id", [])])
        self.removed = list(bought.value_counts().index[:25])  # items that have bonuses
        self.feed = pd.concat([items[~items["item_id"].isin(self.removed)], twins.drop_duplicates("item_id")])


class Asking(threading.Thread):
    """Asks the server for a user's items, with a request that names no version, until it is told to stop."""

    def __init__(self, address: str, user: dict):
        super().__init__()
        with RetrieverClient(address) as client:
            (request,) = client.encode([user], k=10)
        self._request = predict_pb2.PredictRequest.FromString(request)
        self._address = address
        self.versions: list[tuple[str, str]] = []
        self.failures: list[grpc.RpcError] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self.is_over.is_set():
                try:
                    outputs = stub.Predict(self._request, timeout=30).outputs
                    names = (contract.OUTPUT_MODEL_VERSION, contract.OUTPUT_INDEX_VERSION)
                    self.versions.append(tuple(outputs[name].string_val[0].decode() for name in names))
                except grpc.RpcError as error:
                    self.failures.append(error)
                time.sleep(0.02)

    def wait_for(self, index_version: str) -> None:
        end_s = time.monotonic() + _SWAP_TIMEOUT_S
        while time.monotonic() < end_s and (not self.versions or self.versions[-1][1] != index_version):
            time.sleep(0.1)

    def stop(self) -> None:
        self.is_over.set()
        self.join()


@pytest.fixture(scope="module")
def shop(root: Path) -> Shop:
    return Shop(root)


@pytest.fixture(scope="module")
def before(root: Path) -> str:
    (version,) = (path.name for path in (root / "serving" / "retriever").iterdir())
    return version


@pytest.fixture(scope="module")
def address(root: Path, model_server: Any) -> Iterator[str]:
    with model_server(root / "serving" / "retriever") as address:
        yield address


@pytest.fixture(scope="module")
def refresh(root: Path, runner_type: type) -> Any:
    return runner_type(root, module="tfx_pipeline.refresh")


@pytest.fixture(scope="module")
def asked(root: Path, shop: Shop, before: str, address: str, refresh: Any, tmp_path_factory: Any) -> dict:
    """The refresh in a running server: its figures, and what a client saw meanwhile."""
    feed = tmp_path_factory.mktemp("feed")
    shop.feed.to_parquet(feed / "part.parquet")
    asking = Asking(address, shop.users[0])
    asking.start()
    try:
        refreshed = refresh.run(f"--items={feed}")
        assert refreshed.returncode == 0, refreshed.stderr
        metrics = json.loads((root / "refresh.json").read_text())
        asking.wait_for(metrics["pushed_version"])
    finally:
        asking.stop()
    return {"metrics": metrics, "asking": asking, "printed": refreshed.stdout}


def test_the_server_swaps_to_the_new_index_of_the_same_towers_and_no_request_fails(asked: dict, before: str) -> None:
    asking, pushed = asked["asking"], asked["metrics"]["pushed_version"]
    assert asking.failures == []
    assert asking.versions[0] == (before, before)
    assert asking.versions[-1] == (before, pushed)
    assert len(set(asking.versions)) == 2


def test_known_new_and_removed_items_are_counted(asked: dict, shop: Shop) -> None:
    num_removed, num_new = len(shop.removed), len(set(shop.twins))
    assert asked["metrics"]["num_known"] == 500 - num_removed
    assert asked["metrics"]["num_new"] == num_new
    assert asked["metrics"]["num_removed"] == num_removed
    assert asked["metrics"]["num_items"] == 500 - num_removed + num_new
    assert f"{num_new} new; {num_removed} of the 500 that were served are gone" in asked["printed"]


def test_new_items_are_retrieved_by_whom_they_suit_and_removed_ones_are_gone(
    asked: dict, shop: Shop, address: str
) -> None:
    with RetrieverClient(address) as client:
        answers = [answer.item_ids for answer in client.retrieve(shop.users, k=500)]
    assert all(len(set(items)) == asked["metrics"]["num_items"] for items in answers)
    assert not set(shop.removed) & {item for items in answers for item in items}
    ranks = np.array([[items.index(twin) for twin in shop.twins] for items in answers])
    own, of_others = np.diag(ranks), ranks[np.array(shop.twins)[:, None] != np.array(shop.twins)]
    assert np.mean(own < 100) > 0.7  # by chance: 0.2
    assert np.median(own) < 0.75 * np.median(of_others)


def test_the_snapshot_shows_new_titles_and_keeps_those_of_a_history(asked: dict, root: Path, shop: Shop) -> None:
    with contextlib.closing(sqlite3.connect(root / "serving" / "user_snapshot.sqlite")) as database:
        titles = dict(database.execute("SELECT item_id, title FROM items"))
    assert {titles[twin] for twin in shop.twins} == {"a thing that nobody has bought"}
    assert set(shop.removed) <= set(titles)


def test_skew_is_measured_against_the_run_that_trained(asked: dict, root: Path, before: str) -> None:
    found, trained = (
        read_training_run(root, version=int(version), split="train")
        for version in (asked["metrics"]["pushed_version"], before)
    )
    assert found.statistics == trained.statistics


def test_prices_and_availability_change_without_a_new_index(
    asked: dict, root: Path, shop: Shop, address: str, refresh: Any, tmp_path: Path
) -> None:
    with RetrieverClient(address) as client:
        (first,) = client.retrieve(shop.users[:1], k=2)
        gone, cheaper = first.item_ids
        (tmp_path / "part.csv").write_text(f"item_id,price,is_available\n{gone},,0\n{cheaper},1.25,\nno-item,3,1\n")
        changed = refresh.run(f"--changes={tmp_path}")
        assert changed.returncode == 0, changed.stderr
        assert "Changed 2 items; passed over 1 of no item" in changed.stdout
        asking = Asking(address, shop.users[0])
        asking.start()
        asking.wait_for(refresh.versions[-1])
        asking.stop()
        assert asking.versions[-1] == (asked["metrics"]["model_version"], refresh.versions[-1])
        found = {item for answer in client.retrieve(shop.users, k=500) for item in answer.item_ids}
    assert gone not in found
    assert cheaper in found
    with contextlib.closing(sqlite3.connect(root / "serving" / "user_snapshot.sqlite")) as database:
        prices = database.execute("SELECT price FROM items WHERE item_id = ?", (cheaper,)).fetchall()
    assert prices == [(1.25,)]
