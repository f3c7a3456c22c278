"""Warm-up files replayed on a real SavedModel that counts its runs, and what a bad file does to the load."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from schemas.contract import WARMUP_REQUESTS
from serving import saved_model
from serving import warmup
from serving.versions import LoadError

load_warm = warmup.warmed(saved_model.load, num_iterations=2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model whose signatures add to `total` the number of values they were sent, in all runs."""
    module = tf.Module()
    module.total = tf.Variable(0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="values")])
    def count(values):
        return {"total": module.total.assign_add(tf.size(values))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(inputs):
        ages = tf.io.parse_example(inputs, {"age": tf.io.FixedLenFeature([], tf.int64)})["age"]
        return {"classes": tf.as_string(module.total.assign_add(tf.cast(tf.reduce_sum(ages), tf.int32)))}

    path = tmp_path_factory.mktemp("counting") / "1"
    tf.saved_model.save(module, str(path), signatures={"serving_default": count, "classify": classify})
    (path / "assets.extra").mkdir()
    return path


def predict_log(values, *, signature=""):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.name = "as it was recorded"
    log.predict_log.request.model_spec.signature_name = signature
    log.predict_log.request.inputs["values"].CopyFrom(tf.make_tensor_proto(values))
    return log


def example(**ages):
    made = tf.train.Example()
    for name, age in ages.items():
        made.features.feature[name].int64_list.value.append(age)
    return made


def write(exported, records):
    with tf.io.TFRecordWriter(str(exported / WARMUP_REQUESTS)) as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else record.SerializeToString())


def total(model):
    """What was counted before this call."""
    return int(model.run("serving_default", {"values": np.zeros([0], np.int32)})["total"])


def test_without_a_file_nothing_runs(exported):
    (exported / WARMUP_REQUESTS).unlink(missing_ok=True)
    assert total(load_warm(exported)) == 0


def test_each_request_is_run_so_many_times(exported):
    write(exported, [predict_log([7, 7, 7]), predict_log([7, 7]), prediction_log_pb2.PredictionLog()])
    assert total(load_warm(exported)) == 2 * (3 + 2)
    assert total(saved_model.load(exported)) == 0


def test_examples_of_classify_regress_and_multi_inference_are_run_with_their_context(exported):
    logs = [prediction_log_pb2.PredictionLog() for _ in range(3)]
    classify, regress, multi = (
        logs[0].classify_log.request,
        logs[1].regress_log.request,
        logs[2].multi_inference_log.request,
    )
    classify.input.example_list.examples.extend([example(age=1), example(age=2)])
    regress.input.example_list_with_context.context.CopyFrom(example(age=30))
    regress.input.example_list_with_context.examples.extend([example(other=1), example(age=40)])
    multi.input.example_list.examples.append(example(age=500))
    for request in (classify, regress, multi.tasks.add(), multi.tasks.add()):
        request.model_spec.signature_name = "classify"
    write(exported, logs)
    assert total(load_warm(exported)) == 2 * ((1 + 2) + (30 + 40) + 2 * 500)


SESSION_RUN = prediction_log_pb2.PredictionLog(session_run_log=prediction_log_pb2.SessionRunLog())


@pytest.mark.parametrize(
    ("records", "code", "text"),
    [
        ([predict_log([1.5])], 3, "Expects arg[0] to be int32 but float is provided"),
        ([predict_log([1], signature="buy")], 9, 'Serving signature key "buy" not found.'),
        ([SESSION_RUN], 12, "Unsupported log_type for warmup: 5"),
        ([b"\xff no message"], 3, "Failed to parse warmup record: b'\\xff no message' from "),
        ([prediction_log_pb2.PredictionLog()] * 1001, 3, "Number of warmup records exceeds the maximum (1000) at "),
    ],
)
def test_request_that_fails_fails_the_load(exported, records, code, text):
    write(exported, records)
    with pytest.raises(LoadError) as caught:
        load_warm(exported)
    assert text in str(caught.value)
    assert caught.value.code == code


def test_error_of_an_operation_fails_the_load(exported):
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.signature_name = "classify"
    log.classify_log.request.input.example_list.examples.append(example(other=1))
    write(exported, [log])
    with pytest.raises(LoadError, match=r"age") as caught:
        load_warm(exported)
    assert caught.value.code == 3


@pytest.mark.parametrize("content", [b"not a TFRecord, however long it is", None])
def test_corrupt_file_fails_the_load(exported, content):
    write(exported, [predict_log([1])])
    file = exported / WARMUP_REQUESTS
    file.write_bytes(content or file.read_bytes()[:-3])
    with pytest.raises(LoadError, match=r"\. Please verify your warmup data is in TFRecord format\.$") as caught:
        load_warm(exported)
    assert caught.value.code == 15


def test_a_thousand_records_are_allowed(exported):
    write(exported, [prediction_log_pb2.PredictionLog()] * warmup.MAX_RECORDS)
    assert total(load_warm(exported)) == 0
