"""What the clients share, which is all but sending: requests, answers, batches, deadlines, changed signatures."""

import abc
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import grpc

from schemas.contract import INPUT_K
from schemas.contract import MODEL_NAME
from schemas.contract import SIGNATURE_EMBED_QUERY
from schemas.contract import SIGNATURE_RETRIEVE
from schemas.contract import SIGNATURE_RETRIEVE_FILTERED
from serving import results
from serving import tensor_values
from serving import wire
from serving.channel import MAX_ATTEMPTS
from serving.channel import Connection
from serving.channel import Tls
from serving.filters import Filters
from serving.filters import filtered
from serving.query_inputs import Features
from serving.query_inputs import InputSpec
from serving.query_inputs import UnknownFeatureError
from serving.query_inputs import encode_features
from serving.query_inputs import input_specs
from serving.results import Embedded
from serving.results import Retrieved
from serving.results import RetrieverError
from serving.results import VersionStatus
from serving.wire import DataType

_METADATA_FIELD = "signature_def"
# Codes that a changed signature may cause.
_REFUSALS = ("INVALID_ARGUMENT", "FAILED_PRECONDITION")


class Call(NamedTuple):
    """What holds for all requests of one call: its seconds, when they are over, and what is sent beside the messages."""

    timeout_s: float
    deadline_s: float
    metadata: Mapping[str, str]


class ClientCore(abc.ABC):
    """A client without input and output; its coroutines wait for nothing but `_answer`."""

    def __init__(
        self,
        server: str,
        *,
        model_name: str = MODEL_NAME,
        model_version: int | None = None,
        version_label: str = "",
        timeout_s: float = 5.0,
        max_attempts: int = MAX_ATTEMPTS,
        max_batch_size: int = 128,
        ignore_unknown: bool = False,
        round_robin: bool = False,
        tls: Tls | None = None,
        metadata: Mapping[str, str] | None = None,
        compression: grpc.Compression | None = None,
    ) -> None:
        """Connects at the first call.

        Args:
            server: host:port of the server's gRPC API, such as `localhost:8500`, or a gRPC target that names several
                servers: `dns:///retriever:8500`, `ipv4:10.0.0.1:8500,10.0.0.2:8500`.
            model_name: Name under which the server serves the retriever.
            model_version: The version to ask; None for the newest.
            version_label: Label of the version to ask, such as `canary`; "" for none.
            timeout_s: Seconds for a call with all of its requests and retries, unless the call says otherwise.
            max_attempts: How often a request is sent while the server is UNAVAILABLE, 1 to 5.
            max_batch_size: Users in one request; a call with more sends several, one after the other.
            ignore_unknown: Drop features that the served model does not take instead of refusing them.
            round_robin: Take turns between the servers instead of asking the first that can be reached.
            tls: Certificates; None for plain text.
            metadata: Sent with each request, such as `{"authorization": "Bearer ..."}`.
            compression: Of the requests, such as `grpc.Compression.Gzip`; None for none.

        Raises:
            ValueError: A value out of range, or both a version and a label.
        """
        if max_batch_size < 1:
            raise ValueError(f"max_batch_size must be at least 1. Received: {max_batch_size}")
        if model_version is not None and version_label:
            raise ValueError(f"give model_version or version_label. Received: {model_version} and {version_label!r}")
        self._connection = Connection(
            server=server, max_attempts=max_attempts, round_robin=round_robin, tls=tls, compression=compression
        )
        self._spec = wire.message_class("ModelSpec")(name=model_name, version_label=version_label)
        if model_version is not None:
            self._spec.version.value = model_version
        self._timeout_s = timeout_s
        self._max_batch_size = max_batch_size
        self._ignore_unknown = ignore_unknown
        self._metadata = dict(metadata or {})
        self._served: _Served | None = None
        self._call(None, None)
        self._channel = self._open()

    @abc.abstractmethod
    def _open(self) -> Any:
        """The channel to send requests through."""

    @abc.abstractmethod
    async def _answer(self, sent: Any) -> Any:
        """The answer, given what the channel returned for a request; raises `grpc.RpcError`."""

    def _call(self, timeout_s: float | None, metadata: Mapping[str, str] | None) -> Call:
        seconds = self._timeout_s if timeout_s is None else timeout_s
        if not seconds > 0:
            raise ValueError(f"timeout_s must be above 0. Received: {seconds}")
        return Call(seconds, time.monotonic() + seconds, self._metadata | dict(metadata or {}))

    async def _retrieve(
        self, features: Sequence[Features], *, k: int, filters: Filters | Sequence[Filters] | None, call: Call
    ) -> list[Retrieved]:
        if k < 1:
            raise ValueError(f"k must be at least 1. Received: {k}")
        signature_name = SIGNATURE_RETRIEVE
        if filters is not None:
            signature_name, features = SIGNATURE_RETRIEVE_FILTERED, filtered(features, filters)
        answers = []
        for users in self._batches(features):
            outputs = await self._ask(signature_name, users, extra=_k_input(k, len(users)), call=call)
            answers += results.retrieved(outputs, k=k)
        return answers

    async def _encode(self, features: Sequence[Features], *, k: int, call: Call) -> list[bytes]:
        served = await self._fetch_signatures(call)
        extra = _k_input(k, 1)
        requests = (self._predict_request(served, SIGNATURE_RETRIEVE, [user], extra=extra) for user in features)
        return [request.SerializeToString() for request in requests]

    async def _embed_query(self, features: Sequence[Features], *, call: Call) -> list[Embedded]:
        answers = []
        for users in self._batches(features):
            outputs = await self._ask(SIGNATURE_EMBED_QUERY, users, extra={}, call=call)
            answers += results.embedded(outputs)
        return answers

    async def _model_status(self, *, call: Call) -> list[VersionStatus]:
        request = wire.message_class("GetModelStatusRequest")(model_spec=self._spec)
        response = await self._exchange(wire.GET_MODEL_STATUS, request, response="GetModelStatusResponse", call=call)
        return results.version_statuses(response)

    def _batches(self, features: Sequence[Features]) -> list[Sequence[Features]]:
        size = self._max_batch_size
        return [features[start : start + size] for start in range(0, len(features), size)]

    async def _ask(
        self, signature_name: str, features: Sequence[Features], *, extra: dict[str, Any], call: Call
    ) -> Any:
        """The outputs of a signature, asked once more if it was refused and may have changed with the version."""
        served = self._served or await self._fetch_signatures(call)
        try:
            return await self._predict(served, signature_name, features, extra=extra, call=call)
        except (UnknownFeatureError, RetrieverError) as error:
            if isinstance(error, RetrieverError) and error.code not in _REFUSALS:
                raise
            newer = await self._fetch_signatures(call)
            if newer.version == served.version:
                raise
        return await self._predict(newer, signature_name, features, extra=extra, call=call)

    async def _predict(
        self,
        served: "_Served",
        signature_name: str,
        features: Sequence[Features],
        *,
        extra: dict[str, Any],
        call: Call,
    ) -> Any:
        request = self._predict_request(served, signature_name, features, extra=extra)
        response = await self._exchange(wire.PREDICT, request, response="PredictResponse", call=call)
        if response.model_spec.version.value != served.version:
            self._served = None
        return response.outputs

    def _predict_request(
        self, served: "_Served", signature_name: str, features: Sequence[Features], *, extra: dict[str, Any]
    ) -> Any:
        specs = {name: spec for name, spec in served.inputs(signature_name).items() if name not in extra}
        tensors = encode_features(features, specs, ignore_unknown=self._ignore_unknown) | extra
        request = wire.message_class("PredictRequest")(model_spec=self._spec)
        request.model_spec.signature_name = signature_name
        for name, tensor in tensors.items():
            request.inputs[name].CopyFrom(tensor)
        return request

    async def _fetch_signatures(self, call: Call) -> "_Served":
        request = wire.message_class("GetModelMetadataRequest")(model_spec=self._spec, metadata_field=[_METADATA_FIELD])
        response = await self._exchange(
            wire.GET_MODEL_METADATA, request, response="GetModelMetadataResponse", call=call
        )
        packed = response.metadata[_METADATA_FIELD].value
        signatures = wire.message_class("SignatureDefMap").FromString(packed).signature_def
        self._served = served = _Served(response.model_spec.version.value, signatures)
        return served

    async def _exchange(self, method: str, request: Any, *, response: str, call: Call) -> Any:
        send = self._channel.unary_unary(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=wire.message_class(response).FromString,
        )
        left_s = max(0.0, call.deadline_s - time.monotonic())
        try:
            return await self._answer(send(request, timeout=left_s, metadata=tuple(call.metadata.items())))
        except grpc.RpcError as error:
            raise self._connection.failure(error, timeout_s=call.timeout_s) from error


def _k_input(k: int, num_users: int) -> dict[str, Any]:
    return {INPUT_K: tensor_values.encode([k] * num_users, dtype=DataType.INT32, shape=[num_users])}


class _Served(NamedTuple):
    """The signatures of the version that was served when they were asked for."""

    version: int
    signatures: Any

    def inputs(self, signature_name: str) -> dict[str, InputSpec]:
        if signature_name not in self.signatures:
            known = ", ".join(sorted(name for name in self.signatures if not name.startswith("__")))
            text = f"the served model has no signature {signature_name}"
            raise RetrieverError("FAILED_PRECONDITION", text, f"serve a version that has it; this one has: {known}")
        return input_specs(self.signatures[signature_name])
