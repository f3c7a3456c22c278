"""Answers to good requests through real gRPC: tensors of every kind, tf.Examples, and what observers hear of them."""

import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import input_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import regression_pb2

VALUES = {
    "f32": np.array([[1.5, -np.inf], [np.nan, 0.1]], np.float32),
    "f64": np.array([1e300, -0.1]),
    "i32": np.array([[2**31 - 1], [-(2**31)]], np.int32),
    "i64": np.array([2**63 - 1, -(2**63)]),
    "u8": np.array([0, 255], np.uint8),
    "text": np.array([[b"a", b""], [b"\xff\x00", "größe".encode()]], object),
    "flag": np.array([True, False]),
    "f16": np.array([0.5, -2.0], np.float16),
}
"""For the signature that echoes its inputs."""
FIELDS = {"f32": "float_val", "f64": "double_val", "i32": "int_val", "i64": "int64_val", "u8": "int_val"}
FIELDS |= {"text": "string_val", "flag": "bool_val"}


def as_fields(array):
    """A tensor with its values in the typed field, as most clients but TensorFlow's send it."""
    proto = tensor_pb2.TensorProto(dtype=tf.dtypes.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = {"f": "float_val", "d": "double_val", "i": "int_val", "l": "int64_val", "B": "int_val"}
    field |= {"O": "string_val", "?": "bool_val", "e": "half_val"}
    values = array.view(np.uint16) if array.dtype == np.float16 else array
    getattr(proto, field[array.dtype.char]).extend(values.ravel().tolist())
    return proto


def echo(server, arrays, make_proto):
    request = predict_pb2.PredictRequest(inputs={name: make_proto(array) for name, array in arrays.items()})
    request.model_spec.name = "numbers"
    request.model_spec.signature_name = "echo"
    return server.stub.Predict(request, timeout=20).outputs


@pytest.mark.parametrize("make_proto", [as_fields, tf.make_tensor_proto], ids=["fields", "content"])
@pytest.mark.parametrize(
    "shape_of", [lambda array: array, lambda array: array[:0], lambda array: array.ravel()[0]], ids=["", "none", "one"]
)
def test_tensors_of_every_type_and_shape_come_back(numbers_server, make_proto, shape_of):
    arrays = {name: np.asarray(shape_of(array), array.dtype) for name, array in VALUES.items()}
    outputs = echo(numbers_server, arrays, make_proto)
    for name, array in arrays.items():
        np.testing.assert_array_equal(tf.make_ndarray(outputs[name]), array, err_msg=name)
        assert [dim.size for dim in outputs[name].tensor_shape.dim] == list(array.shape)
        if name in FIELDS:
            assert len(getattr(outputs[name], FIELDS[name])) == array.size
            assert outputs[name].tensor_content == b""


def test_long_tensors_come_back(numbers_server):
    """Longer than what is decoded in Python."""
    arrays = VALUES | {"f32": np.linspace(0, 1, 5000, dtype=np.float32), "i64": np.arange(5000)}
    outputs = echo(numbers_server, arrays, as_fields)
    np.testing.assert_array_equal(outputs["f32"].float_val, arrays["f32"])
    np.testing.assert_array_equal(outputs["i64"].int64_val, arrays["i64"])


def test_last_value_stands_for_all_that_are_not_sent(numbers_server):
    def shortened(array):
        proto = as_fields(array)
        if array is five:
            del proto.float_val[2:]
        return proto

    five = np.arange(5, dtype=np.float32)
    outputs = echo(numbers_server, VALUES | {"f32": five}, shortened)
    assert list(outputs["f32"].float_val) == [0, 1, 1, 1, 1]


def examples(*values):
    made = input_pb2.Input()
    for value in values:
        made.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return made


def named(request, signature):
    request.model_spec.name = "numbers"
    request.model_spec.signature_name = signature
    return request


def classes(result):
    return [[(entry.label, round(entry.score, 6)) for entry in row.classes] for row in result.classifications]


EXPECTED_CLASSES = [[("small", 0.25), ("large", 0.75)], [("small", 1.0), ("large", 0.0)]]


def test_classify_gives_labels_and_scores(numbers_server):
    request = named(classification_pb2.ClassificationRequest(input=examples(0.25, 1.0)), "classify")
    response = numbers_server.stub.Classify(request, timeout=20)
    assert classes(response.result) == EXPECTED_CLASSES
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("numbers", "classify", 3)


def test_regress_gives_numbers(numbers_server):
    request = named(regression_pb2.RegressionRequest(input=examples(1.0, 4.0)), "regress")
    response = numbers_server.stub.Regress(request, timeout=20)
    assert [entry.value for entry in response.result.regressions] == [2.5, 4.0]  # x / 2 + 2


def test_context_is_part_of_every_example(numbers_server):
    given = input_pb2.Input()
    given.example_list_with_context.context.features.feature["x"].float_list.value.append(4.0)
    given.example_list_with_context.examples.add()
    given.example_list_with_context.examples.add().features.feature["x"].float_list.value.append(6.0)
    response = numbers_server.stub.Regress(named(regression_pb2.RegressionRequest(input=given), "regress"), timeout=20)
    assert [entry.value for entry in response.result.regressions] == [4.0, 5.0]


def test_multi_inference_gives_both(numbers_server):
    request = inference_pb2.MultiInferenceRequest(input=examples(0.25, 1.0))
    for method in ("regress", "classify"):
        named(request.tasks.add(method_name=f"tensorflow/serving/{method}"), method)
    results = numbers_server.stub.MultiInference(request, timeout=20).results
    assert [result.model_spec.signature_name for result in results] == ["regress", "classify"]
    assert [entry.value for entry in results[0].regression_result.regressions] == [2.125, 2.5]
    assert classes(results[1].classification_result) == EXPECTED_CLASSES


def test_observers_hear_of_success_and_of_failure(numbers_server):
    numbers_server.calls.clear()
    good = named(predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto([2.0])}), "")
    bad = named(regression_pb2.RegressionRequest(), "regress")
    answer = numbers_server.stub.Predict(good, timeout=20)
    with pytest.raises(grpc.RpcError):
        numbers_server.stub.Regress(bad, timeout=20)
    numbers_server.http("POST", "/v1/models/shoes:predict", "no json")
    heard = [call[:6] for call in numbers_server.calls]
    assert heard == [
        ("GRPC", "Predict", "numbers", 3, "serving_default", grpc.StatusCode.OK),
        ("GRPC", "Regress", "numbers", None, "regress", grpc.StatusCode.INVALID_ARGUMENT),
        ("REST", "Predict", "shoes", None, "serving_default", grpc.StatusCode.INVALID_ARGUMENT),
    ]
    first, second, _ = numbers_server.calls
    assert (first.request, first.response, second.request, second.response) == (good, answer, bad, None)
    assert list(answer.outputs["y"].float_val) == [3.0]
    assert 0 < first.latency_s < 20


def test_concurrent_requests_get_their_own_answers(numbers_server):
    answers = {}

    def ask(number):
        request = named(predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto([float(number)] * 3)}), "")
        answers[number] = list(numbers_server.stub.Predict(request, timeout=20).outputs["y"].float_val)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [number / 2 + 2] * 3 for number in range(20)}
