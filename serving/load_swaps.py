"""Swaps a model server's version under load, and notes when each took over."""

import asyncio
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import grpc

from serving import wire
from serving.load_versions import LoadVersions
from serving.load_versions import SwapError

_POLL_S = 0.05
_LONGEST_S = 300.0
_AFTER_S = 0.5
"""Counted to a swap: a server may free an old version's memory after it says that the version has ended."""
_AVAILABLE, _END = 30, 50


class Swap(NamedTuple):
    """A version's take-over, in seconds since the start of the load.

    Attributes:
        version: That was published.
        published_s: When it was renamed into place.
        available_s: When the server said that it serves it.
        settled_s: Half a second after it had answered a request and every older one was unloaded.
    """

    version: int
    published_s: float
    available_s: float
    settled_s: float


class Swapper:
    """Publishes `versions` one after the other.

    Args:
        versions: Copied already.
        model_name: Name under which the server serves what is below their base path.
        now_s: The load's clock.
        has_answered: Whether a version has answered a request of the load.

    Attributes:
        swaps: Those that are done.
    """

    def __init__(
        self,
        versions: LoadVersions,
        *,
        model_name: str,
        now_s: Callable[[], float],
        has_answered: Callable[[int], bool],
    ) -> None:
        self.swaps: list[Swap] = []
        self._versions = versions
        self._model_name = model_name
        self._now_s = now_s
        self._has_answered = has_answered

    async def run(self, server: str, *, start_times_s: Sequence[float]) -> None:
        """Publishes a version at each of the times, or once the one before has settled if that is later.

        Args:
            server: host:port of the server's gRPC API.
            start_times_s: Seconds after the start of the load, one for each version.

        Raises:
            SwapError: The server did not take a version, or did not say.
        """
        async with grpc.aio.insecure_channel(server) as channel:
            for number, start_s in zip(self._versions.numbers, start_times_s, strict=True):
                await asyncio.sleep(max(0.0, start_s - self._now_s()))
                try:
                    self.swaps.append(await asyncio.wait_for(self._swap(channel, number), _LONGEST_S))
                except asyncio.TimeoutError:
                    raise SwapError(f"version {number} did not take over in {_LONGEST_S:.0f} s") from None
                except grpc.aio.AioRpcError as error:
                    raise SwapError(f"the server did not give its versions: {error.details()}") from error

    async def _swap(self, channel: grpc.aio.Channel, number: int) -> Swap:
        # A number that was served, or failed, in an earlier load is still listed with what became of it.
        past = (await self._statuses(channel)).get(number)
        published_s = self._now_s()
        self._versions.publish(number)
        while not _is_available(statuses := await self._statuses(channel), number, past=past):
            await asyncio.sleep(_POLL_S)
        available_s = self._now_s()
        while not (self._has_answered(number) and _is_alone(statuses, number)):
            await asyncio.sleep(_POLL_S)
            statuses = await self._statuses(channel)
        await asyncio.sleep(_AFTER_S)
        return Swap(number, published_s, available_s, self._now_s())

    async def _statuses(self, channel: grpc.aio.Channel) -> dict[int, Any]:
        """The server's `ModelVersionStatus` of each version."""
        request = wire.message_class("GetModelStatusRequest")()
        request.model_spec.name = self._model_name
        ask = channel.unary_unary(
            wire.GET_MODEL_STATUS,
            request_serializer=type(request).SerializeToString,
            response_deserializer=wire.message_class("GetModelStatusResponse").FromString,
        )
        response = await ask(request)
        return {status.version: status for status in response.model_version_status}


def _is_available(statuses: Mapping[int, Any], number: int, *, past: Any) -> bool:
    """Whether the version serves; raises `SwapError` if it failed to load since it had the status `past`."""
    status = statuses.get(number)
    if status is not None and status.state == _END and status != past:
        raise SwapError(f"version {number} was not taken: {status.status.error_message or 'it is unloaded again'}")
    return status is not None and status.state == _AVAILABLE


def _is_alone(statuses: Mapping[int, Any], number: int) -> bool:
    return all(status.state == _END for other, status in statuses.items() if other < number)
