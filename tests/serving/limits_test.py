"""Limits: a shape that asks for terabytes is refused before memory is taken, and so are too many requests at a time."""

import resource

import grpc
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework import types_pb2

from serving.limits import ConcurrencyLimit
from serving.limits import check_tensor_size
from serving.model_requests import RequestError


def tensor(dtype, *sizes):
    return tensor_pb2.TensorProto(dtype=dtype, tensor_shape={"dim": [{"size": size} for size in sizes]})


@pytest.mark.parametrize(
    ("proto", "num_bytes"),
    [
        (tensor(types_pb2.DT_FLOAT, 2**40), 2**42),
        (tensor(types_pb2.DT_STRING, 1000, 2**20), 24_000 * 2**20),
        (tensor(types_pb2.DT_INT32, 0, 2**62, 2**62), 2**126),
        (tensor(types_pb2.DT_FLOAT, *[1000] * 6), 4 * 10**18),
        (tensor(types_pb2.DT_DOUBLE, 11), 88),
    ],
)
def test_shape_beyond_the_limit_is_refused_before_memory_is_taken(proto, num_bytes):
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RequestError) as caught:
        check_tensor_size("country", proto, 80)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.text == (
        f"Input country would take {num_bytes} bytes of memory, more than 80; send fewer rows at a time"
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 10_000


@pytest.mark.parametrize(
    "proto",
    [
        tensor(types_pb2.DT_FLOAT),
        tensor(types_pb2.DT_FLOAT, 0, 3),
        tensor(types_pb2.DT_DOUBLE, 10),
        tensor(types_pb2.DT_STRING, 3),
        tensor(types_pb2.DT_FLOAT, -1),  # left to TensorFlow, which refuses it
    ],
)
def test_shape_within_the_limit_is_let_through(proto):
    check_tensor_size("country", proto, 80)


def test_requests_beyond_the_limit_are_refused_until_one_is_done():
    limit = ConcurrencyLimit(2)
    with limit.hold():
        with limit.hold(), pytest.raises(RequestError) as caught, limit.hold():
            pass
        with limit.hold():
            pass
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.text == "more than 2 requests at a time; try again later"


def test_failed_request_frees_its_place():
    limit = ConcurrencyLimit(1)
    with pytest.raises(ZeroDivisionError), limit.hold():
        raise ZeroDivisionError
    with limit.hold():
        pass


def test_no_limit_refuses_nothing():
    limit = ConcurrencyLimit(0)
    with limit.hold(), limit.hold(), limit.hold():
        pass
