"""Both clients on a real network: several servers, failures, deadlines, metadata, compression.

Requests pass through relays: gRPC servers that hand them on to the model server and take note of them.
"""

import contextlib
import http.server
import socket
import threading
import time

import grpc
import pytest

from serving.client import RetrieverError

USERS = [{"country": "FR"}]
K = 3
# In a fixed order, so that several test processes collect the same.
NOT_TRIED_AGAIN = [code for code in grpc.StatusCode if code.name not in ("OK", "UNAVAILABLE")]


@pytest.fixture(scope="module")
def expected(toy):
    return toy.retrieve(USERS[0], version=1, k=K)[0]


def _target(*relays):
    return "ipv4:" + ",".join(relay.address for relay in relays)


@pytest.mark.parametrize(("round_robin", "expected_counts"), [(True, [5, 5]), (False, [0, 10])])
def test_requests_take_turns_between_servers_if_asked_to(
    start_relay, run_steps, expected, round_robin, expected_counts
):
    relays = [start_relay(), start_relay()]

    async def ten_when_connected(client, ask):
        deadline_s = time.monotonic() + 30
        while round_robin and not all(relay.num_seen() for relay in relays) and time.monotonic() < deadline_s:
            await ask(client.retrieve(USERS, k=K))
        before = [relay.num_seen() for relay in relays]
        answers = [(await ask(client.retrieve(USERS, k=K)))[0].item_ids for _ in range(10)]
        assert answers == [expected] * 10
        return sorted(relay.num_seen() - seen for relay, seen in zip(relays, before, strict=True))

    assert run_steps(ten_when_connected, _target(*relays), round_robin=round_robin) == expected_counts


def test_a_server_that_is_gone_is_passed_over(start_relay, retrieve, expected):
    gone, there = start_relay(), start_relay()
    gone.stop()
    for round_robin in (True, False):
        assert retrieve(_target(gone, there), USERS, round_robin=round_robin)[0].item_ids == expected


def test_a_name_is_resolved(relay, retrieve, expected):
    assert retrieve(f"dns:///localhost:{relay.port}", USERS, round_robin=True)[0].item_ids == expected


def test_one_connection_serves_all_calls(relay, run_steps):
    async def many(client, ask):
        for _ in range(10):
            await ask(client.retrieve(USERS, k=K))
        await ask(client.model_status())

    run_steps(many, relay.address)
    assert len(relay.seen) == 12  # the signatures once
    assert len({seen.peer for seen in relay.seen}) == 1


# A request of 500,000 bytes is more than gRPC keeps for another attempt by default.
@pytest.mark.parametrize("users", [USERS, [{"country": "x" * 500_000}]], ids=["small", "large"])
def test_unavailable_is_tried_again(relay, retrieve, toy, users):
    retrieve(relay.address, users)
    relay.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    start_s = time.monotonic()
    (answer,) = retrieve(relay.address, users)
    assert answer.item_ids == toy.retrieve(users[0], version=1, k=K)[0]
    # Pauses of 0.1 and 0.2 s, each a fifth shorter or longer at most.
    assert 0.23 <= time.monotonic() - start_s < 2


def test_attempts_are_bounded(relay, retrieve):
    relay.failures = [grpc.StatusCode.UNAVAILABLE] * 10
    with pytest.raises(RetrieverError, match=r"^UNAVAILABLE: told to fail") as caught:
        retrieve(relay.address, USERS, max_attempts=2)
    assert (caught.value.code, len(relay.seen)) == ("UNAVAILABLE", 2)


@pytest.mark.parametrize("code", NOT_TRIED_AGAIN)
def test_no_other_code_is_tried_again(relay, retrieve, code):
    relay.failures = [code]
    with pytest.raises(RetrieverError) as caught:
        retrieve(relay.address, USERS)
    assert (caught.value.code, caught.value.text, len(relay.seen)) == (code.name, "told to fail", 1)


def test_late_answer_is_an_error_and_the_next_call_may_wait_longer(relay, run_steps, expected):
    async def late_then_patient(client, ask):
        await ask(client.retrieve(USERS, k=K, timeout_s=5))
        relay.delay_s = 0.3
        start_s = time.monotonic()
        with pytest.raises(RetrieverError, match=r"in 0\.1 s, retries included: .*raise timeout_s$") as caught:
            await ask(client.retrieve(USERS, k=K))
        assert caught.value.code == "DEADLINE_EXCEEDED"
        assert 0.1 <= time.monotonic() - start_s < 0.3
        return (await ask(client.retrieve(USERS, k=K, timeout_s=5)))[0].item_ids

    assert run_steps(late_then_patient, relay.address, timeout_s=0.1) == expected


def test_deadline_holds_for_all_batches_together(relay, retrieve):
    relay.delay_s = 0.1
    with pytest.raises(RetrieverError, match=r"^DEADLINE_EXCEEDED: .* in 0\.25 s, "):
        retrieve(relay.address, USERS * 10, max_batch_size=1, timeout_s=0.25)
    assert 1 <= relay.num_seen() <= 2


def test_client_survives_a_server_that_goes_away_and_comes_back(start_relay, run_steps, expected):
    first = start_relay()

    async def before_between_and_after(client, ask):
        await ask(client.retrieve(USERS, k=K))
        first.stop()
        with pytest.raises(RetrieverError, match=r"^UNAVAILABLE: .* start it with python -m"):
            await ask(client.retrieve(USERS, k=K))
        start_relay(port=first.port)
        return (await ask(client.retrieve(USERS, k=K)))[0].item_ids

    assert run_steps(before_between_and_after, first.address) == expected


def test_rest_port_is_recognized(retrieve):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(RetrieverError, match=r"^UNAVAILABLE: .* is it the REST port \(8501\)\? gRPC's is 8500$"):
            retrieve(f"127.0.0.1:{server.server_port}", USERS, max_attempts=1)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_metadata_of_client_and_call_are_sent(relay, run_steps):
    async def twice(client, ask):
        await ask(client.retrieve(USERS, k=K, metadata={"authorization": "Bearer two", "x-trace": "7"}))
        await ask(client.embed_query(USERS))

    run_steps(twice, relay.address, metadata={"authorization": "Bearer one"})
    sent = [(seen.metadata.get("authorization"), seen.metadata.get("x-trace")) for seen in relay.seen]
    assert sent == [("Bearer two", "7")] * 2 + [("Bearer one", None)]


def _pump(source, sink, counts):
    with contextlib.suppress(OSError):  # one side has hung up
        while data := source.recv(65536):
            counts.append(len(data))
            sink.sendall(data)


@pytest.fixture
def byte_counter(relay):
    """The port of a TCP forwarder to the relay, and the sizes of what came in."""
    counts = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            while True:
                try:
                    inside = listener.accept()[0]
                except OSError:
                    return
                outside = socket.create_connection(("127.0.0.1", relay.port))
                for pair in ((inside, outside, counts), (outside, inside, [])):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], counts
        listener.shutdown(socket.SHUT_RDWR)


def test_requests_are_compressed_if_asked_to(byte_counter, retrieve):
    port, counts = byte_counter
    users = [{"country": "x" * 100_000}]
    plain = retrieve(f"127.0.0.1:{port}", users)
    num_plain = sum(counts)
    compressed = retrieve(f"127.0.0.1:{port}", users, compression=grpc.Compression.Gzip)
    assert compressed == plain
    assert num_plain > 100_000 > 10 * (sum(counts) - num_plain)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"server": ""}, "server must be host:port, such as localhost:8500. Received: ''"),
        ({"max_attempts": 0}, "max_attempts must be between 1 and 5. Received: 0"),
        ({"max_attempts": 6}, "max_attempts must be between 1 and 5. Received: 6"),
        ({"timeout_s": 0}, "timeout_s must be above 0. Received: 0"),
        ({"max_batch_size": 0}, "max_batch_size must be at least 1. Received: 0"),
        (
            {"model_version": 3, "version_label": "canary"},
            "give model_version or version_label. Received: 3 and 'canary'",
        ),
    ],
)
def test_bad_option_is_refused(retrieve, options, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        retrieve(users=USERS, **{"server": "localhost:8500"} | options)
    assert str(caught.value) == text
