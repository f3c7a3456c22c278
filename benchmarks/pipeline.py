"""From raw events to a pushed retriever: time, memory and disk of the whole pipeline as the data grows, component by component.

`python -m benchmarks.pipeline [--sizes=100000,300000,1000000] [--out=FOLDER] [--set=SECTION.FIELD=VALUE ...]`. SYNTHETIC: markets
of the simulator with about so many events, in 60 days, over 5,000 items; each is one run of `tfx_pipeline.local_runner` in a new
root, which is deleted when it is measured. Memory is the most that one of its processes held. Prints a table and the exponent of
growth of each component, and writes `pipeline.json` and the plot `pipeline.png`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.examples import EVENTS_PER_USER
from benchmarks.examples import NUM_ITEMS
from benchmarks.examples_worker import SOURCE

_SHORT_S = 2.0
_TOTAL = "whole run"
_NO_GATES = ("evaluation.min_lift=0", "evaluation.min_lift_new=0")
"""What is measured is time: a small market may teach less than popularity knows."""
Result = dict[str, Any]


def main() -> None:
    """Runs each size, then tells."""
    flags = _parse()
    results: list[Result] = []
    for size in flags.sizes:
        print(f"{size:,} events …", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            results.append(_run(Path(folder) / "root", size, flags.set))
    print(table(results))
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "pipeline.json").write_text(json.dumps(results, indent=2) + "\n")
    _plot(results, flags.out / "pipeline.png")


def table(results: list[Result]) -> str:
    """Markdown: a row a component, slowest first, a column a size, and the exponent between the last two sizes."""
    last = results[-1]["seconds"]
    names = [name for name in sorted(last, key=lambda name: -last[name]) if last[name] >= _SHORT_S]
    head = "| seconds | " + " | ".join(f"{result['events']:,} events" for result in results) + " | exponent |"
    lines = [head, "|" + "---|" * (len(results) + 2)]
    for name in names:
        cells = [f"{result['seconds'][name]:.0f}" for result in results]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {_exponent(results, name)} |")
    for title, key in (
        ("CPU time [s]", "cpu_s"),
        ("most memory of a process [MB]", "peak_mb"),
        ("disk [MB]", "disk_mb"),
    ):
        lines.append(f"| {title} | " + " | ".join(f"{result[key]:,.0f}" for result in results) + " | |")
    lines.append("| recall@100 / popularity's | " + " | ".join(result["recall"] for result in results) + " | |")
    return "\n".join(lines)


def _exponent(results: list[Result], name: str) -> str:
    """Slope of the logarithms between the last two sizes: 1 is linear, less where fixed costs still weigh."""
    if len(results) < 2:
        return ""
    (events, seconds), (more, longer) = ((of["events"], of["seconds"][name]) for of in results[-2:])
    return f"{np.log(max(longer, 0.1) / max(seconds, 0.1)) / np.log(more / events):.2f}"


def _run(root: Path, num_events: int, settings: list[str]) -> Result:
    command = [sys.executable, "-m", "tfx_pipeline.local_runner", f"--source={SOURCE}", f"--root={root}"]
    given = [
        f"source.num_users={num_events // EVENTS_PER_USER}",
        f"source.num_items={NUM_ITEMS}",
        *_NO_GATES,
        *settings,
    ]
    start_s = time.monotonic()
    process = subprocess.Popen([*command, *(f"--set={setting}" for setting in given)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"The run of {num_events:,} events ended with {process.returncode}; its last lines are above.")
    metrics = json.loads((root / "metrics.json").read_text())
    of_all = metrics["eval"]["all"]
    recalls = [of_all[name]["recall@100"] for name in ("model", "popularity")]
    return {
        "events": metrics["examples"]["counts"]["events.rows"],
        "seconds": {**metrics["seconds"], _TOTAL: time.monotonic() - start_s},
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "disk_mb": sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) / 1e6,
        "recall": " / ".join(f"{recall:.3f}" for recall in recalls),
    }


def _plot(results: list[Result], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    last = results[-1]["seconds"]
    for name in sorted((name for name in last if last[name] >= _SHORT_S), key=lambda name: -last[name]):
        seconds = [max(result["seconds"][name], 0.1) for result in results]
        axes.loglog([result["events"] for result in results], seconds, marker="o", label=name)
    axes.set(xlabel="events (synthetic)", ylabel="time [s]", title="Raw events to a pushed retriever")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(file, dpi=120)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    sizes = [100_000, 300_000, 1_000_000]
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=sizes)
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="of every run; repeatable"
    )
    parser.add_argument("--out", type=Path, default=Path("run/bench"), help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
