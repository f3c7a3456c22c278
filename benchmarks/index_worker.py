"""One system in a process and on a core of its own: builds it, and measures it whenever it is told to.

Commands come as lines of JSON on the standard input, answers go as such to the standard output.
"""

import argparse
import functools
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import index_data
from benchmarks import index_recall
from benchmarks.index_memory import MemoryGrowth
from benchmarks.index_system import Setting
from benchmarks.index_system import System

_WARM_UP = 4
_MIN_CALLS = 8
_IN_A_ROW = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", required=True, help="module:class")
    parser.add_argument("--variant", default="")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--cpu", type=int, required=True)
    flags = parser.parse_args()
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    module, name = flags.system.split(":")
    system = getattr(importlib.import_module(module), name)(flags.folder, k=flags.k, variant=flags.variant)
    worker = Worker(system, batch=flags.batch, cpu=flags.cpu)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(worker, command.pop("do"))(**command)), file=replies, flush=True)


class Worker:
    """Carries out commands on a system.

    Args:
        system: To measure.
        batch: Queries of a batch.
        cpu: Core that it is bound to.
    """

    def __init__(self, system: System, *, batch: int, cpu: int) -> None:
        self._system = system
        self._vectors = index_data.load(system.folder, index_data.VECTORS)
        self._queries = self._asked = np.array(index_data.load(system.folder, index_data.QUERIES))
        self._kth_best = index_data.load(system.folder, index_data.KTH_BEST)
        self._batch = batch
        self._cpu = cpu

    def start(self) -> dict[str, Any]:
        """Nothing: who has the answer knows that the imports are done, which take more than one core."""
        return {}

    def build(self) -> dict[str, Any]:
        """CPU seconds and megabytes of the build, and the recall of each setting."""
        os.sched_setaffinity(0, {self._cpu})  # threads that the build starts inherit it
        self._vectors.max()  # the file is resident before memory is counted
        memory = MemoryGrowth()
        started_s = time.process_time()
        known = self._system.build(self._vectors)
        figures = {"build_s": time.process_time() - started_s, "peak_mb": memory.peak_mb()} | known
        self._asked = self._system.prepared(self._queries)
        points = [{"setting": setting, "recall": self._recall(setting)} for setting in self._system.settings]
        return {**figures, "memory_mb": memory.held_mb(), "points": points}

    def measure(self, *, setting: Setting, seconds: float) -> dict[str, Any]:
        """Seconds of each single query; CPU seconds of one among many in a row; batched queries in a CPU second.

        CPU time is what a core would take alone: on a machine that others use too, only the waiting is left out.
        """
        search = functools.partial(self._system.search, setting=setting)
        search_each = functools.partial(self._system.search_each, setting=setting)
        batches, singles = self._batches(self._batch), self._batches(1)
        batch_s = _times_s(search, batches, seconds=seconds, clock=time.process_time)
        times_s = _times_s(search, singles, seconds=seconds, clock=time.perf_counter)
        few = [batch[:_IN_A_ROW] for batch in batches]
        row_s = _times_s(search_each, few, seconds=seconds, clock=time.process_time)
        return {
            "per_s": self._batch / statistics.median(batch_s),
            "each_s": statistics.median(row_s) / len(few[0]),
            "times_s": times_s,
        }

    def _recall(self, setting: Setting) -> float:
        starts = range(0, len(self._queries), self._batch)
        found = [self._system.search(self._asked[start : start + self._batch], setting) for start in starts]
        return index_recall.recall(np.concatenate(found), self._vectors, self._queries, kth_best=self._kth_best)

    def _batches(self, size: int) -> list[np.ndarray]:
        """Batches of one size: the queries again and again, until each has begun a row."""
        rows = np.arange(len(self._queries))
        starts = range(0, len(self._queries), size)
        return [self._asked[np.take(rows, range(start, start + size), mode="wrap")] for start in starts]


def _times_s(
    call: Callable[[np.ndarray], object],
    batches: Sequence[np.ndarray],
    *,
    seconds: float,
    clock: Callable[[], float],
) -> list[float]:
    for batch in batches[:_WARM_UP]:
        call(batch)
    times_s: list[float] = []
    end_s = time.perf_counter() + seconds
    while len(times_s) < _MIN_CALLS or time.perf_counter() < end_s:
        batch = batches[len(times_s) % len(batches)]
        started_s = clock()
        call(batch)
        times_s.append(clock() - started_s)
    return times_s


if __name__ == "__main__":
    main()
