"""Recall, latency, throughput, build time and memory of our indexes, beside ScaNN alone, faiss and hnswlib, in one run.

    python -m benchmarks.index                # synthetic clustered vectors
    python -m benchmarks.index --root=DIR     # vectors and queries of a finished run
    python -m benchmarks.index --quick        # about a minute; its figures say little

Each system is a process of its own, bound to one core (its affinity) and told to use one thread (environment variables of the
libraries). All are built first, one after the other. Then they take turns in rounds; a figure is the median of the rounds.
Throughput, build and the ratios that are aims are of CPU time: on one core it is the time that passes while nobody else runs.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import index_data
from benchmarks import index_report
from benchmarks.index_environment import peers_python
from benchmarks.index_points import Point
from benchmarks.index_points import contenders
from benchmarks.index_systems import SystemFailedError
from benchmarks.index_systems import SystemProcess
from benchmarks.index_systems import all_systems
from serving.load_report import percentiles_ms
from tfx_pipeline import logs

_QUICK = {"num_items": 20_000, "num_queries": 200, "rounds": 1, "seconds": 0.02}
_CONTENDERS = 3
"""Settings of a system and a target that stay after the first round."""

Measured = list[tuple[SystemProcess, Point]]


def main() -> None:
    """Prints the table and writes every figure as JSON."""
    flags = _parse()
    logs.quiet_environment()
    python = peers_python()
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=flags.out.parent) as name:
        folder = Path(name)
        data = _save_data(folder, flags)
        print(data, flush=True)
        arguments = [f"--folder={folder}", f"--k={flags.k}", f"--batch={flags.batch}", f"--cpu={flags.cpu}"]
        specs = [spec for spec in all_systems() if spec.in_quick or not flags.quick]
        specs = [spec for spec in specs if not flags.systems or spec.name in flags.systems]
        # All start at once: their imports take most of a quick run.
        processes = [
            SystemProcess(spec, peers_python=python, arguments=arguments, log=folder / f"{number}.log")
            for number, spec in enumerate(specs)
        ]
        try:
            measured, failures = _build(processes)
            points = [point for _, point in measured]
            for _ in _rounds(measured, num_rounds=flags.rounds, seconds=flags.seconds):
                result = {"data": data, "failures": failures, "points": [asdict(point) for point in points]}
                flags.out.write_text(json.dumps(result, indent=2) + "\n")  # a run that is stopped keeps its rounds
        finally:
            for process in processes:
                process.stop()
    print(f"{data}\n{index_report.as_text(points, failures)}")


def _save_data(folder: Path, flags: argparse.Namespace) -> str:
    if flags.root:
        index_data.save_trained(folder, flags.root, num_queries=flags.num_queries, k=flags.k)
        text = f"trained vectors of {flags.root}"
    else:
        sizes = {"num_items": flags.num_items, "dim": flags.dim, "num_queries": flags.num_queries}
        index_data.save_synthetic(folder, **sizes, spread=flags.spread, k=flags.k)
        text = f"SYNTHETIC clustered vectors, spread {flags.spread:g}"
    num_items, dim = index_data.load(folder, index_data.VECTORS).shape
    num_queries = len(index_data.load(folder, index_data.QUERIES))
    return f"{text}: {num_items:,} items of {dim} dimensions, {num_queries:,} queries, k={flags.k}, batches of {flags.batch}"


def _build(processes: Sequence[SystemProcess]) -> tuple[Measured, dict[str, str]]:
    """The points of each system that could be built, without times yet, and why the others could not."""
    measured: Measured = []
    failures: dict[str, str] = {}
    started = [process for process in processes if _told(process, "start", failures) is not None]
    for process in tqdm(started, desc="build", unit="system"):
        if (built := _told(process, "build", failures)) is None:
            continue
        curve = built.pop("points")
        measured += [(process, Point(process.spec.name, process.spec.variant, **point, **built)) for point in curve]
        recalls = ", ".join(f"{point['recall']:.3f}" for point in curve)
        tqdm.write(f"{process.spec.title}: {built['build_s']:.1f} s, {built['memory_mb']:.0f} MB, recall {recalls}")
    return measured, failures


def _told(process: SystemProcess, do: str, failures: dict[str, str]) -> dict[str, Any] | None:
    """The answer to a command; None of a system that ended instead, which is noted."""
    try:
        return process.ask(do)
    except SystemFailedError as error:
        failures[process.spec.title] = str(error)
        tqdm.write(f"{process.spec.title}: not measured: {error}")
        return None


def _rounds(measured: Measured, *, num_rounds: int, seconds: float) -> Iterator[int]:
    """Adds each round's figures to the points, then gives its number; after the first only to those that may win."""
    turns = list(measured)
    for number in range(num_rounds):
        for process, point in tqdm(turns, desc=f"round {number + 1} of {num_rounds}", unit="point"):
            told = process.ask("measure", setting=point.setting, seconds=seconds)
            times = percentiles_ms(told["times_s"])
            figures = {"p50_ms": times["p50"], "p99_ms": times["p99"], "each_ms": 1000 * told["each_s"]}
            point.rounds.append({**figures, "per_s": told["per_s"]})
        if number == 0:
            kept = contenders([point for _, point in measured], targets=index_report.TARGETS, most=_CONTENDERS)
            turns = [(process, point) for process, point in measured if point in kept]
        yield number


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="of a finished run, whose vectors are taken")
    parser.add_argument("--num_items", type=int, default=1_000_000, help="synthetic (%(default)s)")
    parser.add_argument("--dim", type=int, default=64, help="synthetic (%(default)s)")
    parser.add_argument("--spread", type=float, default=1.2, help="of a synthetic cluster (%(default)s)")
    parser.add_argument("--num_queries", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("--k", type=int, default=100, help="results a query (%(default)s)")
    parser.add_argument("--batch", type=int, default=256, help="queries of a batch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.4, help="of each measurement (%(default)s)")
    parser.add_argument("--cpu", type=int, default=0, help="core that every system is bound to (%(default)s)")
    parser.add_argument("--systems", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="small; overrides the sizes")
    parser.add_argument("--out", type=Path, default=Path("run/bench/index.json"), help="(%(default)s)")
    flags = parser.parse_args()
    if flags.quick:
        parser.set_defaults(**_QUICK)
        flags = parser.parse_args()
    return flags


if __name__ == "__main__":
    main()
