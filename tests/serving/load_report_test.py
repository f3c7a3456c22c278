"""A load's figures against numpy and arithmetic."""

import numpy as np
import pytest

from serving.load_checks import Checked
from serving.load_generator import Outcome
from serving.load_messages import Answer
from serving.load_report import as_text
from serving.load_report import percentiles_ms
from serving.load_report import summary
from serving.load_swaps import Swap

ANSWER = Answer(1, (b"1",), (b"a",))
RIGHT = Checked(0, 0, [])


@pytest.mark.parametrize("number", [1, 2, 99, 1000, 1001])
def test_percentiles_are_nearest_ranks(number):
    times_s = np.random.default_rng(number).exponential(size=number)
    expected = 1000 * np.quantile(times_s, [0.5, 0.95, 0.99, 0.999, 1.0], method="inverted_cdf")
    np.testing.assert_allclose(list(percentiles_ms(times_s.tolist()).values()), expected)


def test_no_answers_have_no_percentiles():
    assert percentiles_ms([]) == {}


def test_latency_counts_from_when_a_request_was_due_and_failures_apart():
    outcomes = [
        Outcome(0, due_s=1.0, sent_s=1.25, done_s=1.5, error="", answer=ANSWER),
        Outcome(0, due_s=2.0, sent_s=2.0, done_s=4.0, error="DEADLINE_EXCEEDED", answer=None),
    ]
    figures = summary(outcomes, [], checked=RIGHT)
    assert figures["latency_ms"]["max"] == 500.0
    assert figures["generator_late_ms"]["max"] == 250.0
    assert figures["errors"] == {"DEADLINE_EXCEEDED": 1}
    assert figures["throughput_per_s"] == 0.25  # one answer in 4 s
    assert "late by 250.0 ms (p99): lower the rate" in as_text(figures)


def test_requests_that_touch_a_swap_are_told_from_the_rest():
    swap = Swap(2, published_s=10.0, available_s=11.0, settled_s=12.0)
    times_s = {(1.0, 1.1): "steady", (9.9, 10.3): "in", (10.5, 11.0): "in", (11.9, 12.5): "in", (12.0, 12.2): "steady"}
    outcomes = [Outcome(0, due_s, due_s, done_s, "", ANSWER) for due_s, done_s in times_s]
    figures = summary(outcomes, [swap], checked=RIGHT)
    np.testing.assert_allclose(figures["latency_steady_ms"]["max"], 200)
    np.testing.assert_allclose(figures["latency_in_swaps_ms"]["max"], 600)
    np.testing.assert_allclose(figures["p99_in_swaps_to_steady"], 3.0)
    assert "1 swaps, 2.0 s in all" in as_text(figures)
