"""A server with TLS, batching and limits on, under requests that are good, too many, too large and mangled."""

import ctypes
import functools
import os
from collections import Counter

import grpc
import pytest
import tensorflow as tf
from certificates import Authority
from certificates import ssl_config
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from mangled_messages import mangled_bytes
from mangled_messages import mangled_tensors
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import regression_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
REQUESTS = {
    PREDICT: predict_pb2.PredictRequest,
    METADATA: get_model_metadata_pb2.GetModelMetadataRequest,
    STATUS: get_model_status_pb2.GetModelStatusRequest,
    "/tensorflow.serving.PredictionService/Classify": classification_pb2.ClassificationRequest,
    "/tensorflow.serving.PredictionService/Regress": regression_pb2.RegressionRequest,
    "/tensorflow.serving.PredictionService/MultiInference": inference_pb2.MultiInferenceRequest,
}
PROPER = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}
MAX_REQUESTS = 8
MAX_BYTES = 2**20
IN_OPEN = 0x20  # of inotify(7)
# The same messages in every run; no files.
fuzzed = functools.partial(settings, derandomize=True, database=None, deadline=None)
USER = {"country": "DE", "history_item_id": ["item-3", "item-5"], "history_age_days": [1.0, 20.0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def address_and_root(start_server, toy, folder):
    authority = Authority("ours")
    key, cert = authority.issue("server")
    (folder / "ssl").write_text(ssl_config(server_key=key, server_cert=cert))
    (folder / "batching").write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 100 }")
    (folder / "models").mkdir()
    server = start_server(
        folder / "models",
        f"--ssl_config_file={folder / 'ssl'}",
        "--enable_batching",
        f"--batching_parameters_file={folder / 'batching'}",
        f"--max_concurrent_requests={MAX_REQUESTS}",
        f"--max_request_bytes={MAX_BYTES}",
        "--grpc_max_threads=16",
    )
    server.publish(toy, 1)
    toy.save(folder / "secret" / "1", 1)  # beside the base path: what a path in a model's name would reach
    return server.wait_for_line(r"^Serving retriever version 1 at (\S+)$").group(1), authority.cert


@pytest.fixture(scope="module")
def call(address_and_root):
    """Sends the bytes of a request and returns the call."""
    address, root = address_and_root
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(root.encode())) as channel:
        yield lambda method, message: channel.unary_unary(method).future(message, timeout=20)


def predict_request(inputs, *, signature="retrieve", name="retriever"):
    request = predict_pb2.PredictRequest(model_spec={"name": name, "signature_name": signature})
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def good_request(**changes):
    inputs = {
        "country": tf.constant(["DE"]),
        "history_item_id": tf.constant([USER["history_item_id"]]),
        "history_age_days": tf.constant([USER["history_age_days"]]),
        "k": tf.constant([3]),
    }
    return predict_request(inputs | changes)


def check_still_answers(call, toy):
    response = predict_pb2.PredictResponse.FromString(call(PREDICT, good_request().SerializeToString()).result())
    item_ids, _ = toy.retrieve(USER, version=1, k=3)
    assert [item_id.decode() for item_id in response.outputs["item_ids"].string_val] == item_ids


def outcome(future):
    code = future.code().name  # waits
    return code, "" if code == "OK" else future.details()


def check_status(call, method, message):
    """Fails unless the message is answered with a status that it may have; returns that."""
    code, text = outcome(call(method, message))
    assert code in PROPER or (code == "INTERNAL" and not is_decodable(method, message)), (method, code, text)
    return code


def is_decodable(method, message):
    """gRPC answers bytes that are no such message with INTERNAL, in TF Serving's server as in this one."""
    try:
        REQUESTS[method].FromString(message)
    except DecodeError:
        return False
    return True


def corpus():
    embed = {name: value for name, value in good_request().inputs.items() if name != "k"}
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    status = get_model_status_pb2.GetModelStatusRequest()
    classify = classification_pb2.ClassificationRequest()
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"FR"]))
    example = tf.train.Example(features=tf.train.Features(feature={"country": feature}))
    classify.input.example_list.examples.append(example)
    for request in (metadata, status, classify):
        request.model_spec.name = "retriever"
        request.model_spec.version.value = 1
    embed_request = predict_pb2.PredictRequest(model_spec={"name": "retriever", "signature_name": "embed_query"})
    for name, value in embed.items():
        embed_request.inputs[name].CopyFrom(value)
    examples = predict_request({"examples": tf.constant([example.SerializeToString(), b""])}, signature="")
    messages = {method: [classify.SerializeToString()] for method in REQUESTS}
    messages[PREDICT] = [request.SerializeToString() for request in (good_request(), embed_request, examples)]
    return messages | {METADATA: [metadata.SerializeToString()], STATUS: [status.SerializeToString()]}


def test_plain_text_client_is_refused(address_and_root):
    with grpc.insecure_channel(address_and_root[0]) as channel:
        future = channel.unary_unary(PREDICT).future(good_request().SerializeToString(), timeout=5)
        assert outcome(future)[0] == "UNAVAILABLE"


def test_request_larger_than_a_batch_is_refused(call):
    rows = {name: tf.repeat(tf.make_ndarray(value), 5, axis=0) for name, value in good_request().inputs.items()}
    future = call(PREDICT, predict_request(rows).SerializeToString())
    assert outcome(future) == ("INVALID_ARGUMENT", "Task size 5 is larger than maximum input batch size 4")


def test_request_of_too_many_bytes_is_refused(call, toy):
    future = call(PREDICT, good_request(country=tf.constant(["x" * MAX_BYTES])).SerializeToString())
    code, text = outcome(future)
    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in text
    check_still_answers(call, toy)


def test_shape_that_asks_for_terabytes_is_refused(call, toy):
    request = good_request()
    request.inputs["country"].tensor_shape.dim[0].size = 2**40
    future = call(PREDICT, request.SerializeToString())
    assert outcome(future) == (
        "INVALID_ARGUMENT",
        f"Input country would take {24 * 2**40} bytes of memory, more than {2**26}; send fewer rows at a time",
    )
    check_still_answers(call, toy)


def test_error_that_quotes_bytes_of_the_request_is_handed_on(call, toy):
    request = predict_request({"examples": tf.constant([b"\xc0\xff"])}, signature="")
    code, text = outcome(call(PREDICT, request.SerializeToString()))
    assert code == "INVALID_ARGUMENT"
    assert "Could not parse example input" in text
    check_still_answers(call, toy)


def test_requests_beyond_the_limit_are_refused_and_the_others_answered(call, toy):
    slow = predict_request({"limit": tf.constant(15_000)}, signature="count").SerializeToString()
    outcomes = [outcome(future) for future in [call(PREDICT, slow) for _ in range(2 * MAX_REQUESTS)]]
    counts = Counter(code for code, _ in outcomes)
    assert set(counts) == {"OK", "RESOURCE_EXHAUSTED"}
    assert counts["OK"] >= MAX_REQUESTS
    check_still_answers(call, toy)


@pytest.fixture
def watch():
    """Watches a folder; gives a function that says whether anybody opened it or a file in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    assert watcher >= 0

    def was_opened():
        try:
            return bool(os.read(watcher, 4096))
        except BlockingIOError:
            return False

    def watch(folder):
        assert libc.inotify_add_watch(watcher, bytes(folder), IN_OPEN) >= 0
        return was_opened

    yield watch
    os.close(watcher)


@pytest.mark.parametrize(
    "trick", ["../secret", "retriever/../../secret", "{folder}/secret", "retriever/1", "..", "/", "%2e%2e"]
)
def test_path_in_a_model_name_is_only_an_unknown_name(call, folder, watch, trick):
    was_opened = watch(folder / "secret")
    name = trick.format(folder=folder)
    request = good_request()
    request.model_spec.name = name
    unknown = ("NOT_FOUND", f"Servable not found for request: Latest({name})")
    assert outcome(call(PREDICT, request.SerializeToString())) == unknown
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": name})
    metadata.metadata_field.append("signature_def")
    assert outcome(call(METADATA, metadata.SerializeToString())) == unknown
    status = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name}).SerializeToString()
    assert outcome(call(STATUS, status)) == ("NOT_FOUND", f"Could not find any versions of model {name}")
    assert not was_opened()
    os.listdir(folder / "secret")
    assert was_opened()  # the watch sees it


def test_mangled_bytes_get_a_proper_status(call, toy):
    counts, messages = Counter(), [(method, message) for method, all_ in corpus().items() for message in all_]

    @fuzzed(max_examples=1000)
    @given(st.sampled_from(messages), st.randoms(use_true_random=False))
    def check(sent, generator):
        method, message = sent
        counts[check_status(call, method, mangled_bytes(message, generator))] += 1

    check()
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"} <= set(counts)
    check_still_answers(call, toy)


def test_mangled_tensors_get_a_proper_status(call, toy):
    counts, request = Counter(), good_request()

    @fuzzed(max_examples=500)
    @given(st.randoms(use_true_random=False))
    def check(generator):
        counts[check_status(call, PREDICT, mangled_tensors(request, generator))] += 1

    check()
    assert counts["OK"] > 0
    assert counts["INVALID_ARGUMENT"] > 250
    check_still_answers(call, toy)
