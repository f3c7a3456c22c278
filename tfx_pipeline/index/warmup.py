"""Warm-up requests: what a model server replays before it gives a new retriever its first real request.

TF Serving reads them from the SavedModel (https://www.tensorflow.org/tfx/serving/saved_model_warmup); without them the
first requests wait for memory and kernels that a graph takes when it first runs.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_log_pb2

from schemas import contract
from tfx_pipeline.index.filters import INPUT_SPECS

_READ = 512
_BATCH = 4
_KS = (10, 100)
_NO_FILTERS = {tf.string: contract.MISSING_STRING, tf.float32: contract.MISSING_FLOAT, tf.int32: 0}
_FILTERS = {tf.string: "unknown", tf.float32: float("inf"), tf.int32: 1}
"""Values of all filters, by type."""


def first_queries(files: Sequence[str]) -> list[bytes]:
    """The first serialized users of a split; of an empty one, a user of whom nothing is known."""
    rows = list(tf.data.TFRecordDataset(list(files), "GZIP").take(_READ).as_numpy_iterator())
    return rows or [tf.train.Example().SerializeToString()]


def write_warmup_requests(
    saved_model: Path, queries: Sequence[bytes], specs: Mapping[str, tf.TensorSpec], *, max_k: int
) -> None:
    """Writes the file into a SavedModel that no server reads yet.

    Batches are the user with the shortest history, the one with the longest, and a few between; each is asked of
    `embed_query`, of `serving_default`, of `retrieve` for 10, 100 and `max_k` items, and of `retrieve_filtered` without
    filters, and with some that nothing passes, so that all items are looked at.

    Args:
        saved_model: Folder of the retriever.
        queries: Serialized tf.Examples of query features, at least one.
        specs: Named inputs of `embed_query`.
        max_k: The most that `retrieve` returns.
    """
    path = saved_model / contract.WARMUP_REQUESTS
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as file:
        for batch in _batches(queries):
            for request in _requests(batch, specs, max_k=max_k):
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(request)
                file.write(log.SerializeToString())


def _batches(queries: Sequence[bytes]) -> list[Sequence[bytes]]:
    by_length = sorted(queries, key=_history_length)
    spread = [by_length[place * (len(by_length) - 1) // (_BATCH - 1)] for place in range(_BATCH)]
    return [by_length[:1], by_length[-1:], spread]


def _history_length(query: bytes) -> int:
    features = tf.train.Example.FromString(query).features.feature
    return len(features[contract.HISTORY_ITEM_ID].bytes_list.value)


def _requests(
    batch: Sequence[bytes], specs: Mapping[str, tf.TensorSpec], *, max_k: int
) -> Iterator[predict_pb2.PredictRequest]:
    yield _request(contract.SIGNATURE_DEFAULT, {contract.INPUT_EXAMPLES: tf.constant(batch)})
    named = _named_inputs(batch, specs)
    yield _request(contract.SIGNATURE_EMBED_QUERY, named)
    for k in sorted({min(k, max_k) for k in (*_KS, max_k)}):
        yield _request(contract.SIGNATURE_RETRIEVE, {**named, contract.INPUT_K: tf.fill([len(batch)], k)})
    for values in (_NO_FILTERS, _FILTERS):
        filters = {
            name: tf.fill([len(batch), *[1] * (spec.shape.rank - 1)], tf.constant(values[spec.dtype], spec.dtype))
            for name, spec in INPUT_SPECS.items()
        }
        wanted = tf.fill([len(batch)], min(_KS[0], max_k))
        yield _request(contract.SIGNATURE_RETRIEVE_FILTERED, {**named, **filters, contract.INPUT_K: wanted})


def _named_inputs(batch: Sequence[bytes], specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """Examples as a client would send them: every input, padded with the missing value of its type."""
    features = {}
    for name, spec in specs.items():
        missing = contract.MISSING_STRING if spec.dtype == tf.string else contract.MISSING_FLOAT
        if spec.shape.rank == 1:
            features[name] = tf.io.FixedLenFeature([], spec.dtype, missing)
        else:
            features[name] = tf.io.FixedLenSequenceFeature([], spec.dtype, allow_missing=True, default_value=missing)
    parsed = tf.io.parse_example(batch, features)
    return {name: _at_least_one_column(value, features[name].default_value) for name, value in parsed.items()}


def _at_least_one_column(value: tf.Tensor, missing: str | float) -> tf.Tensor:
    """A list that is empty for everybody gets one missing place, as a client sends it."""
    return tf.fill([value.shape[0], 1], missing) if value.shape.rank == 2 and value.shape[1] == 0 else value


def _request(signature: str, inputs: Mapping[str, tf.Tensor]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = contract.MODEL_NAME
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
    return request
