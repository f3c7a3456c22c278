"""Every bad request over gRPC with its code and text: the table of errors, to be read as one."""

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import input_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import regression_pb2

DROP = object()
INPUTS = {
    "country": tf.make_tensor_proto(["DE"]),
    "history_item_id": tf.make_tensor_proto([["item-3", "item-5"]]),
    "history_age_days": tf.make_tensor_proto([[1.0, 20.0]]),
    "k": tf.make_tensor_proto([3]),
}
CLASSIFY, REGRESS, PREDICT = (f"tensorflow/serving/{method}" for method in ("classify", "regress", "predict"))


def broken(**fields):
    """A tensor [2] of int32 with these fields set."""
    proto = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, **fields)
    proto.tensor_shape.dim.add(size=2)
    return proto


def one(*sizes):
    """A tensor of these sizes, of which the message holds one value."""
    proto = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, int_val=[1])
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


def spec(name="retriever", *, signature="retrieve", version=None, label=None):
    made = model_pb2.ModelSpec(name=name, signature_name=signature, version_label=label)
    if version is not None:
        made.version.value = version
    return made


def predict(model_spec=None, *, output_filter=(), **changes):
    inputs = {name: proto for name, proto in (INPUTS | changes).items() if proto is not DROP}
    return predict_pb2.PredictRequest(model_spec=model_spec or spec(), inputs=inputs, output_filter=output_filter)


def examples(*values):
    made = input_pb2.Input()
    for value in values:
        made.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return made


def classify(signature="retrieve", *, given=None):
    return classification_pb2.ClassificationRequest(model_spec=spec(signature=signature), input=given or examples(1.0))


def multi(*tasks, given=None):
    made = inference_pb2.MultiInferenceRequest(input=given or examples(1.0))
    for name, signature, method in tasks:
        made.tasks.add(model_spec=spec(name, signature=signature), method_name=method)
    return made


def metadata(*fields):
    return get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec(), metadata_field=fields)


ALL = "country,history_age_days,history_item_id,k"
WITHOUT_K = "country,history_age_days,history_item_id"
OF_GRPC = {
    # Which model: the same for every method.
    "no model spec": ("Predict", predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "empty name": ("Predict", predict(spec("")), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown model": (
        "Predict",
        predict(spec("shoes")),
        "NOT_FOUND",
        "Servable not found for request: Latest(shoes)",
    ),
    "unknown version": (
        "Predict",
        predict(spec(version=99)),
        "NOT_FOUND",
        "Servable not found for request: Specific(retriever, 99)",
    ),
    "unknown label": (
        "Predict",
        predict(spec(label="canary")),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    ),
    "unknown signature": (
        "Predict",
        predict(spec(signature="buy")),
        "FAILED_PRECONDITION",
        'Serving signature key "buy" not found.',
    ),
    # Which inputs and outputs.
    "missing input": (
        "Predict",
        predict(k=DROP),
        "INVALID_ARGUMENT",
        f"input size does not match signature: 3!=4 len({{{WITHOUT_K}}}) != len({{{ALL}}}). "
        "Sent extra: {}. Missing but required: {k}.",
    ),
    "extra input": (
        "Predict",
        predict(age=INPUTS["k"]),
        "INVALID_ARGUMENT",
        f"input size does not match signature: 5!=4 len({{age,{ALL}}}) != len({{{ALL}}}). "
        "Sent extra: {age}. Missing but required: {}.",
    ),
    "misnamed input": (
        "Predict",
        predict(k=DROP, top=INPUTS["k"]),
        "INVALID_ARGUMENT",
        "Signature input alias: k(feed name: retrieve_k:0) not found in request and no default value provided. "
        f"Inputs expected to be in the request {{{WITHOUT_K},top}}, or default input alias set: ",
    ),
    "unknown output": (
        "Predict",
        predict(output_filter=["prices"]),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: prices "
        "Outputs expected to be in the set {index_version,item_ids,model_version,scores}.",
    ),
    "output asked for twice": (
        "Predict",
        predict(output_filter=["scores", "scores"]),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: scores",
    ),
    # What is in an input.
    "wrong type": (
        "Predict",
        predict(k=tf.make_tensor_proto([3.0])),
        "INVALID_ARGUMENT",
        "Expects arg[3] to be int32 but float is provided (input k)",
    ),
    "unknown type": (
        "Predict",
        predict(k=tensor_pb2.TensorProto(dtype=99)),
        "INVALID_ARGUMENT",
        "Expects arg[3] to be int32 but DataType(99) is provided (input k)",
    ),
    "no type": ("Predict", predict(k=tensor_pb2.TensorProto()), "INVALID_ARGUMENT", "tensor parsing error: k"),
    "wrong rank": (
        "Predict",
        predict(history_item_id=INPUTS["country"]),
        "INVALID_ARGUMENT",
        "Input history_item_id must have shape (None, None). Received: (1,)",
    ),
    "too little content": (
        "Predict",
        predict(k=broken(tensor_content=b"abc")),
        "INVALID_ARGUMENT",
        "tensor parsing error: k",
    ),
    "huge shape": (
        "Predict",
        predict(k=one(2**40)),
        "INVALID_ARGUMENT",
        "Input k would take 4398046511104 bytes of memory, more than 67108864; send fewer rows at a time",
    ),
    "negative size": ("Predict", predict(k=one(-1)), "INVALID_ARGUMENT", "tensor parsing error: k"),
    "300 dimensions": ("Predict", predict(k=one(*[1] * 300)), "INVALID_ARGUMENT", "tensor parsing error: k"),
    "40 dimensions": (
        "Predict",
        predict(k=one(*[1] * 40)),
        "INVALID_ARGUMENT",
        f"Input k must have shape (None,). Received: ({', '.join(['1'] * 40)})",
    ),
    "a size of zero beside a huge one": (
        "Predict",
        predict(k=one(0, 2**62)),
        "INVALID_ARGUMENT",
        f"Input k would take {2**64} bytes of memory, more than 67108864; send fewer rows at a time",
    ),
    # Methods on signatures that are not made for them.
    "Classify on Predict": (
        "Classify",
        classify(),
        "INVALID_ARGUMENT",
        f"Expected classification signature method_name to be {CLASSIFY}. Was: {PREDICT}",
    ),
    "Classify on nothing": (
        "Classify",
        classify("buy"),
        "INVALID_ARGUMENT",
        "No signature was found with the name: buy",
    ),
    "Regress on Predict": (
        "Regress",
        regression_pb2.RegressionRequest(model_spec=spec(), input=examples(1.0)),
        "INVALID_ARGUMENT",
        f"Expected regression signature method_name to be {REGRESS}. Was: {PREDICT}",
    ),
    "MultiInference on Predict": (
        "MultiInference",
        multi(("retriever", "retrieve", CLASSIFY)),
        "INVALID_ARGUMENT",
        f"Expected classification signature method_name to be {CLASSIFY}. Was: {PREDICT}",
    ),
    "MultiInference by Predict": (
        "MultiInference",
        multi(("retriever", "retrieve", PREDICT)),
        "UNIMPLEMENTED",
        f"Unsupported signature method_name: {PREDICT}",
    ),
    "MultiInference on nothing": (
        "MultiInference",
        multi(("retriever", "buy", CLASSIFY)),
        "INVALID_ARGUMENT",
        "Requested signature not found in model graph: buy",
    ),
    "MultiInference without tasks": ("MultiInference", multi(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    # GetModelMetadata.
    "no metadata field": (
        "GetModelMetadata",
        metadata(),
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    "unknown metadata field": (
        "GetModelMetadata",
        metadata("weights"),
        "INVALID_ARGUMENT",
        "Metadata field weights is not supported",
    ),
}
NUMBERS_TASKS = (("numbers", "classify", CLASSIFY), ("numbers", "regress", REGRESS))
OF_GRPC_ON_NUMBERS = {
    "no examples": (
        "Regress",
        regression_pb2.RegressionRequest(model_spec=spec("numbers", signature="regress")),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
    "unknown method name": (
        "Predict",
        predict_pb2.PredictRequest(
            model_spec=spec("numbers", signature="odd"), inputs={"x": tf.make_tensor_proto([1.0])}
        ),
        "INTERNAL",
        f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. "
        "Was: tensorflow/serving/guess",
    ),
    "signature asked for twice": (
        "MultiInference",
        multi(NUMBERS_TASKS[0], NUMBERS_TASKS[0]),
        "INVALID_ARGUMENT",
        "Duplicate evaluation of signature: classify",
    ),
    "two models at once": (
        "MultiInference",
        multi(NUMBERS_TASKS[0], ("retriever", "regress", REGRESS)),
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    "regression of a classifier": (
        "MultiInference",
        multi(("numbers", "classify", REGRESS)),
        "INVALID_ARGUMENT",
        f"Expected regression signature method_name to be {REGRESS}. Was: {CLASSIFY}",
    ),
}


def refusal(server, method, request):
    with pytest.raises(grpc.RpcError) as caught:
        getattr(server.stub, method)(request, timeout=20)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize(("method", "request_", "code", "text"), OF_GRPC.values(), ids=OF_GRPC)
def test_grpc_refuses(retriever_server, method, request_, code, text):
    assert refusal(retriever_server, method, request_) == (code, text)


@pytest.mark.parametrize(("method", "request_", "code", "text"), OF_GRPC_ON_NUMBERS.values(), ids=OF_GRPC_ON_NUMBERS)
def test_grpc_refuses_of_numbers(numbers_server, method, request_, code, text):
    assert refusal(numbers_server, method, request_) == (code, text)


def test_error_of_an_operation_keeps_its_code(retriever_server, numbers_server):
    code, text = refusal(retriever_server, "Predict", predict(k=tf.make_tensor_proto([0])))
    assert code == "INVALID_ARGUMENT"
    assert "k must be positive" in text
    no_x = input_pb2.Input()
    no_x.example_list.examples.add()
    request = classification_pb2.ClassificationRequest(model_spec=spec("numbers", signature="classify"), input=no_x)
    code, text = refusal(numbers_server, "Classify", request)
    assert code == "INVALID_ARGUMENT"
    assert "Feature: x (data type: float) is required but could not be found" in text
