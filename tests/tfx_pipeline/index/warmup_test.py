import numpy as np
import pytest
import tensorflow as tf
from planted_transform import serialize
from tensorflow_serving.apis import prediction_log_pb2

from schemas.contract import WARMUP_REQUESTS
from tfx_pipeline.index.retriever import Retriever
from tfx_pipeline.index.retriever import export_retriever
from tfx_pipeline.index.retriever import input_specs
from tfx_pipeline.index.warmup import first_queries
from tfx_pipeline.index.warmup import write_warmup_requests

MAX_K = 24  # the market's items: fewer than 100


@pytest.fixture(scope="module")
def write(towers, tmp_path_factory):
    """Writes the requests of rows into a SavedModel's folder; reads their inputs back, by signature."""

    def run(rows, folder=None):
        folder = folder or tmp_path_factory.mktemp("warm")
        specs = input_specs(towers.signatures["embed_query"])
        write_warmup_requests(folder, rows, specs, max_k=MAX_K)
        found = {}
        for record in tf.data.TFRecordDataset(str(folder / WARMUP_REQUESTS)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            assert request.model_spec.name == "retriever"
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            found.setdefault(request.model_spec.signature_name, []).append(inputs)
        return found

    return run


@pytest.fixture(scope="module")
def warm(market, towers, market_catalog, write, tmp_path_factory):
    """Requests of real rows, and the retriever that holds them, loaded."""
    folder = tmp_path_factory.mktemp("retriever")
    module = Retriever(towers, market_catalog, kind="exact", model_version="7", index_version="7", max_k=1000)
    assert module.max_k == MAX_K
    export_retriever(module, str(folder))
    requests = write(market.serialized(market.evaluation), folder)
    return requests, tf.saved_model.load(str(folder))


def ask(loaded, signature, inputs):
    return loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})


def test_real_rows_are_asked_of_every_query_signature_with_all_inputs_in_their_types(warm):
    requests, loaded = warm
    assert {name: len(found) for name, found in requests.items()} == {
        "serving_default": 3,
        "embed_query": 3,
        "retrieve": 6,
        "retrieve_filtered": 6,
    }
    assert [inputs["k"].tolist() for inputs in requests["retrieve"]] == [[10], [24], [10], [24], [10] * 4, [24] * 4]
    for name, found in requests.items():
        specs = loaded.signatures[name].structured_input_signature[1]
        wanted = {key: spec.dtype.as_numpy_dtype for key, spec in specs.items()}
        for inputs in found:
            assert {key: value.dtype for key, value in inputs.items()} == wanted


def test_every_request_is_answered_and_named_inputs_say_what_the_examples_say(warm):
    requests, loaded = warm
    for position, inputs in enumerate(requests["retrieve"]):
        answer = ask(loaded, "retrieve", inputs)
        by_examples = ask(loaded, "serving_default", requests["serving_default"][position // 2])
        k = int(inputs["k"][0])
        np.testing.assert_array_equal(answer["item_ids"], by_examples["item_ids"][:, :k])
        np.testing.assert_allclose(answer["scores"], by_examples["scores"][:, :k], atol=1e-5)
        embedded = ask(loaded, "embed_query", requests["embed_query"][position // 2])
        assert embedded["embedding"].shape[0] == len(inputs["k"])


def test_filters_are_warmed_up_with_all_items_and_with_none(warm):
    requests, loaded = warm
    for position, inputs in enumerate(requests["retrieve_filtered"]):
        answer = ask(loaded, "retrieve_filtered", inputs)
        assert answer["num_found"].numpy().tolist() == [10 if position % 2 == 0 else 0] * len(inputs["k"])
        if position % 2 == 0:
            unfiltered = ask(loaded, "serving_default", requests["serving_default"][position // 2])
            np.testing.assert_array_equal(answer["item_ids"], unfiltered["item_ids"][:, :10])


def test_the_shortest_and_the_longest_history_are_asked_alone(market, write):
    rows = [{**market.evaluation[0], **history_of(length)} for length in (2, 5, 1, 3)]
    requests = write([serialize(row) for row in rows])
    assert [found["history_age_days"].shape for found in requests["embed_query"]] == [(1, 1), (1, 5), (4, 5)]
    ages = requests["embed_query"][2]["history_age_days"]
    assert [int(np.isfinite(row).sum()) for row in ages] == [1, 2, 3, 5]
    assert [sum(item != b"" for item in row) for row in requests["embed_query"][2]["history_item_id"]] == [1, 2, 3, 5]


def test_without_queries_an_unknown_user_is_asked(warm, write, tmp_path):
    rows = first_queries([records(tmp_path, [])])
    assert rows == [b""]
    alone = write(rows)["retrieve"][0]
    assert alone["history_item_id"].tolist() == [[b""]]
    assert np.isnan(alone["user_num_clicks"]).all()
    assert ask(warm[1], "retrieve", alone)["item_ids"].shape == (1, 10)


def test_queries_are_the_first_of_the_split(tmp_path):
    rows = [f"row {number}".encode() for number in range(600)]
    assert first_queries([records(tmp_path, rows)]) == rows[:512]


def records(folder, rows):
    with tf.io.TFRecordWriter(str(folder / "rows.gz"), "GZIP") as file:
        for row in rows:
            file.write(row)
    return str(folder / "rows.gz")


def history_of(length):
    return {
        "history_item_id": ["a00"] * length,
        "history_event": ["purchase"] * length,
        "history_age_days": [float(place) for place in range(length)],
    }
