"""Merged requests against the same requests alone and against brute force, on a model whose runs are counted."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving import saved_model
from serving.batching import batched
from serving.batching_parameters import BatchingParameters
from serving.grpc_server import serve
from serving.model_requests import RequestError
from serving.saved_model import ServedModel
from serving.server_flags import ServerFlags
from serving.shutdown import Shutdown

LONG_S = 60.0
"""How long a batch waits at most in tests in which it gets full, so that no test waits that long."""


class CountedModel(ServedModel):
    """A model that notes how many rows each run had, and can be made to wait in one."""

    def __init__(self, model):
        super().__init__(model.signature_defs, model.calls)
        self.runs = []
        self.may_run = threading.Event()
        self.may_run.set()

    def run(self, name, inputs):
        value = next(iter(inputs.values()))
        self.runs.append(len(value) if value.ndim else 1)
        assert self.may_run.wait(LONG_S)
        return super().run(name, inputs)


@pytest.fixture(scope="module")
def path(toy, tmp_path_factory):
    return toy.save(tmp_path_factory.mktemp("batching") / "1", 1)


@pytest.fixture(scope="module")
def alone(path):
    return saved_model.load(path)


@pytest.fixture
def model(alone):
    return CountedModel(alone)


def batched_model(model, path, **parameters):
    return batched(lambda _: model, BatchingParameters(**parameters))(path)


def user(number, toy):
    """Users with and without a country, with histories of 0 to 3 items."""
    history = [toy.item_ids[(number * 3 + position) % 8] for position in range(number % 4)]
    features = {"history_item_id": history, "history_age_days": [1.0 + number] * len(history)}
    return features | ({"country": ("DE", "FR")[number % 2]} if number % 3 else {})


def inputs(users, *, k, width):
    def padded(name, missing):
        return [(found[name] + [missing] * width)[:width] for found in users]

    return {
        "country": np.array([found.get("country", "").encode() for found in users], object),
        "history_item_id": np.array(padded("history_item_id", ""), object).reshape(len(users), width),
        "history_age_days": np.array(padded("history_age_days", float("nan")), np.float32).reshape(len(users), width),
        "k": np.array([k] * len(users), np.int32),
    }


def run_together(model, requests, *, name="retrieve"):
    """The answer to each request, or its error, all of them sent at once."""
    barrier = threading.Barrier(len(requests))

    def run(request):
        barrier.wait()
        try:
            return model.run(name, request)
        except (RequestError, tf.errors.OpError) as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(run, requests))


def check_answer(answer, request, alone, *, k):
    """The first k columns are bit for bit the item ids that the request gets alone, with the same scores."""
    expected = alone.run("retrieve", request)
    np.testing.assert_array_equal(answer["item_ids"][:, :k], expected["item_ids"])
    np.testing.assert_allclose(answer["scores"][:, :k], expected["scores"], atol=1e-6)
    for name in ("model_version", "index_version"):
        np.testing.assert_array_equal(answer[name], expected[name])


@pytest.mark.parametrize("timeout_micros", [0, 20_000])
def test_each_thread_gets_the_answer_that_it_gets_alone(model, alone, path, toy, timeout_micros):
    batched_toy = batched_model(model, path, batch_timeout_micros=timeout_micros, num_batch_threads=1)
    users = [[user(number, toy), user(number + 7, toy)][: 1 + number % 2] for number in range(48)]
    ks = [1 + number % 8 for number in range(48)]
    requests = [inputs(found, k=k, width=3) for found, k in zip(users, ks, strict=True)]
    answers = run_together(batched_toy, requests)
    assert len(model.runs) < len(requests)
    assert sum(model.runs) == sum(len(found) for found in users)
    for found, answer, request, k in zip(users, answers, requests, ks, strict=True):
        check_answer(answer, request, alone, k=k)
        for row, of_row in enumerate(found):
            item_ids, scores = toy.retrieve(of_row, version=1, k=k)
            assert [item_id.decode() for item_id in answer["item_ids"][row, :k]] == item_ids
            np.testing.assert_allclose(answer["scores"][row, :k], scores, atol=1e-6)


def test_full_batch_does_not_wait(model, path, toy):
    full = batched_model(model, path, max_batch_size=4, batch_timeout_micros=int(LONG_S * 1e6))
    start_s = time.monotonic()
    run_together(full, [inputs([user(number, toy)], k=3, width=3) for number in range(4)])
    assert time.monotonic() - start_s < LONG_S / 2
    assert model.runs == [4]


def test_lone_request_waits_no_longer_than_the_timeout(model, alone, path, toy):
    waiting = batched_model(model, path, batch_timeout_micros=200_000)
    request = inputs([user(1, toy)], k=3, width=3)
    start_s = time.monotonic()
    answer = waiting.run("retrieve", request)
    assert 0.2 <= time.monotonic() - start_s < 10
    check_answer(answer, request, alone, k=3)


def test_requests_that_come_during_a_run_share_the_next(model, path, toy):
    busy = batched_model(model, path, num_batch_threads=1)
    model.may_run.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(busy.run, "retrieve", inputs([user(0, toy)], k=3, width=3))
        wait_until(lambda: model.runs == [1])
        others = [pool.submit(busy.run, "retrieve", inputs([user(n, toy)], k=3, width=3)) for n in range(1, 6)]
        wait_until(lambda: num_waiting(busy) == [5])
        model.may_run.set()
        assert all("scores" in future.result(LONG_S) for future in [first, *others])
    assert model.runs == [1, 5]


def test_full_queue_is_unavailable(model, path, toy):
    busy = batched_model(model, path, num_batch_threads=1, max_batch_size=2, max_enqueued_batches=1)
    model.may_run.clear()
    requests = [inputs([user(number, toy)], k=3, width=3) for number in range(4)]
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(busy.run, "retrieve", requests[0])]
        wait_until(lambda: model.runs == [1])
        running += [pool.submit(busy.run, "retrieve", request) for request in requests[1:3]]
        wait_until(lambda: num_waiting(busy) == [2])
        with pytest.raises(RequestError) as caught:
            busy.run("retrieve", requests[3])
        model.may_run.set()
        assert all("scores" in future.result(LONG_S) for future in running)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.text == (
        "The batch scheduling queue to which this task was submitted is full; "
        "currently 1 batches enqueued and max_enqueued_batches is 1"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Task size 3 is larger than maximum input batch size 2"),
        ({"k": np.array([3], np.int32)}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_what_fits_no_batch_is_refused(model, path, toy, changes, text):
    small = batched_model(model, path, max_batch_size=2)
    with pytest.raises(RequestError) as caught:
        small.run("retrieve", inputs([user(number, toy) for number in range(3)], k=3, width=3) | changes)
    assert (caught.value.code, caught.value.text) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    assert model.runs == []


def test_bad_request_fails_alone(model, alone, path, toy):
    batched_toy = batched_model(model, path, max_batch_size=6, batch_timeout_micros=int(LONG_S * 1e6))
    ks = [3, 5, 0, 1, 8, 2]
    requests = [inputs([user(number, toy)], k=k, width=3) for number, k in enumerate(ks)]
    answers = run_together(batched_toy, requests)
    assert model.runs[0] == 6
    assert isinstance(answers[2], tf.errors.InvalidArgumentError)
    assert "k must be positive" in answers[2].message
    for position in (0, 1, 3, 4, 5):
        check_answer(answers[position], requests[position], alone, k=ks[position])


def test_histories_of_different_widths_run_apart(model, alone, path, toy):
    batched_toy = batched_model(model, path, batch_timeout_micros=50_000)
    requests = [inputs([user(3, toy)], k=4, width=1 + number % 3) for number in range(12)]
    for answer, request in zip(run_together(batched_toy, requests), requests, strict=True):
        check_answer(answer, request, alone, k=4)
    assert 3 <= len(model.runs) < 12


def test_histories_of_different_widths_can_be_padded_with_missing_values(model, alone, path, toy):
    padded = batched_model(
        model, path, max_batch_size=12, batch_timeout_micros=int(LONG_S * 1e6), pad_variable_length_inputs=True
    )
    requests = [inputs([user(3, toy)], k=4, width=4 + number % 4) for number in range(12)]
    for answer, request in zip(run_together(padded, requests), requests, strict=True):
        check_answer(answer, request, alone, k=4)
    assert model.runs == [12]


def test_batch_is_padded_up_to_an_allowed_size(model, alone, path, toy):
    padded = batched_model(
        model, path, max_batch_size=8, allowed_batch_sizes=(4, 8), batch_timeout_micros=300_000, num_batch_threads=1
    )
    requests = [inputs([user(number, toy)], k=2, width=3) for number in range(3)]
    answers = run_together(padded, requests)
    for answer, request in zip(answers, requests, strict=True):
        check_answer(answer, request, alone, k=2)
        assert answer["scores"].shape == (1, 2)
    assert set(model.runs) == {4}


def test_signature_without_a_batch_dimension_is_not_merged(model, path):
    batched_toy = batched_model(model, path, batch_timeout_micros=int(LONG_S * 1e6))
    answers = run_together(batched_toy, [{"limit": np.array(limit, np.int32)} for limit in range(4)], name="count")
    assert [int(answer["counted"]) for answer in answers] == [0, 1, 2, 3]
    assert len(model.runs) == 4


def test_batch_of_no_rows_is_answered(model, path, toy):
    batched_toy = batched_model(model, path, max_batch_size=4, allowed_batch_sizes=(4,))
    empty = {name: value[:0] for name, value in inputs([user(0, toy)], k=3, width=3).items() if name != "k"}
    assert batched_toy.run("embed_query", empty)["embedding"].shape == (0, toy.dim)


def test_no_thread_outlives_its_request(model, path, toy):
    before = threading.active_count()
    batched_toy = batched_model(model, path, batch_timeout_micros=1000)
    run_together(batched_toy, [inputs([user(number, toy)], k=3, width=3) for number in range(16)])
    assert threading.active_count() == before


@pytest.mark.parametrize("flag", ["batching_parameters_file", "ssl_config_file"])
def test_server_does_not_start_with_a_wrong_file(tmp_path, capsys, flag):
    (tmp_path / "wrong").write_text("max_batch: 3")
    flags = ServerFlags(model_base_path=tmp_path, enable_batching=True, **{flag: tmp_path / "wrong"})
    assert serve(flags, Shutdown(limit_s=1), drain_s=1) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"cannot serve: {tmp_path / 'wrong'}, line 1, column 1 is not a ")
    assert 'no field named "max_batch"' in error


def wait_until(condition):
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def num_waiting(model):
    """Rows of each waiting batch of `retrieve`."""
    waiting = model._queues["retrieve"]._waiting
    return [batch.num_rows() for batches in list(waiting.values()) for batch in batches]
