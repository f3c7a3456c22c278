"""Whom a load asks for, and what is kept of its answers."""

import functools
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import DecodeError

from schemas.contract import OUTPUT_ITEM_IDS
from serving import snapshot
from serving import wire
from serving.query_inputs import Features
from serving.query_inputs import read_features
from serving.results import index_version_output

_NUM_REMEMBERED = 4096


class Answer(NamedTuple):
    """What an answer says: the version in its `model_spec`, the index versions in its output, the items in order."""

    version: int
    index_versions: tuple[bytes, ...]
    item_ids: tuple[bytes, ...]


class UnreadableAnswerError(Exception):
    """Bytes that are no answer of a retriever."""


def read_users(*, features: Path | None, snapshot_path: Path | None, num_users: int) -> list[Features]:
    """Users to ask for.

    Args:
        features: JSON file of an object of named inputs, or of a list of them: all of these.
        snapshot_path: User snapshot, without `features`; None takes the newest run's.
        num_users: At most so many of the snapshot.

    Raises:
        ValueError: The JSON file cannot be read, or holds something else.
        SnapshotError: No snapshot there.
    """
    if not features:
        with snapshot.open_snapshot(snapshot_path or snapshot.default_path()) as users:
            return [users.features(user_id) for user_id in users.user_ids(limit=num_users)]
    return read_features(features)


@functools.lru_cache(maxsize=_NUM_REMEMBERED)
def read_answer(serialized: bytes) -> Answer:
    """What a serialized PredictResponse says; equal ones are read, and kept in memory, once."""
    try:
        response = wire.message_class("PredictResponse").FromString(serialized)
    except DecodeError as error:
        raise UnreadableAnswerError(str(error)) from error
    names = (index_version_output(response.outputs), OUTPUT_ITEM_IDS)
    for name in names:
        if name not in response.outputs:
            raise UnreadableAnswerError(f"no output {name}")
    versions, item_ids = (tuple(response.outputs[name].string_val) for name in names)
    return Answer(response.model_spec.version.value, versions, item_ids)
