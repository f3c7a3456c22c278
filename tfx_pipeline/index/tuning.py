"""Chooses the effort of an index: the fastest that finds enough of the exact answers to real queries."""

import functools
import json
import logging
import operator
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfx_pipeline.index.effort import TUNED_K
from tfx_pipeline.index.effort import Effort
from tfx_pipeline.index.exact import exact_top_k

log = logging.getLogger(__name__)

_BATCH = 64
_ROUNDS = 9
_QUERIES_PER_ROUND = 8
_ROUNDING = 1e-5


class Tunable(Protocol):
    """An index with an effort."""

    vectors: tf.Variable
    effort: Effort

    def efforts(self) -> list[list[Effort]]:
        """Rows by rising parts searched, each by rising reordering."""

    def search(
        self, queries: tf.Tensor, k: tf.Tensor, num_searched: tf.Tensor, num_reordered: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions with a given effort; exact ones of a query whose parts hold too few items."""

    def candidates(
        self, queries: tf.Tensor, k: tf.Tensor, num_searched: tf.Tensor, num_reordered: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What the parts hold: scores, positions, and whether there is one."""


@dataclass(frozen=True)
class Trial:
    """One effort, measured.

    Attributes:
        num_searched: see `Effort`.
        num_reordered: see `Effort`.
        recall: share of the exact top k that is found.
        latency_ms: of one query alone, median of rounds in one graph: without the cost of a call.
        num_short: queries whose parts hold fewer than k items: exact search answers these.
    """

    num_searched: int
    num_reordered: int
    recall: float
    latency_ms: float
    num_short: int = 0


@dataclass(frozen=True)
class Tuning:
    """The curve and the choice.

    Attributes:
        k: results asked for.
        num_queries: on which recall was measured.
        target_recall: to be reached.
        exact_latency_ms: of brute force, measured as the trials are.
        trials: in the order in which they were made.
        chosen: one of them.
    """

    k: int
    num_queries: int
    target_recall: float
    exact_latency_ms: float
    trials: tuple[Trial, ...]
    chosen: Trial

    def save(self, file: Path) -> None:
        """Writes JSON."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")


def tune(index: Tunable, queries: np.ndarray, *, target_recall: float) -> Tuning:
    """Measures efforts and sets the index's to the best one; the graph must be traced after this.

    Args:
        index: built.
        queries: [queries, dim] float32, real ones that were not trained on, at least one.
        target_recall: share of the exact top `TUNED_K` to find, above 0, up to 1.
    """
    k = min(TUNED_K, index.vectors.shape[0])
    trials = _measure(index, queries, k=k, target_recall=target_recall)
    chosen = choose(trials, target_recall=target_recall)
    index.effort = Effort(chosen.num_searched, chosen.num_reordered)
    exact = _looped(lambda query, *_: exact_top_k(index.vectors, query, k))
    tuning = Tuning(k, len(queries), target_recall, _latency_ms(exact, queries, index.effort), tuple(trials), chosen)
    log.info(
        "Tuned on %s queries: %s parts searched, %s reordered, recall@%s %.4f (target %s) in %.3f ms, exact search %.3f ms",
        *(len(queries), chosen.num_searched, chosen.num_reordered, k, chosen.recall, target_recall),
        *(chosen.latency_ms, tuning.exact_latency_ms),
    )
    if chosen.recall < target_recall:
        log.warning("No effort reaches index.target_recall=%s: the most exact one is taken", target_recall)
    return tuning


def choose(trials: Sequence[Trial], *, target_recall: float) -> Trial:
    """The fastest of the trials that reach the target with the least work; where none does, the most exact one.

    A trial that does more of both kinds of work than another that reaches the target was only luckier when time was taken.
    """
    reaching = [trial for trial in trials if trial.recall >= target_recall]
    if reaching:
        least = [trial for trial in reaching if not any(_does_more(trial, other) for other in reaching)]
        return min(least, key=lambda trial: (trial.latency_ms, -trial.recall))
    return max(trials, key=lambda trial: (trial.recall, -trial.latency_ms))


def _does_more(trial: Trial, other: Trial) -> bool:
    """Whether it cannot be the faster one; it can where exact search had to fill the other's answers."""
    work, less = ((one.num_searched, one.num_reordered) for one in (trial, other))
    return work != less and all(map(operator.ge, work, less)) and not other.num_short


def is_settled(row: Sequence[Trial], trials: Sequence[Trial], *, target_recall: float) -> bool:
    """Whether searching more parts than this row can only be slower than what already reaches the target.

    Not while a query has too few items in them, for exact search is slower than more parts.
    """
    if row[-1].num_short:
        return False
    chosen = choose(trials, target_recall=target_recall)
    return chosen.recall >= target_recall and min(trial.latency_ms for trial in row) >= chosen.latency_ms


def _measure(index: Tunable, queries: np.ndarray, *, k: int, target_recall: float) -> list[Trial]:
    number = tf.TensorSpec([], tf.int32)
    batch = tf.TensorSpec([None, index.vectors.shape[1]], tf.float32)
    candidates = tf.function(
        lambda queries, effort: index.candidates(queries, tf.constant(k), *effort),
        input_signature=[batch, (number, number)],
        autograph=False,
    )
    looped = _looped(lambda query, *effort: index.search(query, tf.constant(k), *effort))
    (worst,) = _in_batches(lambda part: [exact_top_k(index.vectors, part, k)[0][:, -1:]], queries)
    worst -= _ROUNDING * (1 + np.abs(worst))
    trials: list[Trial] = []
    for efforts in index.efforts():
        row = []
        for effort in efforts:
            work = tf.constant(effort.num_searched), tf.constant(effort.num_reordered)
            scores, _, is_found = _in_batches(functools.partial(candidates, effort=work), queries)
            is_short = ~is_found.all(axis=1, keepdims=True)
            recall = float(((scores >= worst) | is_short).mean())  # by score: any of equal items will do
            latency_ms = _latency_ms(looped, queries, effort)
            row.append(Trial(**asdict(effort), recall=recall, latency_ms=latency_ms, num_short=int(is_short.sum())))
        trials += row
        if is_settled(row, trials, target_recall=target_recall):
            break
    return trials


def _in_batches(search: Callable[[tf.Tensor], Sequence[tf.Tensor]], queries: np.ndarray) -> list[np.ndarray]:
    parts = (queries[start : start + _BATCH] for start in range(0, len(queries), _BATCH))
    return [np.concatenate(outputs) for outputs in zip(*(search(tf.constant(part)) for part in parts), strict=True)]


def _looped(search: Callable) -> Callable:
    """A graph that searches for one query after the other."""

    def run(queries: tf.Tensor, num_searched: tf.Tensor, num_reordered: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            lambda query: search(query[tf.newaxis], num_searched, num_reordered)[0][0, 0],
            queries,
            parallel_iterations=1,
        )

    return tf.function(run, autograph=False)


def _latency_ms(looped: Callable, queries: np.ndarray, effort: Effort) -> float:
    efforts = tf.constant(effort.num_searched), tf.constant(effort.num_reordered)
    took_s = []
    for start in range(0, (_ROUNDS + 1) * _QUERIES_PER_ROUND, _QUERIES_PER_ROUND):
        part = tf.constant(queries.take(range(start, start + _QUERIES_PER_ROUND), axis=0, mode="wrap"))
        started_s = time.perf_counter()
        looped(part, *efforts).numpy()
        took_s.append(time.perf_counter() - started_s)
    return float(np.median(took_s[1:])) / _QUERIES_PER_ROUND * 1000  # the first one may trace
