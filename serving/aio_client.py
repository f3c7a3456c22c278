"""The client for asyncio: `RetrieverClient`'s methods to await. Needs grpcio and protobuf; neither TensorFlow nor numpy."""

import asyncio
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from serving.client_core import ClientCore
from serving.filters import Filters
from serving.query_inputs import Features
from serving.results import Embedded
from serving.results import Retrieved
from serving.results import VersionStatus


class AsyncRetrieverClient(ClientCore):
    """Asks a model server for items. Use as an asynchronous context manager; safe to share between the tasks of a loop.

    Make it where its event loop runs; elsewhere it raises `RuntimeError`.
    """

    async def __aenter__(self) -> "AsyncRetrieverClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def retrieve(
        self,
        features: Sequence[Features],
        *,
        k: int,
        filters: Filters | Sequence[Filters] | None = None,
        timeout_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Retrieved]:
        """The `k` best items for each user; all as in `RetrieverClient.retrieve`."""
        return await self._retrieve(features, k=k, filters=filters, call=self._call(timeout_s, metadata))

    async def embed_query(
        self,
        features: Sequence[Features],
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Embedded]:
        """The query vector of each user; arguments and errors as in `retrieve`."""
        return await self._embed_query(features, call=self._call(timeout_s, metadata))

    async def model_status(
        self, *, timeout_s: float | None = None, metadata: Mapping[str, str] | None = None
    ) -> list[VersionStatus]:
        """The versions that the server knows, as it lists them; raises `RetrieverError`."""
        return await self._model_status(call=self._call(timeout_s, metadata))

    def _open(self) -> grpc.aio.Channel:
        asyncio.get_running_loop()  # gRPC would bind to a loop of its own choice, and fail at the first call
        return self._connection.open(grpc.aio)

    async def _answer(self, sent: Any) -> Any:
        return await sent
