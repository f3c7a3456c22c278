"""From raw tables to examples: events a second, memory and growth of Beam's way, beside one pandas script.

`python -m benchmarks.examples [--sizes=100000,300000,1000000,3000000] [--systems=beam,pandas] [--out=FOLDER]`.
SYNTHETIC: markets of the simulator with about so many events, in 60 days, over 5,000 items. Each system makes the files of the
five splits in a process of its own, one after the other; its time counts from after the imports. Beam runs in one process on
one core, as the pipeline runs it. Prints a table, the exponent of growth (slope of the logarithms of CPU time and events) and
the share of Beam's transforms at the largest size, and writes `examples.json` and the plot `examples.png`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.examples_worker import SOURCE
from tfx_pipeline import logs

EVENTS_PER_USER = 117
NUM_ITEMS = 5_000
_SHARES_TOLD = 12
Result = dict[str, Any]


def main() -> None:
    """Measures each size with each system, then tells."""
    flags = _parse()
    logs.quiet_environment()
    results: list[Result] = []
    for size in flags.sizes:
        with tempfile.TemporaryDirectory() as folder:
            dataset, num_events = _simulate(Path(folder), size)
            for system in flags.systems:
                print(f"{system}, {num_events:,} events …", file=sys.stderr)
                results.append({"system": system, "events": num_events, **_measure(system, dataset, Path(folder))})
                print(line(results[-1], results), flush=True)
    for system in flags.systems:
        found = [result for result in results if result["system"] == system]
        if len(found) > 1:
            print(
                f"{system}: exponent of growth {exponent(found):.2f}, of the last two sizes {exponent(found[-2:]):.2f}"
            )
    _tell_shares(results)
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "examples.json").write_text(json.dumps(results, indent=2) + "\n")
    _plot(results, flags.out / "examples.png")


def line(result: Result, results: list[Result]) -> str:
    """One row of the table; with the ratio of CPU time to that of pandas at the same size, where it is known."""
    rate = result["events"] / result["cpu_s"]
    told = (
        f"{result['system']:<7}{result['events']:>10,} events  {result['wall_s']:7.1f} s  CPU {result['cpu_s']:7.1f} s"
    )
    return f"{told}  {rate:>8,.0f} events/s of CPU  peak {result['peak_mb']:6,.0f} MB{_ratio(result, results)}"


def _ratio(result: Result, results: list[Result]) -> str:
    other = next((o for o in results if o["events"] == result["events"] and o["system"] != result["system"]), None)
    if other is None:
        return ""
    beam, pandas = (result, other) if result["system"] == "beam" else (other, result)
    return f"  beam / pandas {beam['cpu_s'] / pandas['cpu_s']:.2f}"


def exponent(results: list[Result]) -> float:
    """Slope of log CPU time over log events, by least squares: 1 is linear."""
    logs_of = np.log([[result["events"], result["cpu_s"]] for result in results])
    return float(np.polyfit(logs_of[:, 0], logs_of[:, 1], 1)[0])


def _simulate(folder: Path, num_events: int) -> tuple[Path, int]:
    from tfx_pipeline import dataset as datasets

    options = {"num_users": max(1, num_events // EVENTS_PER_USER), "num_items": NUM_ITEMS}
    tables = datasets.prepare_tables(SOURCE, None, folder, options)
    return tables, datasets.source_facts(tables)["rows_written"]["events"]


def _measure(system: str, dataset: Path, folder: Path) -> Result:
    out = folder / system
    out.mkdir()
    command = [sys.executable, "-m", "benchmarks.examples_worker", f"--system={system}"]
    command += [f"--dataset={dataset}", f"--out={out}"]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{system} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _tell_shares(results: list[Result]) -> None:
    largest = max((result for result in results if result["shares"]), key=lambda of: of["events"], default=None)
    if largest:
        told = ", ".join(f"{name} {share:.0%}" for name, share in list(largest["shares"].items())[:_SHARES_TOLD])
        print(f"Beam's time at {largest['events']:,} events: {told}")


def _plot(results: list[Result], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for system in dict.fromkeys(result["system"] for result in results):
        found = [result for result in results if result["system"] == system]
        axes.loglog([of["events"] for of in found], [of["cpu_s"] for of in found], marker="o", label=system)
    axes.set(xlabel="events (synthetic)", ylabel="CPU time [s]", title="Raw tables to examples, one core")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples", description=__doc__)
    parser.add_argument(
        "--sizes", type=_sizes, default=_sizes("100000,300000,1000000,3000000"), help="numbers of events"
    )
    parser.add_argument("--systems", type=lambda text: text.split(","), default=["beam", "pandas"])
    parser.add_argument("--out", type=Path, default=Path("run/bench"), help="(%(default)s)")
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


if __name__ == "__main__":
    main()
