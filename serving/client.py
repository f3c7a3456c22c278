"""gRPC client of a retriever in TF Serving. Needs grpcio and protobuf; neither TensorFlow nor numpy."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from schemas.contract import INPUT_K
from schemas.contract import MODEL_NAME
from schemas.contract import OUTPUT_EMBEDDING
from schemas.contract import OUTPUT_ITEM_IDS
from schemas.contract import OUTPUT_MODEL_VERSION
from schemas.contract import OUTPUT_SCORES
from schemas.contract import SIGNATURE_EMBED_QUERY
from schemas.contract import SIGNATURE_RETRIEVE
from serving import tensor_values
from serving import wire
from serving.channel import RetrieverError
from serving.channel import ServerChannel
from serving.query_inputs import Features
from serving.query_inputs import InputSpec
from serving.query_inputs import UnknownFeatureError
from serving.query_inputs import encode_features
from serving.query_inputs import input_specs
from serving.wire import DataType

_STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
_METADATA_FIELD = "signature_def"
# Codes that a changed signature may cause.
_REFUSALS = ("INVALID_ARGUMENT", "FAILED_PRECONDITION")


class Retrieved(NamedTuple):
    """One user's items, best first, their scores (inner products in [-1, 1]) and the version that answered."""

    item_ids: list[str]
    scores: list[float]
    model_version: str


class Embedded(NamedTuple):
    """One user's query vector, of unit length, and the version that answered."""

    embedding: list[float]
    model_version: str


class VersionStatus(NamedTuple):
    """A version on the server; `error` is empty unless it failed to load."""

    version: int
    state: str
    error_code: int
    error: str


class RetrieverClient:
    """Asks a model server for items. Use as a context manager; safe to share between threads.

    Args:
        server: host:port of the server's gRPC API, such as `localhost:8500`.
        model_name: Name under which the server serves the retriever.
        timeout_s: Seconds for a call with its retries.
        max_attempts: How often a call is tried while the server is unreachable.
        ignore_unknown: Drop features that the served model does not take instead of refusing them.
    """

    def __init__(
        self,
        server: str,
        *,
        model_name: str = MODEL_NAME,
        timeout_s: float = 5.0,
        max_attempts: int = 4,
        ignore_unknown: bool = False,
    ) -> None:
        self._channel = ServerChannel(server, timeout_s=timeout_s, max_attempts=max_attempts)
        self._model_name = model_name
        self._ignore_unknown = ignore_unknown
        self._served: _Served | None = None

    def __enter__(self) -> "RetrieverClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def retrieve(self, features: Sequence[Features], *, k: int) -> list[Retrieved]:
        """The `k` best items for each user; fewer if the served model returns fewer.

        Args:
            features: One mapping per user of named inputs to a number, a string or a list; absent means missing.
            k: Items wanted per user, at least 1.

        Raises:
            UnknownFeatureError: A `ValueError`: a feature that the served model does not take.
            ValueError: A feature of the wrong type, or `k` below 1.
            RetrieverError: The server did not answer, or refused.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1. Received: {k}")
        if not features:
            return []
        num_users = len(features)
        k_input = tensor_values.encode([k] * num_users, dtype=DataType.INT32, shape=[num_users])
        outputs = self._ask(SIGNATURE_RETRIEVE, features, extra={INPUT_K: k_input})
        item_ids, scores, versions = (
            tensor_values.decode(outputs[name]) for name in (OUTPUT_ITEM_IDS, OUTPUT_SCORES, OUTPUT_MODEL_VERSION)
        )
        return [
            Retrieved([item_id.decode() for item_id in row_ids[:k]], row_scores[:k], version.decode())
            for row_ids, row_scores, version in zip(item_ids.rows(), scores.rows(), versions.values, strict=True)
        ]

    def embed_query(self, features: Sequence[Features]) -> list[Embedded]:
        """The query vector of each user; features and errors as in `retrieve`."""
        if not features:
            return []
        outputs = self._ask(SIGNATURE_EMBED_QUERY, features, extra={})
        embedding = tensor_values.decode(outputs[OUTPUT_EMBEDDING])
        versions = tensor_values.decode(outputs[OUTPUT_MODEL_VERSION])
        return [Embedded(row, version.decode()) for row, version in zip(embedding.rows(), versions.values, strict=True)]

    def model_status(self) -> list[VersionStatus]:
        """The versions that the server knows, as it lists them; raises `RetrieverError`."""
        request = wire.message_class("GetModelStatusRequest")()
        request.model_spec.name = self._model_name
        response = self._channel.call(wire.GET_MODEL_STATUS, request, response="GetModelStatusResponse")
        return [
            VersionStatus(
                entry.version,
                _STATES.get(entry.state, "UNKNOWN"),
                entry.status.error_code,
                entry.status.error_message,
            )
            for entry in response.model_version_status
        ]

    def _ask(self, signature_name: str, features: Sequence[Features], *, extra: dict[str, Any]) -> Any:
        """The outputs of a signature, asked once more if it was refused and may have changed with the version."""
        served = self._served or self._fetch_signatures()
        try:
            return self._predict(served, signature_name, features, extra=extra)
        except (UnknownFeatureError, RetrieverError) as error:
            if isinstance(error, RetrieverError) and error.code not in _REFUSALS:
                raise
            newer = self._fetch_signatures()
            if newer.version == served.version:
                raise
        return self._predict(newer, signature_name, features, extra=extra)

    def _predict(
        self, served: "_Served", signature_name: str, features: Sequence[Features], *, extra: dict[str, Any]
    ) -> Any:
        specs = {name: spec for name, spec in served.inputs(signature_name).items() if name not in extra}
        tensors = encode_features(features, specs, ignore_unknown=self._ignore_unknown) | extra
        request = wire.message_class("PredictRequest")()
        request.model_spec.name = self._model_name
        request.model_spec.signature_name = signature_name
        for name, tensor in tensors.items():
            request.inputs[name].CopyFrom(tensor)
        response = self._channel.call(wire.PREDICT, request, response="PredictResponse")
        if response.model_spec.version.value != served.version:
            self._served = None
        return response.outputs

    def _fetch_signatures(self) -> "_Served":
        request = wire.message_class("GetModelMetadataRequest")(metadata_field=[_METADATA_FIELD])
        request.model_spec.name = self._model_name
        response = self._channel.call(wire.GET_MODEL_METADATA, request, response="GetModelMetadataResponse")
        packed = response.metadata[_METADATA_FIELD].value
        signatures = wire.message_class("SignatureDefMap").FromString(packed).signature_def
        self._served = served = _Served(response.model_spec.version.value, signatures)
        return served


class _Served(NamedTuple):
    """The signatures of the version that was served when they were asked for."""

    version: int
    signatures: Any

    def inputs(self, signature_name: str) -> dict[str, InputSpec]:
        if signature_name not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            text = f"the served model has no signature {signature_name}"
            raise RetrieverError("FAILED_PRECONDITION", text, f"it has: {known}")
        return input_specs(self.signatures[signature_name])
