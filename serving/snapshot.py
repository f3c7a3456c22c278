"""Reads the user snapshot: the SQLite file of query features and item texts that a run writes beside its model."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.contract import SNAPSHOT_POINTER
from serving.query_inputs import Features

_NUM_EXAMPLE_IDS = 5


class SnapshotError(Exception):
    """No snapshot, a file that is none, or a user that it lacks."""


class Item(NamedTuple):
    """An item's texts; None where the catalogue has none."""

    title: str | None
    advertiser_id: str | None
    category: str | None
    price: float | None


UNKNOWN_ITEM = Item(None, None, None, None)


class Snapshot:
    """An open snapshot; make one with `open_snapshot`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def features(self, user_id: str) -> Features:
        """The user's named inputs; raises `SnapshotError` for a user that is not in the snapshot."""
        row = self._connection.execute("SELECT features FROM users WHERE user_id = ?", (user_id,)).fetchone()
        if row is None:
            (num_users,) = self._connection.execute("SELECT COUNT(*) FROM users").fetchone()
            some = self._connection.execute("SELECT user_id FROM users LIMIT ?", (_NUM_EXAMPLE_IDS,)).fetchall()
            examples = ", ".join(user for (user,) in some)
            raise SnapshotError(f"unknown user {user_id!r}; the snapshot has {num_users:,} users, such as {examples}")
        return json.loads(row[0])

    def user_ids(self, *, limit: int) -> list[str]:
        """Some users, the same ones each time; fewer than `limit` if the snapshot has fewer."""
        rows = self._connection.execute("SELECT user_id FROM users ORDER BY user_id LIMIT ?", (limit,)).fetchall()
        return [user_id for (user_id,) in rows]

    def items(self, item_ids: Iterable[str]) -> dict[str, Item]:
        """The texts of those of the items that the snapshot has."""
        query = "SELECT title, advertiser_id, category, price FROM items WHERE item_id = ?"
        rows = {item_id: self._connection.execute(query, (item_id,)).fetchone() for item_id in item_ids}
        return {item_id: Item(*row) for item_id, row in rows.items() if row is not None}

    def notice(self) -> str:
        """Terms of the data to show, empty if there are none."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'notice'").fetchone()
        return row[0] if row else ""


@contextlib.contextmanager
def open_snapshot(path: Path) -> Iterator[Snapshot]:
    """Opens the snapshot at `path` for reading; raises `SnapshotError` if it is none, also while it is read."""
    if not path.is_file():
        raise SnapshotError(f"no snapshot at {path}; run the pipeline, or name one with --snapshot")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            yield Snapshot(connection)
    except sqlite3.Error as error:
        raise SnapshotError(f"{path} is not a user snapshot: {error}") from error


def default_path() -> Path:
    """The newest snapshot by the pointer file in the cache folder; raises `SnapshotError` if there is none."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    pointer = Path(cache).joinpath(*SNAPSHOT_POINTER)
    try:
        return Path(pointer.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        raise SnapshotError(
            f"no snapshot is known ({pointer} does not exist); run the pipeline, or name one with --snapshot"
        ) from None
