"""gRPC servers that hand requests on to the model server: to take note of them, to fail, to be late, to speak TLS."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import pytest

from serving import wire

_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))


class Seen(NamedTuple):
    """A request as it came in."""

    method: str
    peer: str
    metadata: dict[str, str]


class Relay(grpc.GenericRpcHandler):
    """Answers `failures` first, each after `delay_s` seconds, then what the server at `target` answers."""

    def __init__(self, target, *, port=0, credentials=None):
        self.seen = []
        self.failures = []
        self.delay_s = 0.0
        self._channel = grpc.insecure_channel(target)
        self._server = grpc.server(ThreadPoolExecutor(8), options=_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        address = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def service(self, details):
        def relay(request, context):
            self.seen.append(Seen(details.method, context.peer(), dict(context.invocation_metadata())))
            time.sleep(self.delay_s)
            if self.failures:
                context.abort(self.failures.pop(0), "told to fail")
            return self._channel.unary_unary(details.method)(request, timeout=10)

        return grpc.unary_unary_rpc_method_handler(relay)

    def num_seen(self, method=wire.PREDICT):
        return sum(seen.method == method for seen in self.seen)

    def stop(self):
        self._server.stop(None).wait()
        self._channel.close()


@pytest.fixture
def start_relay(model_server):
    started = []

    def start(**options):
        started.append(Relay(model_server.address, **options))
        return started[-1]

    yield start
    for relay in started:
        relay.stop()


@pytest.fixture
def relay(start_relay):
    return start_relay()
