import dataclasses
import json
import logging

import numpy as np
import pytest
import tensorflow as tf
from planted_clusters import brute_force
from planted_clusters import popular
from planted_clusters import recall

from tfx_pipeline.index.effort import Effort
from tfx_pipeline.index.exact import ExactIndex
from tfx_pipeline.index.indexes import build_index
from tfx_pipeline.index.tuning import Trial
from tfx_pipeline.index.tuning import choose
from tfx_pipeline.index.tuning import is_settled
from tfx_pipeline.index.tuning import tune

FAST, MIDDLE, SLOW = Trial(1, 100, 0.90, 0.1), Trial(1, 200, 0.97, 0.2), Trial(2, 100, 0.99, 0.4)
SLOWER_AND_SAME = Trial(2, 200, 0.99, 0.5)


@pytest.mark.parametrize(
    ("target", "expected"), [(0.5, FAST), (0.9, FAST), (0.95, MIDDLE), (0.98, SLOW), (0.995, SLOW), (1.0, SLOW)]
)
def test_the_fastest_that_reaches_the_target_is_chosen_else_the_most_exact(target, expected):
    trials = [SLOWER_AND_SAME, SLOW, MIDDLE, FAST]
    assert choose(trials, target_recall=target) == expected
    assert choose(trials[::-1], target_recall=target) == expected


def test_of_equally_fast_ones_the_more_exact_is_chosen():
    assert choose([FAST, Trial(5, 5, 0.95, 0.1)], target_recall=0.8).recall == 0.95


@pytest.mark.parametrize(
    ("lucky", "num_short", "is_chosen"),
    [
        (Trial(2, 300, 0.99, 0.1), 0, False),  # more of both than MIDDLE: it cannot be faster
        (Trial(1, 300, 0.99, 0.1), 0, False),
        (Trial(2, 300, 0.99, 0.1), 1, True),  # exact search filled an answer of MIDDLE, which takes longer
        (Trial(2, 100, 0.99, 0.1), 0, True),  # more of one, less of the other
    ],
)
def test_of_two_that_reach_the_target_more_work_is_not_taken_for_faster(lucky, num_short, is_chosen):
    least = dataclasses.replace(MIDDLE, num_short=num_short)
    assert choose([FAST, least, lucky], target_recall=0.95) == (lucky if is_chosen else least)


@pytest.mark.parametrize(
    ("row", "target", "expected"),
    [
        ([FAST, MIDDLE], 0.995, False),  # nothing reaches it
        ([FAST, MIDDLE], 0.95, False),  # FAST is faster than MIDDLE: more parts may do with as few reordered
        ([SLOW, SLOWER_AND_SAME], 0.95, True),
        ([SLOW, dataclasses.replace(SLOWER_AND_SAME, num_short=1)], 0.95, False),  # it was exact search that was slow
    ],
)
def test_the_search_ends_where_more_parts_can_only_be_slower(row, target, expected):
    assert is_settled(row, [FAST, MIDDLE, *row], target_recall=target) == expected


@pytest.mark.parametrize("kind", ["scann", "scann_int8", "ivf"])
def test_an_index_is_tuned_on_queries_to_the_target_and_the_curve_is_kept(kind, tmp_path):
    items, queries = popular(20_500, 16, num_queries=120)
    index = build_index(kind, items, max_k=1000)
    tuning = tune(index, queries[:60], target_recall=0.95)
    chosen = tuning.chosen
    assert chosen.recall >= 0.95
    assert chosen == choose(tuning.trials, target_recall=0.95)
    assert (index.effort.num_searched, index.effort.num_reordered) == (chosen.num_searched, chosen.num_reordered)
    expected = brute_force(queries, items, 100)[1]
    positions = index(tf.constant(queries), tf.constant(100))[1].numpy()
    assert recall(positions[:60], expected[:60]) == pytest.approx(chosen.recall, abs=1e-3)
    assert recall(positions[60:], expected[60:]) >= 0.93  # of others than it was tuned on
    tuning.save(tmp_path / "tuning.json")
    stored = json.loads((tmp_path / "tuning.json").read_text())
    assert (stored["k"], stored["num_queries"], stored["target_recall"]) == (100, 60, 0.95)
    assert stored["chosen"] in stored["trials"]
    assert set(stored["chosen"]) == {"num_searched", "num_reordered", "recall", "latency_ms", "num_short"}
    assert min(trial["latency_ms"] for trial in stored["trials"]) > 0
    assert stored["exact_latency_ms"] > 0


def test_a_target_that_is_not_reached_is_said(caplog):
    items, queries = popular(20_500, 16, num_queries=20)
    index = build_index("scann", items, max_k=1000)
    index.efforts = lambda: [[type(index.effort)(0, 100)]]
    with caplog.at_level(logging.WARNING):
        tuning = tune(index, queries, target_recall=1.0)
    assert tuning.chosen.recall < 1
    assert "No effort reaches index.target_recall=1.0" in caplog.text


@pytest.mark.parametrize("kind", ["scann", "scann_int8", "ivf"])
def test_equal_items_do_not_count_as_missed(kind):
    items = np.ones((500, 4), np.float32)
    tuning = tune(build_index(kind, items, max_k=500), np.ones((3, 4), np.float32), target_recall=1.0)
    assert tuning.chosen.recall == 1


class OnePartIsTooSmall(ExactIndex):
    """Exact search in two parts, of which one alone holds nothing."""

    def efforts(self):
        return [[Effort(1, 100)], [Effort(2, 100)]]

    def search(self, queries, k, num_searched, num_reordered):
        return self(queries, k)

    def candidates(self, queries, k, num_searched, num_reordered):
        scores, positions = self(queries, k)
        return scores, positions, tf.fill(tf.shape(scores), num_searched > 1)


def test_more_parts_are_tried_while_exact_search_has_to_help():
    items, queries = popular(500, 4, num_queries=20)
    tuning = tune(OnePartIsTooSmall(items), queries, target_recall=0.9)
    assert [(trial.num_searched, trial.recall, trial.num_short) for trial in tuning.trials] == [(1, 1, 20), (2, 1, 0)]
