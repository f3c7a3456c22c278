"""A real server process through the real TF Serving stubs: answers, bad requests, versions that come, fail and go."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.client import RetrieverClient

ROOT = Path(__file__).parents[2]
USER = {"country": "DE", "history_item_id": ["item-3", "item-5"], "history_age_days": [1.0, 20.0]}
SLOW, ENDLESS = 80_000, 2**31 - 1
"""What to count to, so that it takes part of a second, and an hour or more."""
INPUTS = {
    "country": tf.constant(["DE"]),
    "history_item_id": tf.constant([["item-3", "item-5"]]),
    "history_age_days": tf.constant([[1.0, 20.0]]),
    "k": tf.constant([3]),
}


@pytest.fixture(scope="module")
def channel(model_server):
    with grpc.insecure_channel(model_server.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict_request(inputs=INPUTS, *, name="retriever", signature="retrieve", version=None, output_filter=()):
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    return caught.value.code().name, caught.value.details()


def test_answer_is_brute_force_in_typed_fields(prediction, toy):
    response = prediction.Predict(predict_request(), timeout=10)
    item_ids, scores = toy.retrieve(USER, version=1, k=3)
    assert [item_id.decode() for item_id in response.outputs["item_ids"].string_val] == item_ids
    np.testing.assert_allclose(response.outputs["scores"].float_val, scores, atol=1e-6)
    assert [dim.size for dim in response.outputs["scores"].tensor_shape.dim] == [1, 3]
    assert list(response.outputs["index_version"].string_val) == [b"1"]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("retriever", "retrieve", 1)


def test_default_signature_takes_examples(prediction, toy):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"FR"]))
    example = tf.train.Example(features=tf.train.Features(feature={"country": feature}))
    examples = tf.constant([example.SerializeToString(), b""])
    response = prediction.Predict(predict_request({"examples": examples}, signature=""), timeout=10)
    assert response.model_spec.signature_name == "serving_default"
    expected = [toy.retrieve(user, version=1, k=8)[0] for user in ({"country": "FR"}, {})]
    answered = np.reshape([item_id.decode() for item_id in response.outputs["item_ids"].string_val], [2, 8])
    assert answered.tolist() == expected


def test_output_filter_is_honoured(prediction):
    response = prediction.Predict(predict_request(output_filter=["scores"]), timeout=10)
    assert list(response.outputs) == ["scores"]


def test_request_without_a_model_spec_is_refused(prediction, models):
    expected = ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert refusal(prediction.Predict, predict_pb2.PredictRequest()) == expected
    assert refusal(models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()) == expected


def test_metadata_are_the_signatures(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "retriever"
    response = prediction.GetModelMetadata(request, timeout=10)
    assert response.model_spec.version.value == 1
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def["retrieve"].inputs
    assert {name: (info.dtype, len(info.tensor_shape.dim)) for name, info in inputs.items()} == {
        "country": (tf.string.as_datatype_enum, 1),
        "history_item_id": (tf.string.as_datatype_enum, 2),
        "history_age_days": (tf.float32.as_datatype_enum, 2),
        "k": (tf.int32.as_datatype_enum, 1),
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], "Metadata field weights is not supported"),
    ],
)
def test_bad_metadata_request_is_refused(prediction, fields, text):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "retriever"
    assert refusal(prediction.GetModelMetadata, request) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("name", "version", "text"),
    [
        ("other", None, "Could not find any versions of model other"),
        ("retriever", 99, "Could not find version 99 of model retriever"),
    ],
)
def test_status_of_the_unknown_is_not_found(models, name, version, text):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version:
        request.model_spec.version.value = version
    assert refusal(models.GetModelStatus, request) == ("NOT_FOUND", text)


def test_new_version_takes_over_without_a_failed_request_and_falls_back_when_removed(model_server, toy):
    answers, failures, done = [], [], threading.Event()

    def hammer():
        with RetrieverClient(model_server.address, max_attempts=1) as client:
            while not done.is_set():
                try:
                    answers.extend(client.retrieve([USER], k=3))
                except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                    failures.append(error)

    def wait_for_more_answers():
        """Two of each thread: the first may have been asked for before."""
        enough, deadline = len(answers) + 4, time.monotonic() + 60
        while len(answers) < enough and not failures and time.monotonic() < deadline:
            time.sleep(0.05)

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        model_server.publish(toy, 2)
        model_server.wait_for_line("^Serving retriever version 2 at ")
        wait_for_more_answers()
        model_server.remove(2)
        model_server.wait_for_line("^Serving retriever version 1 at ")
        wait_for_more_answers()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    order = [answer.index_version for answer in answers]
    assert (order[0], order[-1], set(order)) == ("1", "1", {"1", "2"})
    for version in ("1", "2"):
        expected, _ = toy.retrieve(USER, version=int(version), k=3)
        assert {tuple(answer.item_ids) for answer in answers if answer.index_version == version} == {tuple(expected)}


def test_broken_version_replaces_nothing_and_its_status_says_why(model_server, toy):
    broken = toy.save(model_server.base_path / ".tmp-3", 3)
    (variables,) = broken.glob("variables/*.data-*")
    variables.write_bytes(variables.read_bytes()[:10])
    broken.rename(model_server.base_path / "3")
    model_server.wait_for_line("^retriever version 3 failed to load and is not served: ")
    with RetrieverClient(model_server.address) as client:
        assert client.retrieve([USER], k=1)[0].index_version == "1"
        status = {status.version: status for status in client.model_status()}
    model_server.remove(3)
    assert (status[1].state, status[1].error_code, status[1].error) == ("AVAILABLE", 0, "")
    assert status[3].state == "END"
    expected = "OutOfRangeError: Graph execution error: Read less bytes than requested"
    assert status[3].error.startswith(f"cannot load {model_server.base_path / '3'}: {expected}")
    assert status[3].error_code == grpc.StatusCode.OUT_OF_RANGE.value[0]


def test_server_waits_for_a_version_and_ends_whatever_is_running(waiting_server, toy):
    server = waiting_server
    address = server.wait_for_line(r"^Waiting at (localhost:\d+): no version of shop below ").group(1)
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        expected = ("NOT_FOUND", "Servable not found for request: Latest(shop)")
        assert refusal(stub.Predict, predict_request(name="shop")) == expected
        server.publish(toy, 5)
        server.wait_for_line(f"^Serving shop version 5 at {address}$")
        assert stub.Predict(predict_request(name="shop", version=5), timeout=10).model_spec.version.value == 5
        next_version = toy.save(server.base_path / ".tmp-6", 6)
        counts = [predict_request({"limit": limit}, name="shop", signature="count") for limit in (SLOW, ENDLESS)]
        slow, endless = (stub.Predict.future(count) for count in counts)
        next_version.rename(server.base_path / "6")
        time.sleep(0.15)  # it has begun to load version 6
        assert not slow.done()
        signalled_s = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - signalled_s < 16  # 10 s to drain, ended by force after 15
        assert list(slow.result().outputs["counted"].int_val) == [SLOW]
        assert endless.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("after_s", [0.0, 1.5])  # in the imports, of which TensorFlow's takes seconds
def test_a_signal_while_it_starts_ends_it_cleanly(start_server, tmp_path, after_s):
    server = start_server(tmp_path)
    server.wait_until_it_watches()
    time.sleep(after_s)
    assert server.stop(signal.SIGTERM) == 0


def test_unknown_flag_is_refused_with_the_known_ones():
    command = [sys.executable, "-m", "serving.model_server", "--model_base_path=.", "--prot=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "unknown flag --prot=1" in done.stderr
    assert "--port INT" in done.stderr
    assert "--model_base_path" in done.stderr
