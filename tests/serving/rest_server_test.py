"""The REST API over real HTTP: answers in both forms, TF Serving's layout, limits, and the end."""

import base64
import gzip
import http.client
import json
import math
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families

METRICS = "/monitoring/prometheus/metrics"
LONG = {"country": "DE", "history_item_id": ["item-3", "item-5"], "history_age_days": [1.0, 20.0]}
NEW = {"country": "FR", "history_item_id": ["", ""], "history_age_days": [math.nan, math.nan]}
KNOWN = {"country": "FR"}


def ask(server, path, body=None):
    status, text = server.http("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
    assert status == 200, text
    return json.loads(text)


def test_rows_get_brute_force_answers(retriever_server, toy):
    instances = [user | {"k": 4} for user in (LONG, NEW)]
    body = {"signature_name": "retrieve", "instances": instances}
    answers = ask(retriever_server, "/v1/models/retriever:predict", body)["predictions"]
    for answer, user in zip(answers, (LONG, KNOWN), strict=True):
        item_ids, scores = toy.retrieve(user, version=1, k=4)
        assert (answer["item_ids"], answer["index_version"]) == (item_ids, "1")
        np.testing.assert_allclose(answer["scores"], scores, atol=1e-6)


def test_columns_get_brute_force_answers(retriever_server, toy):
    columns = {name: [LONG[name], NEW[name]] for name in LONG} | {"k": [4, 4]}
    body = {"signature_name": "retrieve", "inputs": columns}
    outputs = ask(retriever_server, "/v1/models/retriever/versions/1:predict", body)["outputs"]
    expected = [toy.retrieve(user, version=1, k=4) for user in (LONG, KNOWN)]
    assert outputs["item_ids"] == [item_ids for item_ids, _ in expected]
    assert outputs["index_version"] == ["1", "1"]
    np.testing.assert_allclose(outputs["scores"], [scores for _, scores in expected], atol=1e-6)


def test_users_without_history_are_asked_for_with_empty_lists(retriever_server, toy):
    body = {"instances": [{"country": "FR", "history_item_id": [], "history_age_days": [], "k": 2}]}
    answers = ask(retriever_server, "/v1/models/retriever:predict", body | {"signature_name": "retrieve"})
    assert answers["predictions"][0]["item_ids"] == toy.retrieve(KNOWN, version=1, k=2)[0]


def test_bytes_are_base64(retriever_server, toy):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"FR"]))
    example = tf.train.Example(features=tf.train.Features(feature={"country": feature})).SerializeToString()
    body = {"instances": [{"b64": base64.b64encode(example).decode()}]}
    (answer,) = ask(retriever_server, "/v1/models/retriever:predict", body)["predictions"]
    assert answer["item_ids"] == toy.retrieve(KNOWN, version=1, k=8)[0]


def test_answers_have_tf_servings_layout(numbers_server):
    # x / 2 + 2; float32 with six digits where they are exact, else nine; TF Serving's documentation shows these lines.
    _, text = numbers_server.http("POST", "/v1/models/numbers:predict", '{"instances": [1.0, 2.0, 5.0]}')
    assert text == '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
    _, text = numbers_server.http(
        "POST", "/v1/models/numbers:predict", '{"inputs": [1, 0.1234567, NaN, -Infinity, 2e8]}'
    )
    lines = ["2.5", "2.06172824", "NaN", "-Infinity", "1e+08"]
    assert text == '{\n    "outputs": [\n        ' + ",\n        ".join(lines) + "\n    ]\n}"


def test_types_and_shapes_are_kept(numbers_server):
    inputs = {"f32": 0.5, "f64": [0.1, 1e300], "i32": [[1], [2]], "i64": -(2**63), "u8": [], "f16": []}
    inputs |= {"text": ["größe", {"b64": "AAE="}], "flag": [True, False]}
    status, text = numbers_server.http(
        "POST", "/v1/models/numbers:predict", json.dumps({"signature_name": "echo", "inputs": inputs})
    )
    # What half floats are in JSON differs between versions of TF Serving: this one has none.
    assert (status, json.loads(text)) == (400, {"error": "Failed to write JSON value for tensor type: half"})
    body = {"signature_name": "echo_bytes", "inputs": ["größe", {"b64": "AAE="}]}
    assert ask(numbers_server, "/v1/models/numbers:predict", body) == {
        "outputs": [{"b64": base64.b64encode("größe".encode()).decode()}, {"b64": "AAE="}]
    }


def test_classify_and_regress(numbers_server):
    body = {"signature_name": "classify", "examples": [{"x": 0.25}, {"x": [1.0]}]}
    answer = ask(numbers_server, "/v1/models/numbers:classify", body)
    assert answer == {"results": [[["small", 0.25], ["large", 0.75]], [["small", 1.0], ["large", 0.0]]]}
    body = {"signature_name": "regress", "context": {"x": 4.0}, "examples": [{}, {"x": 6.0}]}
    assert ask(numbers_server, "/v1/models/numbers:regress", body) == {"results": [4.0, 5.0]}


def test_status_is_as_tf_serving_prints_it(numbers_server):
    _, text = numbers_server.http("GET", "/v1/models/numbers/versions/3")
    assert text == (
        '{\n "model_version_status": [\n  {\n   "version": "3",\n   "state": "AVAILABLE",\n'
        '   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


def test_metadata_describe_the_signatures(numbers_server):
    found = ask(numbers_server, "/v1/models/numbers/metadata")
    assert found["model_spec"] == {"name": "numbers", "signature_name": "", "version": "3"}
    definition = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert definition["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert definition["inputs"]["x"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


def test_a_connection_takes_many_requests(numbers_server):
    connection = http.client.HTTPConnection("127.0.0.1", numbers_server.rest.port, timeout=20)
    connection.connect()
    first_socket = connection.sock
    for status, path in [(200, "/v1/models/numbers"), (404, "/v1/models/shoes"), (200, "/v1/models/numbers?a=b")]:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is first_socket
    connection.close()


def raw_answer(server, *parts):
    with socket.create_connection(("127.0.0.1", server.rest.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        return connection.makefile("rb").read()


def test_large_body_is_refused_before_it_is_read(numbers_server):
    head = b"POST /v1/models/numbers:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n"
    started_s = time.monotonic()
    answers = (
        raw_answer(numbers_server, head + b"\r\n"),
        raw_answer(numbers_server, head + b"Expect: 100-continue\r\n\r\n"),
    )
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"the body must have at most 100000 bytes. Received: 100001" in answer
    whole = raw_answer(numbers_server, head + b"\r\n", b"x" * 100_001)
    assert whole.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - started_s < 15


def compressed_answer(server, body, encoding=b"gzip"):
    head = b"POST /v1/models/numbers:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: " + encoding
    return raw_answer(server, head + b"\r\nContent-Length: %d\r\n\r\n" % len(body), body)


def test_a_compressed_body_is_the_same_request(numbers_server):
    plain = json.dumps({"instances": [{"x": 1.5}, {"x": 2.5}]}).encode()
    answer = compressed_answer(numbers_server, gzip.compress(plain))
    assert answer.startswith(b"HTTP/1.1 200 ")
    expected = ask(numbers_server, "/v1/models/numbers:predict", json.loads(plain))
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == expected


@pytest.mark.parametrize(
    ("body", "encoding", "status", "text"),
    [
        (gzip.compress(b"{}" + b" " * 10**7), b"gzip", b"413", b"at most 100000 bytes, also when decompressed"),
        (gzip.compress(b"{}")[:-3], b"gzip", b"400", b"its end is missing"),
        (b"{}", b"gzip", b"400", b"the body is no gzip"),
        (b"{}", b"br", b"415", b"Content-Encoding must be gzip. Received: br"),
    ],
    ids=["grows too large", "cut", "no gzip", "another encoding"],
)
def test_bodies_that_cannot_be_decompressed_are_refused(numbers_server, body, encoding, status, text):
    answer = compressed_answer(numbers_server, body, encoding)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert text in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /v1/models/numbers:predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /v1/models/numbers:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /v1/models/numbers HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"\x16\x03\x01 what is this\r\n\r\n", b"400"),
        (b"BREW /v1/models/numbers HTTP/1.1\r\n\r\n", b"501"),
    ],
    ids=["negative length", "chunks", "long path", "many headers", "no HTTP", "unknown verb"],
)
def test_bad_http_is_refused_in_json(numbers_server, head, status):
    answer = raw_answer(numbers_server, head)
    first, _, rest = answer.partition(b"\r\n")
    assert status in first or b"HTTP/" not in first
    assert list(json.loads(rest.partition(b"\r\n\r\n")[2] or answer)) == ["error"]


def test_metrics_count_both_ways_in(numbers_server):
    def counted():
        status, text = numbers_server.http("GET", METRICS)
        assert status == 200
        families = text_string_to_metric_families(text)
        found = {}
        for sample in (sample for family in families for sample in family.samples):
            if sample.name == ":tensorflow:serving:request_count_total":
                found[tuple(sorted(sample.labels.values()))] = sample.value
        return found

    before = counted().get(("OK", "numbers"), 0)
    ask(numbers_server, "/v1/models/numbers:predict", {"instances": [1.0]})
    assert counted()["OK", "numbers"] == before + 1


@pytest.fixture
def start_in_process(retriever_server):
    started = []

    def start(**options):
        started.append(type(retriever_server)(retriever_server.base_path, "retriever", **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def count_to(server, limit):
    body = json.dumps({"signature_name": "count", "inputs": limit})
    return server.http("POST", "/v1/models/retriever:predict", body)


def test_time_for_an_answer_is_limited(start_in_process):
    server = start_in_process(timeout_s=0.1)
    status, text = count_to(server, 100_000)  # takes longer
    assert (status, json.loads(text)) == (504, {"error": "Timed out waiting for notification"})


def test_requests_beyond_the_limit_are_refused(start_in_process):
    server = start_in_process(max_requests=1)
    refused = (429, '{\n    "error": "more than 1 requests at a time; try again later"\n}')
    answers, deadline_s = [], time.monotonic() + 20

    def ask_until_answered(limit):
        while (answer := count_to(server, limit)) == refused and time.monotonic() < deadline_s:
            time.sleep(0.001)
        answers.append(answer)

    first = threading.Thread(target=ask_until_answered, args=(60_000,))
    first.start()
    outcomes = {count_to(server, 1)}
    while first.is_alive():
        outcomes.add(count_to(server, 1))
    outcomes.add(count_to(server, 1))
    assert outcomes == {(200, '{\n    "outputs": 1\n}'), refused}
    assert answers == [(200, '{\n    "outputs": 60000\n}')]


def test_running_requests_are_drained_and_idle_connections_closed(start_in_process):
    def num_running():
        return sum(thread.name.startswith("rest-request") for thread in threading.enumerate())

    server = start_in_process()
    answers, num_before, deadline_s = [], num_running(), time.monotonic() + 20
    asking = threading.Thread(target=lambda: answers.append(count_to(server, 60_000)))
    idle = socket.create_connection(("127.0.0.1", server.rest.port))
    asking.start()
    while num_running() == num_before and time.monotonic() < deadline_s:
        time.sleep(0.001)
    assert answers == []
    server.stop()
    asking.join()
    assert answers == [(200, '{\n    "outputs": 60000\n}')]
    idle.settimeout(5)
    assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        count_to(server, 3)
