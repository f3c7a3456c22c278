"""The client's messages against the real stubs: the same bytes, both ways."""

import math

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import predict_pb2

from serving import tensor_values
from serving import wire
from serving.wire import DataType

SHAPE = {"dim": [{"size": "2"}, {"size": "3", "name": "n"}]}
TENSORS = {
    "float": {"dtype": 1, "tensorShape": SHAPE, "floatVal": [1.5, -2.0, 3.25]},
    "double": {"dtype": 2, "tensorShape": SHAPE, "doubleVal": [0.1, 0.2]},
    "int32": {"dtype": 3, "tensorShape": SHAPE, "intVal": [1, -2, 300]},
    "string": {"dtype": 7, "tensorShape": {"dim": [{"size": "2"}]}, "stringVal": ["YQ==", ""]},
    "int64": {"dtype": 9, "int64Val": ["-1", "9007199254740993"]},
    "bool": {"dtype": 10, "boolVal": [True, False]},
    "content": {"dtype": 1, "tensorShape": SHAPE, "tensorContent": "AAAAPw==", "versionNumber": 3},
}
SPEC = {"name": "retriever", "version": "7", "signatureName": "retrieve"}
INFO = {"name": "k:0", "dtype": 3, "tensorShape": {"dim": [{"size": "-1"}]}}
UNRANKED = {"name": "x:0", "dtype": 7, "tensorShape": {"unknownRank": True}}
SIGNATURE = {"inputs": {"k": INFO, "x": UNRANKED}, "outputs": {"y": INFO}, "methodName": "predict"}
STATUS = {"version": "3", "state": 50, "status": {"error_code": 2, "error_message": "zerstört"}}

CASES = [
    pytest.param(model_pb2.ModelSpec, SPEC, id="ModelSpec"),
    pytest.param(model_pb2.ModelSpec, {"name": "retriever", "versionLabel": "canary of May"}, id="labelled"),
    pytest.param(
        predict_pb2.PredictRequest, {"modelSpec": SPEC, "inputs": TENSORS, "outputFilter": ["a", "b"]}, id="request"
    ),
    pytest.param(predict_pb2.PredictResponse, {"modelSpec": SPEC, "outputs": TENSORS}, id="response"),
    pytest.param(
        get_model_metadata_pb2.GetModelMetadataRequest,
        {"modelSpec": SPEC, "metadataField": ["signature_def"]},
        id="metadata",
    ),
    pytest.param(get_model_metadata_pb2.SignatureDefMap, {"signatureDef": {"retrieve": SIGNATURE}}, id="signatures"),
    pytest.param(meta_graph_pb2.SignatureDef, SIGNATURE, id="SignatureDef"),
    pytest.param(get_model_status_pb2.GetModelStatusRequest, {"modelSpec": SPEC}, id="status-request"),
    pytest.param(get_model_status_pb2.GetModelStatusResponse, {"model_version_status": [STATUS, STATUS]}, id="status"),
]


def _as_objects(content):
    """`Int64Value` is written as a bare number in JSON by its well-known name only: ours is an ordinary message."""
    if isinstance(content, list):
        return [_as_objects(element) for element in content]
    if not isinstance(content, dict):
        return content
    content = {name: _as_objects(value) for name, value in content.items()}
    if "signatureName" in content:
        content["version"] = {"value": content["version"]}
    return content


@pytest.mark.parametrize(("real_class", "content"), CASES)
def test_messages_have_the_real_bytes(real_class, content):
    real = json_format.ParseDict(content, real_class())
    ours = json_format.ParseDict(_as_objects(content), wire.message_class(real_class.DESCRIPTOR.name)())
    expected = real.SerializeToString(deterministic=True)
    assert len(expected) > 20
    assert ours.SerializeToString(deterministic=True) == expected
    assert type(ours).FromString(expected) == ours
    assert real_class.FromString(ours.SerializeToString()) == real


def test_metadata_response_holds_the_real_any():
    real = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = json_format.ParseDict({"signatureDef": {"s": SIGNATURE}}, get_model_metadata_pb2.SignatureDefMap())
    real.metadata["signature_def"].Pack(signatures)
    ours = wire.message_class("GetModelMetadataResponse").FromString(real.SerializeToString())
    assert ours.metadata["signature_def"].type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    unpacked = wire.message_class("SignatureDefMap").FromString(ours.metadata["signature_def"].value)
    assert unpacked.SerializeToString(deterministic=True) == signatures.SerializeToString(deterministic=True)


def test_data_types_have_the_real_numbers():
    assert {kind.name: kind.value for kind in DataType} == {
        kind.name: types_pb2.DataType.Value(f"DT_{kind.name}") for kind in DataType
    }


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.5, math.inf, -2.0, 0.1], DataType.FLOAT),
        ([1.5, 1e300, -2.0, 0.1], DataType.DOUBLE),
        ([1, -2, 2**31 - 1, 0], DataType.INT32),
        ([1, -2, 2**63 - 1, 0], DataType.INT64),
        (["a", "", "größe", "商品"], DataType.STRING),
    ],
)
def test_encoded_values_are_what_tensorflow_reads(values, dtype):
    proto = tensor_values.encode(values, dtype=dtype, shape=[2, 2])
    read = tf.make_ndarray(tensor_pb2.TensorProto.FromString(proto.SerializeToString()))
    expected = np.array([value.encode() if isinstance(value, str) else value for value in values], read.dtype)
    np.testing.assert_array_equal(read, expected.reshape(2, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_content_is_decoded(dtype):
    array = np.array([[1, 0, 3], [4, 5, 6]], dtype)
    real = tf.make_tensor_proto(array)
    assert real.tensor_content
    decoded = tensor_values.decode(wire.message_class("TensorProto").FromString(real.SerializeToString()))
    assert decoded.rows() == array.tolist()


def test_last_value_of_a_compressed_tensor_is_repeated():
    proto = tensor_values.encode([1.0, 2.0], dtype=DataType.FLOAT, shape=[2, 2])
    assert tensor_values.decode(proto).rows() == [[1.0, 2.0], [2.0, 2.0]]


def test_tensor_with_too_many_values_is_refused():
    proto = tensor_values.encode([1.0, 2.0], dtype=DataType.FLOAT, shape=[1])
    with pytest.raises(ValueError, match=r"shape \(1,\) needs 1 values. Received: 2"):
        tensor_values.decode(proto)
