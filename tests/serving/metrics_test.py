"""The metrics page, read by Prometheus' own parser."""

import grpc
from prometheus_client.parser import text_string_to_metric_families

from serving.calls import Call
from serving.metrics import Metrics


def call(model_name="retriever", *, method="Predict", code=grpc.StatusCode.OK, latency_s=0.001, api="GRPC", version=1):
    return Call(api, method, model_name, version, "", code, latency_s, None, None)


def samples(metrics):
    families = text_string_to_metric_families(metrics.page())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def count(name, status):
    """The parser puts `_total` behind a counter's name."""
    return (":tensorflow:serving:request_count_total", ("model_name", name), ("status", status))


def latency(part, *, api="GRPC", method="Predict", **labels):
    labels |= {"API": method, "entrypoint": api, "model_name": "retriever"}
    return (f":tensorflow:serving:request_latency_{part}", *sorted(labels.items()))


def test_requests_are_counted_by_model_and_status():
    metrics = Metrics()
    for made in (call(), call(api="REST"), call(code=grpc.StatusCode.NOT_FOUND), call('a"b\\c\n')):
        metrics.observe(made)
    found = samples(metrics)
    assert found[count("retriever", "OK")] == 2
    assert found[count("retriever", "NOT_FOUND")] == 1
    assert found[count('a"b\\c\n', "OK")] == 1
    assert ':tensorflow:serving:request_count{model_name="retriever",status="OK"} 2\n' in metrics.page()


def test_answered_requests_are_timed_in_microseconds():
    metrics = Metrics()
    for made in (call(latency_s=0.000_010), call(latency_s=0.000_019), call(latency_s=4000)):
        metrics.observe(made)
    metrics.observe(call(latency_s=1, code=grpc.StatusCode.INTERNAL))
    found = samples(metrics)
    assert found[latency("count")] == 3
    assert found[latency("sum")] == 10 + 19 + 4000e6
    # Ends of buckets: 10, 10 * 1.8 = 18, 18 * 1.8 = 32.4 microseconds; the last, 10 * 1.8**32, is 25 minutes.
    assert [found[latency("bucket", le=end)] for end in ("10", "18", "32.4", "1.47476e+09", "+Inf")] == [1, 1, 2, 2, 3]
    assert sum(name == ":tensorflow:serving:request_latency_bucket" for name, *_ in found) == 34


def test_names_of_models_that_do_not_exist_do_not_fill_the_page():
    metrics = Metrics()
    for name in ("n" * 201, *(f"model-{number}" for number in range(5000))):
        metrics.observe(call(name, code=grpc.StatusCode.NOT_FOUND, version=None))
    metrics.observe(call())
    found = samples(metrics)
    failed = {key: value for key, value in found.items() if key[2:] == (("status", "NOT_FOUND"),)}
    assert len(failed) == 1001
    assert failed[count("other", "NOT_FOUND")] == 4001
    assert found[count("retriever", "OK")] == 1


def test_metadata_is_not_counted():
    metrics = Metrics()
    metrics.observe(call(method="GetModelMetadata"))
    assert samples(metrics) == {}
