"""gRPC client of a retriever in TF Serving. Needs grpcio and protobuf; neither TensorFlow nor numpy."""

from collections.abc import Coroutine
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import grpc

from serving.channel import Tls as Tls
from serving.client_core import ClientCore
from serving.filters import Filters as Filters
from serving.query_inputs import Features
from serving.results import Embedded
from serving.results import Retrieved
from serving.results import RetrieverError as RetrieverError
from serving.results import VersionStatus

Result = TypeVar("Result")


class RetrieverClient(ClientCore):
    """Asks a model server for items. Use as a context manager; safe to share between threads.

    `serving.aio_client.AsyncRetrieverClient` is its twin for asyncio, and takes the same arguments.
    """

    def __enter__(self) -> "RetrieverClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def retrieve(
        self,
        features: Sequence[Features],
        *,
        k: int,
        filters: Filters | Sequence[Filters] | None = None,
        timeout_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Retrieved]:
        """The `k` best items for each user, in the order of the users; fewer where no further item is left.

        More than `max_batch_size` users take several requests, which a version swap may fall between: each answer says
        which version gave it.

        Args:
            features: One mapping per user of named inputs to a number, a string or a list; absent means missing.
            k: Items wanted per user, at least 1.
            filters: Conditions on the items: one for all users, or one per user; None for none.
            timeout_s: Seconds for the whole call; None for the client's.
            metadata: Sent beside the client's with each request of this call.

        Raises:
            UnknownFeatureError: A `ValueError`: a feature that the served model does not take.
            ValueError: A feature or filter of the wrong type, `k` below 1, or more or fewer filters than users.
            RetrieverError: The server did not answer, or refused.
        """
        return _finish(self._retrieve(features, k=k, filters=filters, call=self._call(timeout_s, metadata)))

    def encode(self, features: Sequence[Features], *, k: int) -> list[bytes]:
        """One serialized PredictRequest per user, as `retrieve` would send it now, to send in another way.

        Raises as `retrieve` does.
        """
        return _finish(self._encode(features, k=k, call=self._call(None, None)))

    def embed_query(
        self,
        features: Sequence[Features],
        *,
        timeout_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Embedded]:
        """The query vector of each user; arguments and errors as in `retrieve`."""
        return _finish(self._embed_query(features, call=self._call(timeout_s, metadata)))

    def model_status(
        self, *, timeout_s: float | None = None, metadata: Mapping[str, str] | None = None
    ) -> list[VersionStatus]:
        """The versions that the server knows, as it lists them; raises `RetrieverError`."""
        return _finish(self._model_status(call=self._call(timeout_s, metadata)))

    def _open(self) -> grpc.Channel:
        return self._connection.open(grpc)

    async def _answer(self, sent: Any) -> Any:
        return sent


def _finish(steps: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that blocks where its asyncio twin would wait, so that it ends in one go."""
    try:
        steps.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the coroutine waited for something; only asyncio can go on with it")
