"""The client against a real server: oracle answers, missing values, refusals, retries, batches and threads."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from serving.client import RetrieverClient
from serving.client import RetrieverError
from serving.query_inputs import UnknownFeatureError

LONG = {"country": "DE", "history_item_id": ["item-3", "item-5"], "history_age_days": [1.0, 20.0]}
NEW = {"country": "FR"}
STRANGER = {"country": "größer", "history_item_id": ["never-seen"], "history_age_days": [0]}


@pytest.fixture(scope="module")
def client(model_server):
    with RetrieverClient(model_server.address) as client:
        yield client


def test_batch_of_users_gets_brute_force_answers(client, toy):
    users = [LONG, NEW, STRANGER, {}, {"country": None, "history_item_id": [], "history_age_days": []}]
    answers = client.retrieve(users, k=4)
    for user, answer in zip(users, answers, strict=True):
        item_ids, scores = toy.retrieve(user if user.get("country") else {}, version=1, k=4)
        assert answer.item_ids == item_ids
        np.testing.assert_allclose(answer.scores, scores, atol=1e-6)
        assert (answer.model_version, answer.index_version) == ("towers-1", "1")


def test_user_gets_the_same_answer_alone_as_in_a_batch(client):
    alone, in_batch = client.retrieve([NEW], k=3)[0], client.retrieve([LONG, NEW], k=3)[1]
    assert alone.item_ids == in_batch.item_ids
    np.testing.assert_allclose(alone.scores, in_batch.scores, atol=1e-6)


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (8, 8), (500, 8)])
def test_no_more_than_k_items_come_back(client, toy, k, expected):
    (answer,) = client.retrieve([LONG], k=k)
    assert len(answer.item_ids) == len(answer.scores) == expected
    assert set(answer.item_ids) <= set(toy.item_ids)


def test_no_users_no_answers(client):
    assert client.retrieve([], k=3) == []
    assert client.embed_query([]) == []


def test_embed_query_is_the_unit_vector(client, toy):
    answers = client.embed_query([LONG, NEW])
    for user, answer in zip([LONG, NEW], answers, strict=True):
        np.testing.assert_allclose(answer.embedding, toy.embed(user, version=1), atol=1e-6)
        assert (answer.model_version, answer.index_version) == ("towers-1", "1")


def test_unknown_feature_is_refused_with_the_known_ones(client):
    known = "country, history_age_days, history_item_id"
    with pytest.raises(UnknownFeatureError, match=f"^unknown features: age, town; the served model knows: {known}$"):
        client.retrieve([{"age": 3}, {"town": "Bonn"}], k=3)


def test_unknown_feature_can_be_ignored(client, model_server):
    with RetrieverClient(model_server.address, ignore_unknown=True) as lenient:
        assert lenient.retrieve([LONG | {"age": 3}], k=3) == client.retrieve([LONG], k=3)


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ({"country": 3}, "feature country must be str. Received: 3 of type int"),
        ({"country": ["DE"]}, "feature country must be one value, not a list. Received: ['DE']"),
        ({"history_item_id": "item-3"}, "feature history_item_id must be a list. Received: 'item-3'"),
        ({"history_age_days": ["1"]}, "feature history_age_days must be int or float. Received: '1' of type str"),
    ],
)
def test_value_of_the_wrong_type_is_refused(client, user, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        client.retrieve([user], k=3)
    assert str(caught.value) == text


def test_k_below_one_is_refused(client):
    with pytest.raises(ValueError, match=r"^k must be at least 1\. Received: 0$"):
        client.retrieve([NEW], k=0)


def test_model_status_lists_the_served_version(client):
    assert (1, "AVAILABLE", 0, "") in client.model_status()


def test_unknown_model_is_an_error_with_a_remedy(model_server):
    with (
        RetrieverClient(model_server.address, model_name="shoes") as client,
        pytest.raises(RetrieverError) as caught,
    ):
        client.retrieve([NEW], k=3)
    assert (caught.value.code, caught.value.text) == ("NOT_FOUND", "Servable not found for request: Latest(shoes)")
    assert "model_status()" in caught.value.remedy


def test_unreachable_server_is_retried_a_bounded_time():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_s = time.monotonic()
    with (
        RetrieverClient(f"127.0.0.1:{port}", max_attempts=3) as client,
        pytest.raises(RetrieverError, match=r"start it with python -m serving\.model_server") as caught,
    ):
        client.retrieve([NEW], k=3)
    assert caught.value.code == "UNAVAILABLE"
    # Pauses of 0.1 and 0.2 s, a fifth shorter or longer, lie between three attempts.
    assert 0.23 <= time.monotonic() - start_s < 5


def test_many_users_take_several_requests_and_keep_their_order(relay, toy):
    users = [{"country": "DE", "history_item_id": ["item-3"], "history_age_days": [age / 10]} for age in range(1000)]
    with RetrieverClient(relay.address) as client:
        answers = client.retrieve(users, k=1)
        vectors = client.embed_query(users[:150])
    assert relay.num_seen() == 8 + 2  # of 128 users at most
    np.testing.assert_allclose(
        [answer.scores[0] for answer in answers],
        [toy.retrieve(user, version=1, k=1)[1][0] for user in users],
        atol=1e-6,
    )
    np.testing.assert_allclose(vectors[-1].embedding, toy.embed(users[149], version=1), atol=1e-6)


def test_threads_share_a_client(client, toy):
    countries = ("DE", "FR", "größer")
    expected = {country: toy.retrieve({"country": country}, version=1, k=2)[0] for country in countries}
    asked = [countries[number % 3] for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda country: client.retrieve([{"country": country}], k=2)[0].item_ids, asked))
    assert answers == [expected[country] for country in asked]


def test_version_or_label_is_asked_for_by_every_method(model_server):
    with RetrieverClient(model_server.address, model_version=1) as client:
        assert client.retrieve([NEW], k=1)[0].index_version == "1"
        assert [status.version for status in client.model_status()] == [1]
    with RetrieverClient(model_server.address, model_version=99) as client:
        with pytest.raises(
            RetrieverError, match=r"^NOT_FOUND: Servable not found for request: Specific\(retriever, 99"
        ):
            client.embed_query([NEW])
        with pytest.raises(RetrieverError, match=r"^NOT_FOUND: Could not find version 99 of model retriever"):
            client.model_status()
    with RetrieverClient(model_server.address, version_label="canary") as client:
        for method in (lambda: client.retrieve([NEW], k=1), lambda: client.embed_query([NEW])):
            with pytest.raises(RetrieverError, match=r"^INVALID_ARGUMENT: Unrecognized .* label: canary$"):
                method()
        # As in TF Serving, a label asks for the status of every version, those that are gone too.
        assert [status.version for status in client.model_status() if status.state == "AVAILABLE"] == [1]


def _save_with_other_inputs(path):
    """A retriever that takes a city, and answers with it and the version 2, as exports without index version do."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)])
    def retrieve(city, k):
        scores = tf.cast(k, tf.float32)[:, tf.newaxis]
        return {"item_ids": city[:, tf.newaxis], "scores": scores, "model_version": tf.fill(tf.shape(city), "2")}

    tf.saved_model.save(module, str(path), signatures={"retrieve": retrieve})
    return path


def test_inputs_that_change_with_a_version_are_noticed(model_server):
    lenient_client = RetrieverClient(model_server.address, ignore_unknown=True)
    with RetrieverClient(model_server.address) as client, lenient_client as lenient:
        assert client.retrieve([NEW], k=1)[0].index_version == "1"
        assert lenient.retrieve([NEW], k=1)[0].index_version == "1"
        _save_with_other_inputs(model_server.base_path / ".tmp-2").rename(model_server.base_path / "2")
        model_server.wait_for_line("^Serving retriever version 2 at ")
        try:
            # Refused by what it knows of version 1; and sent as version 1 takes it, and refused by the server.
            answers = client.retrieve([{"city": "Bonn"}], k=1), lenient.retrieve([{"city": "Bonn"}], k=1)
        finally:
            model_server.remove(2)
            model_server.wait_for_line("^Serving retriever version 1 at ")
        assert answers == ([(["Bonn"], [1.0], "2", "2")],) * 2
        assert client.retrieve([NEW], k=1)[0].index_version == "1"
