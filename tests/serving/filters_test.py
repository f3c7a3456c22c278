"""Filters from the clients, the query command and REST, through a server, against brute force on a real retriever."""

import contextlib
import json
import sqlite3

import pytest
from planted_filters import ADVERTISERS
from planted_filters import NO_RULE
from planted_filters import all_scores
from planted_filters import brute_force
from planted_filters import make

from schemas.contract import SNAPSHOT_SCHEMA
from serving import query
from serving.client import Filters
from serving.results import RetrieverError

USERS = [{"row": 0.0}, {"row": 1.0}, {"row": 2.0}]


@pytest.fixture(scope="module")
def planted():
    return make(num_items=60, dim=4, seed=8, num_rows=len(USERS))


@pytest.fixture(scope="module")
def filtering_server(planted, tmp_path_factory, serve_in_process):
    from tfx_pipeline.index.retriever import Retriever
    from tfx_pipeline.index.retriever import export_retriever

    catalog, towers = planted
    retriever = Retriever(towers, catalog, kind="exact", max_k=60, model_version="1", index_version="1")
    base_path = tmp_path_factory.mktemp("filtering")
    export_retriever(retriever, str(base_path / "1"))
    return serve_in_process(base_path)


@pytest.fixture(scope="module")
def expected(planted):
    """Items and scores of one user in plain Python."""
    catalog, towers = planted
    scores = all_scores(towers, catalog, len(USERS))

    def expected(row, *, k, **rule):
        best = brute_force(catalog, scores[row], {**NO_RULE, **rule}, k)
        return catalog.item_ids[best].astype(str).tolist(), scores[row, best].tolist()

    return expected


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"exclude_item_ids": ["i00001", "i00002", "gone"]},
        {"allow_advertiser_ids": ADVERTISERS[2:]},
        {"deny_advertiser_ids": ["ad"]},
        {"allow_categories": ["a", "d > b > ü"]},
        {"deny_categories": ["a"]},
        {"min_price": 10.0},
        {"max_price": 10},
        {"max_per_advertiser": 2},
        {"min_price": 30.0, "max_price": 20.0},
    ],
)
def test_one_filter_holds_for_all_users(filtering_server, retrieve, expected, rule):
    answers = retrieve(filtering_server.address, USERS, k=40, filters=Filters(**rule))
    assert [(answer.item_ids, answer.scores) for answer in answers] == [
        expected(row, k=40, **rule) for row in range(len(USERS))
    ]


def test_each_user_has_a_filter_also_across_requests(filtering_server, retrieve, expected):
    rules = [{"max_price": 20.0}, {}, {"deny_categories": ["a > b"], "exclude_item_ids": ["i00004"]}]
    filters = [Filters(**rule) for rule in rules]
    answers = retrieve(filtering_server.address, USERS, k=7, filters=filters, max_batch_size=2)
    assert [(answer.item_ids, answer.scores) for answer in answers] == [
        expected(row, k=7, **rule) for row, rule in enumerate(rules)
    ]


def test_padding_is_dropped_without_filters_too(filtering_server, retrieve, expected):
    (answer,) = retrieve(filtering_server.address, USERS[:1], k=60)  # some of the 60 items are not available
    item_ids, scores = expected(0, k=60)
    assert (sorted(answer.item_ids), answer.scores) == (sorted(item_ids), scores)  # some scores are equal
    assert 40 < len(answer.item_ids) < 60


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ([Filters()], "give one Filters for all users, or one per user. Received: 1 for 3"),
        (Filters(allow_categories="a"), "feature allow_categories must be a list. Received: 'a'"),
        (Filters(min_price="3"), "feature min_price must be int or float. Received: '3' of type str"),
    ],
)
def test_wrong_filters_are_refused(filtering_server, retrieve, filters, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        retrieve(filtering_server.address, USERS, filters=filters)
    assert str(caught.value) == text


@pytest.mark.parametrize("limit", [-1, 1.5, "2"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match=f"^max_per_advertiser must be a whole number from 0. Received: {limit!r}$"):
        Filters(max_per_advertiser=limit)


def test_a_model_that_cannot_filter_is_named(retriever_server, retrieve):
    with pytest.raises(RetrieverError) as caught:
        retrieve(retriever_server.address, [{}], filters=Filters())
    assert str(caught.value) == (
        "FAILED_PRECONDITION: the served model has no signature retrieve_filtered; "
        "serve a version that has it; this one has: count, embed_query, retrieve, serving_default"
    )


def test_rest_takes_the_filters_as_named_inputs(filtering_server, expected):
    rule = {"allow_categories": ["a > b"], "min_price": 10.0, "max_per_advertiser": 1}
    instance = {
        "row": 1.0,
        "k": 20,
        **{name: [""] if value == [] else value for name, value in NO_RULE.items()},
        **rule,
    }
    body = json.dumps({"signature_name": "retrieve_filtered", "instances": [instance]})
    status, text = filtering_server.http("POST", "/v1/models/retriever:predict", body)
    assert status == 200, text
    (found,) = json.loads(text)["predictions"]
    item_ids, scores = expected(1, k=20, **rule)
    assert 0 < found["num_found"] == len(item_ids) < 20
    assert found["item_ids"] == item_ids + [""] * (20 - len(item_ids))
    assert found["scores"][: len(scores)] == scores


def test_the_query_command_filters(filtering_server, planted, expected, tmp_path, capsys):
    seen = expected(0, k=2)[0]
    with contextlib.closing(sqlite3.connect(tmp_path / "users.sqlite")) as connection, connection:
        connection.executescript(SNAPSHOT_SCHEMA)
        users = {"new": {"row": 1.0}, "old": {"row": 0.0, "history_item_id": seen}}
        connection.executemany("INSERT INTO users VALUES (?, ?)", [(name, json.dumps(users[name])) for name in users])
    flags = [f"--server={filtering_server.address}", f"--snapshot={tmp_path / 'users.sqlite'}", "--user=new"]
    rule = {"allow_categories": ["a", "d"], "min_price": 5.0, "max_price": 45.0, "max_per_advertiser": 2}
    asked = ["--allow_category=a", "--allow_category=d", "--min_price=5", "--max_price=45", "--max_per_advertiser=2"]
    assert query.main([*flags, "--user=old", "--exclude_seen", *asked, "--k=30", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [[item["item_id"] for item in answer["items"]] for answer in answers] == [
        expected(1, k=30, **rule)[0],
        expected(0, k=30, **rule, exclude_item_ids=seen)[0],
    ]
