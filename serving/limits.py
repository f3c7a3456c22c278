"""What a request may cost: requests at a time, and the memory that a tensor says it needs. Imports TensorFlow."""

import contextlib
import math
import threading
from collections.abc import Iterator

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.model_requests import RequestError
from serving.model_requests import invalid_argument

LARGEST_TENSOR_BYTES = 64 * 2**20
_STRING_BYTES = 24
"""What TensorFlow takes for a string beside its text."""


class ConcurrencyLimit:
    """Refuses requests beyond a number at a time, of an API that has no such limit itself as gRPC's server has.

    Args:
        max_requests: Running and waiting ones; 0 for no limit.
    """

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._free = threading.Semaphore(max_requests)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Counts a request until it is done; raises `RequestError` RESOURCE_EXHAUSTED if there are too many."""
        if not self._max_requests:
            yield
            return
        if not self._free.acquire(blocking=False):
            text = f"more than {self._max_requests} requests at a time; try again later"
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        try:
            yield
        finally:
            self._free.release()


def check_tensor_size(name: str, proto: tensor_pb2.TensorProto, max_bytes: int = LARGEST_TENSOR_BYTES) -> None:
    """Refuses an input whose shape needs more memory than `max_bytes`, before any is taken.

    A TensorProto need not hold all values that its shape has: the last one stands for the rest, so that a few bytes can
    ask for terabytes. Dimensions of size 0 count as 1: what an operation adds to the shape may multiply the others.

    Args:
        name: Of the input.
        proto: Of a known type.
        max_bytes: Upper limit.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    dtype = tf.dtypes.as_dtype(proto.dtype)
    num_values = math.prod(max(1, dim.size) for dim in proto.tensor_shape.dim)
    num_bytes = num_values * (_STRING_BYTES if dtype == tf.string else dtype.size)
    if num_bytes > max_bytes:
        text = f"Input {name} would take {num_bytes} bytes of memory, more than {max_bytes}; send fewer rows at a time"
        raise invalid_argument(text)
