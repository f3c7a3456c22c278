"""Reads logs of requests as rows in the form of the training data. Imports TensorFlow."""

from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_log_pb2

from schemas.contract import HISTORY_ITEM_ID
from schemas.contract import HISTORY_PREFIX
from schemas.contract import INPUT_EXAMPLES
from schemas.contract import MISSING_STRING
from schemas.contract import SIGNATURE_DEFAULT
from schemas.contract import SIGNATURE_RETRIEVE

Row = Mapping[str, list[Any]]
"""Values by feature; a missing feature has none."""


class LogsError(Exception):
    """A file that is no log of requests; the text names it."""


class ServedRows:
    """The query features of logged requests, a row for every user asked for.

    Args:
        paths: TFRecords of PredictionLogs.
        is_string: Query features by name; what else a request holds is no feature.
        version: Of the retriever; requests that another one answered are left out.
    """

    def __init__(self, paths: Sequence[str], is_string: Mapping[str, bool], *, version: int) -> None:
        self._paths = paths
        self._is_string = is_string
        self._version = version
        self.num_requests = 0
        """That gave rows, once these have been iterated over."""
        self.left_out: Counter[str] = Counter()
        """Other requests by reason."""

    def __iter__(self) -> Iterator[Row]:
        """Reads the files; raises `LogsError`."""
        for path in self._paths:
            for log in _read(path):
                if reason := self._reason_to_leave_out(log):
                    self.left_out[reason] += 1
                    continue
                self.num_requests += 1
                request = log.predict_log.request
                is_named = _signature(log) == SIGNATURE_RETRIEVE
                yield from self._named_rows(request) if is_named else self._example_rows(request)

    def _reason_to_leave_out(self, log: prediction_log_pb2.PredictionLog) -> str:
        if not log.HasField("predict_log"):
            return "not of Predict"
        # embed_query is asked beside retrieve for the same user, so its rows would count twice.
        if (signature := _signature(log)) not in (SIGNATURE_RETRIEVE, SIGNATURE_DEFAULT):
            return f"of signature {signature}"
        spec = log.log_metadata.model_spec
        if spec.HasField("version") and spec.version.value != self._version:
            return f"answered by version {spec.version.value}"
        return ""

    def _named_rows(self, request: predict_pb2.PredictRequest) -> Iterator[Row]:
        """Rows of named tensors, without padding."""
        arrays = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items() if name in self._is_string}
        # Not np.atleast_1d of a row's value: of bytes it would make an array that drops zeros at their end.
        columns = {name: array.reshape(len(array), -1) for name, array in arrays.items() if array.size}
        for index in range(max((len(column) for column in columns.values()), default=0)):
            yield _without_padding({name: column[index] for name, column in columns.items()})

    def _example_rows(self, request: predict_pb2.PredictRequest) -> Iterator[Row]:
        for record in tf.make_ndarray(request.inputs[INPUT_EXAMPLES]).ravel():
            features = tf.train.Example.FromString(record).features.feature
            yield {
                name: list(features[name].bytes_list.value if is_string else features[name].float_list.value)
                for name, is_string in self._is_string.items()
                if name in features
            }


def _read(path: str) -> Iterator[prediction_log_pb2.PredictionLog]:
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except (tf.errors.OpError, DecodeError) as error:
        raise LogsError(f"{path} is no file of PredictionLogs: {error}") from error


def _signature(log: prediction_log_pb2.PredictionLog) -> str:
    return log.predict_log.request.model_spec.signature_name or SIGNATURE_DEFAULT


def _without_padding(cells: Mapping[str, np.ndarray]) -> Row:
    """As the retriever reads a row: a place of the history counts if it has an item, and an age that is missing is 0."""
    ids = cells.get(HISTORY_ITEM_ID)
    row = {}
    for name, values in cells.items():
        is_number = values.dtype.kind == "f"
        if ids is not None and name.startswith(HISTORY_PREFIX):
            values = values[ids != MISSING_STRING.encode()]
            values = np.where(np.isfinite(values), values, 0.0) if is_number else values
        else:
            values = values[np.isfinite(values) if is_number else values != MISSING_STRING.encode()]
        row[name] = values.tolist()
    return row
