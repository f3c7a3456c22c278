"""Sends requests at their times whatever becomes of earlier ones, and notes what became of each."""

import asyncio
import time
from collections.abc import Iterable
from collections.abc import Sequence
from typing import NamedTuple

import grpc

from serving import wire
from serving.channel import RetrieverError
from serving.load_messages import Answer
from serving.load_messages import UnreadableAnswerError
from serving.load_messages import read_answer

IN_FLIGHT_LIMIT = "IN_FLIGHT_LIMIT"
"""Error of a request that was not sent since too many were waiting for their answers."""
UNREADABLE_ANSWER = "UNREADABLE_ANSWER"
"""Error of a request that was answered by something other than a retriever's answer."""

_FIRST_REQUEST_S = 60.0
# Without the first, gRPC shares one connection among channels of equal options.
_CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


class Outcome(NamedTuple):
    """What became of a request; times in seconds since the start of the load.

    Attributes:
        request: Index of what was asked.
        due_s: When it was to be sent. Latency counts from here: a request that is sent late because others are slow is
            late for its user too (no coordinated omission).
        sent_s: When it was sent.
        done_s: When its answer, or its failure, was there.
        error: gRPC status name, `IN_FLIGHT_LIMIT` or `UNREADABLE_ANSWER`; "" for an answer.
        answer: None if it failed.
    """

    request: int
    due_s: float
    sent_s: float
    done_s: float
    error: str
    answer: Answer | None

    @property
    def latency_s(self) -> float:
        """Seconds from when it was due to when it was done."""
        return self.done_s - self.due_s


class LoadGenerator:
    """An open loop of PredictRequests. Make and use it within a running event loop.

    Args:
        server: host:port of a server's gRPC API.
        requests: Serialized PredictRequests, sent in turn.
        connections: Number of connections, used in turn.
        max_in_flight: Requests that may wait for an answer; more are not sent but counted as failed.
        timeout_s: Deadline of a request in seconds.

    Attributes:
        outcomes: Of the requests that are done, in the order in which they were.
        answered_versions: Versions that answered any of them.
    """

    def __init__(
        self, server: str, requests: Sequence[bytes], *, connections: int, max_in_flight: int, timeout_s: float
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.answered_versions: set[int] = set()
        self._requests = requests
        self._max_in_flight = max_in_flight
        self._timeout_s = timeout_s
        self._channels = [grpc.aio.insecure_channel(server, options=_CHANNEL_OPTIONS) for _ in range(connections)]
        self._calls = [channel.unary_unary(wire.PREDICT) for channel in self._channels]
        self._in_flight: set[asyncio.Task[None]] = set()
        self._started_s = time.monotonic()

    async def connect(self) -> None:
        """Opens the connections by a request on each, none of which counts: the load finds a server that is warm.

        Raises:
            RetrieverError: One of them failed.
        """
        try:
            await asyncio.gather(*(call(self._requests[0], timeout=_FIRST_REQUEST_S) for call in self._calls))
        except grpc.aio.AioRpcError as error:
            raise RetrieverError(error.code().name, f"a request before the load failed: {error.details()}") from None

    async def aclose(self) -> None:
        """Closes the connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    def start_clock(self) -> None:
        """Makes this moment the start of the load."""
        self._started_s = time.monotonic()

    def now_s(self) -> float:
        """Seconds since the start of the load."""
        return time.monotonic() - self._started_s

    async def run(self, send_times_s: Iterable[float]) -> None:
        """Sends at each of the times, then waits for the last answers."""
        for index, due_s in enumerate(send_times_s):
            # A late generator does not sleep, but lets answers come in.
            await asyncio.sleep(max(0.0, due_s - self.now_s()))
            if len(self._in_flight) < self._max_in_flight:
                task = asyncio.create_task(self._send(index, due_s))
                self._in_flight.add(task)
                task.add_done_callback(self._in_flight.discard)
            else:
                now_s = self.now_s()
                self.outcomes.append(Outcome(self._asked(index), due_s, now_s, now_s, IN_FLIGHT_LIMIT, None))
        await asyncio.gather(*self._in_flight)

    async def _send(self, index: int, due_s: float) -> None:
        error, answer = "", None
        request = self._asked(index)
        call = self._calls[index % len(self._calls)]
        sent_s = self.now_s()
        try:
            serialized = await call(self._requests[request], timeout=self._timeout_s)
        except grpc.aio.AioRpcError as failure:
            error = failure.code().name
        done_s = self.now_s()
        if not error:
            try:
                answer = read_answer(serialized)
                self.answered_versions.add(answer.version)
            except UnreadableAnswerError:
                error = UNREADABLE_ANSWER
        self.outcomes.append(Outcome(request, due_s, sent_s, done_s, error, answer))

    def _asked(self, index: int) -> int:
        return index % len(self._requests)
