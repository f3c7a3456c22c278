"""Exact ranks and the exact best of a large catalogue, beside a plain product of the same matrices.

`python -m benchmarks.evaluation [--num_items=1000000 --num_queries=10000]`. SYNTHETIC: normal vectors of 64 dimensions, mapped from
disk as a run maps them. Each system is measured in a process of its own, one after the other, `--rounds` times in turn, for the
machine is noisy; the ratio is of the medians. Memory is the peak beyond what the process held before, the mapped vectors included
once they are read.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

_DIM = 64
_BARE_ROWS = 64
_KNOWN = 50
_BARE = "numpy product alone"


def bare_product(queries: np.ndarray, items: np.ndarray, k: int) -> None:
    """Numpy's product alone, in blocks of rows; nothing is done with the scores."""
    del k
    for start in range(0, len(queries), _BARE_ROWS):
        queries[start : start + _BARE_ROWS] @ items.T


def product_and_argpartition(queries: np.ndarray, items: np.ndarray, k: int) -> None:
    """What is usually written: all scores, numpy's argpartition, and a sort of the best."""
    for start in range(0, len(queries), _BARE_ROWS):
        scores = queries[start : start + _BARE_ROWS] @ items.T
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        np.argsort(np.take_along_axis(-scores, best, axis=1), axis=1)


def exact_ranks(queries: np.ndarray, items: np.ndarray, k: int) -> None:
    """The evaluator's ranks, from which recall at any k follows; bonuses and known items as in a run."""
    from tfx_pipeline.evaluation.ranks import vector_ranks
    from tfx_pipeline.evaluation.rows import Queries

    del k
    random = np.random.default_rng(2)
    lists = [random.choice(len(items), _KNOWN, replace=False) for _ in range(len(queries))]
    bonuses = [np.ones(_KNOWN, np.float32)] * len(queries)
    vector_ranks(Queries(queries, lists, bonuses), items, random.integers(0, len(items), len(queries)), lists)


def exact_best(queries: np.ndarray, items: np.ndarray, k: int) -> None:
    """The evaluator's exact k best, in order."""
    from tfx_pipeline.evaluation.tiles import top_k

    top_k(queries, items, k)


SYSTEMS: dict[str, Callable[[np.ndarray, np.ndarray, int], None]] = {
    _BARE: bare_product,
    "numpy product + argpartition": product_and_argpartition,
    "ranks": exact_ranks,
    "best k": exact_best,
}


def main() -> None:
    """Measures all systems in turn and prints the table."""
    flags = _parse()
    if flags.system:
        print(json.dumps(_measure(flags)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "items.npy"
        np.save(file, np.random.default_rng(1).normal(size=(flags.num_items, _DIM)).astype(np.float32))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in [_BARE, *flags.systems.split(",")]}
        for number in range(flags.rounds):
            for name in found:
                found[name].append(tuple(json.loads(_worker(flags, name, file))))
                print(f"round {number + 1} of {flags.rounds}: {name} {found[name][-1][0]:.1f} s", file=sys.stderr)
    print(f"{flags.num_items:,} items x {_DIM}, {flags.num_queries:,} queries, k={flags.k}, {flags.rounds} rounds")
    print(f"{'':<30}{'median [s]':>12}{'of bare':>9}{'peak [MB]':>11}")
    medians = {name: float(np.median([seconds for seconds, _ in values])) for name, values in found.items()}
    for name, values in found.items():
        ratio = medians[name] / medians[_BARE]
        print(f"{name:<30}{medians[name]:>12.1f}{ratio:>9.2f}{max(peak for _, peak in values):>11.0f}")


def _worker(flags: argparse.Namespace, name: str, file: Path) -> str:
    sizes = [f"--{key}={getattr(flags, key)}" for key in ("num_items", "num_queries", "k")]
    command = [sys.executable, "-m", "benchmarks.evaluation", f"--system={name}", f"--items={file}", *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def _measure(flags: argparse.Namespace) -> tuple[float, float]:
    """Seconds, and megabytes of peak memory beyond those at the start."""
    items = np.load(flags.items, mmap_mode="c")
    queries = np.random.default_rng(3).normal(size=(flags.num_queries, _DIM)).astype(np.float32)
    SYSTEMS[flags.system](queries[:2], items[:4096], min(flags.k, 4096))  # imports and first use
    before_mb = _peak_mb()
    start_s = time.monotonic()
    SYSTEMS[flags.system](queries, items, flags.k)
    return time.monotonic() - start_s, _peak_mb() - before_mb


def _peak_mb() -> float:
    """Of this process; getrusage's would begin with its parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--num_items", type=int, default=1_000_000)
    parser.add_argument("--num_queries", type=int, default=10_000)
    parser.add_argument("--k", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", default=",".join(list(SYSTEMS)[1:]), help="beside the product alone")
    parser.add_argument("--system", choices=list(SYSTEMS), help=argparse.SUPPRESS)
    parser.add_argument("--items", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
