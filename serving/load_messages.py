"""A load's requests, encoded before the load starts, and what is kept of its answers."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import DecodeError

from schemas.contract import INPUT_K
from schemas.contract import OUTPUT_ITEM_IDS
from schemas.contract import OUTPUT_MODEL_VERSION
from schemas.contract import SIGNATURE_RETRIEVE
from serving import snapshot
from serving import tensor_values
from serving import wire
from serving.channel import ServerChannel
from serving.query_inputs import Features
from serving.query_inputs import encode_features
from serving.query_inputs import input_specs
from serving.wire import DataType

_METADATA_FIELD = "signature_def"
_NUM_REMEMBERED = 4096


class Answer(NamedTuple):
    """What an answer says: the version in its `model_spec`, the versions in its output, the items in order."""

    version: int
    model_versions: tuple[bytes, ...]
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
        ValueError: The JSON file holds something else.
        SnapshotError: No snapshot there.
    """
    if not features:
        with snapshot.open_snapshot(snapshot_path or snapshot.default_path()) as users:
            return [users.features(user_id) for user_id in users.user_ids(limit=num_users)]
    try:
        content = json.loads(features.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"cannot read users from {features}: {error}") from error
    listed = content if isinstance(content, list) else [content]
    if not listed or not all(isinstance(user, dict) for user in listed):
        raise ValueError(f"{features} must hold an object of named inputs, or a list of them that is not empty")
    return listed


def encode_requests(channel: ServerChannel, users: Sequence[Features], *, model_name: str, k: int) -> list[bytes]:
    """One PredictRequest per user for the signature that the server has now; features that it lacks are dropped.

    Raises:
        RetrieverError: The server did not say what its signature takes.
        ValueError: A feature of the wrong type.
    """
    asked = wire.message_class("GetModelMetadataRequest")(metadata_field=[_METADATA_FIELD])
    asked.model_spec.name = model_name
    metadata = channel.call(wire.GET_MODEL_METADATA, asked, response="GetModelMetadataResponse")
    packed = metadata.metadata[_METADATA_FIELD].value
    signatures = wire.message_class("SignatureDefMap").FromString(packed).signature_def
    if SIGNATURE_RETRIEVE not in signatures:
        known = ", ".join(sorted(signatures))
        raise ValueError(f"{model_name} has no signature {SIGNATURE_RETRIEVE}; serve a retriever. Received: {known}")
    specs = input_specs(signatures[SIGNATURE_RETRIEVE])
    del specs[INPUT_K]
    requests = []
    for user in users:
        request = wire.message_class("PredictRequest")()
        request.model_spec.name = model_name
        request.model_spec.signature_name = SIGNATURE_RETRIEVE
        for name, tensor in encode_features([user], specs, ignore_unknown=True).items():
            request.inputs[name].CopyFrom(tensor)
        request.inputs[INPUT_K].CopyFrom(tensor_values.encode([k], dtype=DataType.INT32, shape=[1]))
        requests.append(request.SerializeToString())
    return requests


@functools.lru_cache(maxsize=_NUM_REMEMBERED)
def read_answer(serialized: bytes) -> Answer:
    """What a serialized PredictResponse says; equal ones are read, and kept in memory, once."""
    try:
        response = wire.message_class("PredictResponse").FromString(serialized)
    except DecodeError as error:
        raise UnreadableAnswerError(str(error)) from error
    for name in (OUTPUT_ITEM_IDS, OUTPUT_MODEL_VERSION):
        if name not in response.outputs:
            raise UnreadableAnswerError(f"no output {name}")
    versions, item_ids = (tuple(response.outputs[name].string_val) for name in (OUTPUT_MODEL_VERSION, OUTPUT_ITEM_IDS))
    return Answer(response.model_spec.version.value, versions, item_ids)
