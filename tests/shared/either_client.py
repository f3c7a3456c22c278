"""Runs a test with the blocking client, and again with the one for asyncio."""

import asyncio

import pytest

from serving.aio_client import AsyncRetrieverClient
from serving.client import RetrieverClient


def blocking(steps, server, **options):
    """Runs `steps(client, ask)`, a coroutine function, where `ask` gives the result of a call of the client."""

    async def ask(result):
        return result

    async def run():
        with RetrieverClient(server, **options) as client:
            return await steps(client, ask)

    return asyncio.run(run())


def with_asyncio(steps, server, **options):
    async def ask(call):
        return await call

    async def run():
        async with AsyncRetrieverClient(server, **options) as client:
            return await steps(client, ask)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, with_asyncio], ids=["blocking", "asyncio"])
def run_steps(request):
    return request.param


@pytest.fixture
def retrieve(run_steps):
    """Asks once with a new client; returns the answers, or raises."""

    def retrieve(server, users, *, k=3, filters=None, **options):
        async def once(client, ask):
            return await ask(client.retrieve(users, k=k, filters=filters))

        return run_steps(once, server, **options)

    return retrieve
