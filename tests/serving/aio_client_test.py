"""The client for asyncio against a real server: the blocking one's answers, many tasks, and the loop that it needs."""

import asyncio

import numpy as np
import pytest

from serving.aio_client import AsyncRetrieverClient
from serving.client import RetrieverClient
from serving.query_inputs import UnknownFeatureError

LONG = {"country": "DE", "history_item_id": ["item-3", "item-5"], "history_age_days": [1.0, 20.0]}


def test_every_method_gives_what_the_blocking_client_gives(model_server):
    async def ask():
        async with AsyncRetrieverClient(model_server.address) as client:
            return (
                await client.retrieve([LONG, {}], k=4),
                await client.embed_query([LONG]),
                await client.model_status(),
                await client.retrieve([], k=4),
            )

    with RetrieverClient(model_server.address) as client:
        assert asyncio.run(ask()) == (
            client.retrieve([LONG, {}], k=4),
            client.embed_query([LONG]),
            client.model_status(),
            [],
        )


def test_a_hundred_tasks_share_a_client(model_server, toy):
    users = [{"country": "FR", "history_item_id": ["item-2"], "history_age_days": [age]} for age in range(100)]

    async def ask():
        async with AsyncRetrieverClient(model_server.address) as client:
            return await asyncio.gather(*(client.retrieve([user], k=3) for user in users))

    for user, (answer,) in zip(users, asyncio.run(ask()), strict=True):
        item_ids, scores = toy.retrieve(user, version=1, k=3)
        assert answer.item_ids == item_ids
        np.testing.assert_allclose(answer.scores, scores, atol=1e-6)


def test_other_tasks_run_while_one_waits(relay):
    relay.delay_s = 0.3

    async def ask():
        async with AsyncRetrieverClient(relay.address) as client:
            waiting = asyncio.create_task(client.model_status())
            num_turns = 0
            while not waiting.done():
                await asyncio.sleep(0.01)
                num_turns += 1
            return num_turns

    assert asyncio.run(ask()) >= 5  # of about 30


def test_a_task_can_be_cancelled_and_the_client_goes_on(relay):
    async def ask():
        async with AsyncRetrieverClient(relay.address) as client:
            await client.retrieve([LONG], k=1)
            relay.delay_s = 0.2
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.retrieve([LONG], k=1), timeout=0.05)
            return await client.retrieve([LONG], k=1)

    assert asyncio.run(ask())[0].index_version == "1"


def test_unknown_feature_is_refused(model_server):
    async def ask():
        async with AsyncRetrieverClient(model_server.address) as client:
            await client.retrieve([{"town": "Bonn"}], k=1)

    with pytest.raises(UnknownFeatureError, match=r"^unknown features: town; the served model knows: country, "):
        asyncio.run(ask())


def test_it_must_be_made_in_a_loop():
    with pytest.raises(RuntimeError, match=r"^no running event loop$"):
        AsyncRetrieverClient("localhost:8500")
