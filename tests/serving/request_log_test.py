"""Files of PredictionLogs, read back with TensorFlow's own reader."""

import re
import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.calls import Call
from serving.request_log import LogTarget
from serving.request_log import RequestLogger


def call_of(number, **changes):
    """A Predict of `number`, that version 3 answered."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "shop"
    request.inputs["row"].CopyFrom(tf.make_tensor_proto([number]))
    response = predict_pb2.PredictResponse()
    response.outputs["scores"].CopyFrom(tf.make_tensor_proto([0.5]))
    good = Call("GRPC", "Predict", "shop", 3, "retrieve", grpc.StatusCode.OK, 0.01, request, response)
    return good._replace(**changes)


def logs_in(folder):
    """Records of the whole files, in the order of their names."""
    files = sorted(str(path) for path in folder.glob("*.log.*"))
    return [prediction_log_pb2.PredictionLog.FromString(x) for x in tf.data.TFRecordDataset(files).as_numpy_iterator()]


def numbers_in(folder):
    return [int(tf.make_ndarray(log.predict_log.request.inputs["row"])[0]) for log in logs_in(folder)]


def wait_until(is_so):
    deadline_s = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path):
    """Makes loggers of the model `shop` with the prefix `shop` in a folder that is not there yet."""
    made = []

    def build(rate=1.0, **options):
        made.append(RequestLogger({"shop": LogTarget(str(tmp_path / "deep/shop"), rate)}, **options))
        return made[-1]

    yield build
    for logger in made:
        logger.close()


def test_a_record_holds_the_request_and_who_answered_but_not_the_outputs(start, tmp_path):
    logger, began_s = start(rate=0.999999, seed=1), int(time.time())
    logger.observe(call_of(7))
    logger.close()
    (log,) = logs_in(tmp_path / "deep")
    assert log.predict_log.request == call_of(7).request
    assert not log.predict_log.response.outputs
    for spec in (log.log_metadata.model_spec, log.predict_log.response.model_spec):
        assert (spec.name, spec.version.value, spec.signature_name) == ("shop", 3, "retrieve")
    assert log.log_metadata.sampling_config.sampling_rate == 0.999999
    assert began_s <= log.log_metadata.timestamp_secs <= began_s + 60


def test_only_answered_predicts_of_logged_models_are_written(start, tmp_path):
    logger = start()
    logger.observe(call_of(0, code=grpc.StatusCode.INVALID_ARGUMENT, response=None))
    logger.observe(call_of(1, method="Classify"))
    logger.observe(call_of(2, model_name="other"))
    logger.observe(call_of(3, request=None))
    logger.observe(call_of(4, api="REST"))
    logger.close()
    logger.observe(call_of(5))
    assert numbers_in(tmp_path / "deep") == [4]
    assert logger.num_dropped == 0


def test_the_sample_has_the_rate_and_repeats_with_the_seed(tmp_path):
    found, calls = [], [call_of(number) for number in range(1000)]
    for name in ("first", "second"):
        logger = RequestLogger({"shop": LogTarget(str(tmp_path / name / "shop"), 0.2)}, seed=5)
        for call in calls:
            logger.observe(call)
        logger.close()
        found.append(numbers_in(tmp_path / name))
    assert found[0] == found[1]
    assert 150 < len(found[0]) < 250  # mean 200, standard deviation 13
    assert found[0] == sorted(set(found[0]))


def test_a_file_is_named_only_when_it_is_closed(start, tmp_path):
    logger = start()
    logger.observe(call_of(1))
    wait_until(lambda: list((tmp_path / "deep").iterdir()))
    (open_file,) = (tmp_path / "deep").iterdir()
    assert open_file.name.startswith(".shop.partial.")
    logger.close()
    (whole,) = (tmp_path / "deep").iterdir()
    assert "." + whole.name.replace(".log.", ".partial.") == open_file.name


def test_files_are_closed_by_size(start, tmp_path):
    size = call_of(0).request.ByteSize()
    logger = start(max_bytes=3 * size)  # a record is larger than its request by less than half of it
    for number in range(7):
        logger.observe(call_of(number))
    logger.close()
    assert numbers_in(tmp_path / "deep") == list(range(7))
    assert 3 <= len(list((tmp_path / "deep").iterdir())) <= 7


def test_a_file_is_closed_by_age_though_no_request_follows(start, tmp_path):
    logger = start(max_age_s=0.1)
    logger.observe(call_of(1))
    wait_until(lambda: numbers_in(tmp_path / "deep"))
    assert numbers_in(tmp_path / "deep") == [1]


def test_what_comes_too_fast_is_dropped_and_counted_and_no_request_waits(start, tmp_path, capfd):
    logger = start(max_waiting_bytes=20_000, max_bytes=2**30)
    num_threads, num_calls = 4, 500
    calls = [call_of(number) for number in range(num_calls)]
    began_s = time.monotonic()
    threads = [threading.Thread(target=lambda: [logger.observe(call) for call in calls]) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began_s < 5
    logger.close()
    written = len(numbers_in(tmp_path / "deep"))
    assert logger.num_dropped > 0
    assert written + logger.num_dropped == num_threads * num_calls
    assert f"Request log: {logger.num_dropped} sampled requests were dropped so far" in capfd.readouterr().err


def test_a_folder_that_is_lost_costs_records_but_no_request(start, tmp_path, capfd):
    logger = start(max_bytes=1)
    logger.observe(call_of(1))
    wait_until(lambda: list((tmp_path / "deep").glob("shop.log.*")))
    (tmp_path / "deep").rename(tmp_path / "lost")
    logger.observe(call_of(2))
    logger.observe(call_of(3))
    wait_until(lambda: logger.num_dropped == 2)
    (tmp_path / "lost").rename(tmp_path / "deep")
    logger.observe(call_of(4))
    logger.close()
    assert numbers_in(tmp_path / "deep") == [1, 4]
    assert logger.num_dropped == 2
    assert len(re.findall(r"^Request log: cannot write .*shop.log.\*: .", capfd.readouterr().err, re.MULTILINE)) == 1


def test_targets_can_be_changed(start, tmp_path):
    logger = start(rate=0.0)
    logger.observe(call_of(1))
    logger.update({"shop": LogTarget(str(tmp_path / "new/shop"), 1.0)})
    logger.observe(call_of(2))
    logger.update({})
    logger.observe(call_of(3))
    logger.close()
    assert numbers_in(tmp_path / "new") == [2]
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize(
    ("prefix", "rate", "text"),
    [
        ("", 0.5, "filename_prefix must name files, not a folder. Received: ''"),
        ("logs/", 0.5, "filename_prefix must name files, not a folder. Received: 'logs/'"),
        ("logs/shop", 1.5, r"sampling_rate must be between 0 and 1. Received: 1.5"),
        ("logs/shop", float("nan"), r"sampling_rate must be between 0 and 1. Received: nan"),
    ],
)
def test_an_unusable_target_is_refused(prefix, rate, text):
    with pytest.raises(ValueError, match=text):
        LogTarget(prefix, rate)
