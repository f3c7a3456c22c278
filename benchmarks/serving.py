"""`make bench`: the model server beside the bare signature, a gRPC echo and a minimal server, all in one run.

    python -m benchmarks.serving --also=--enable_batching

Each client sends its next request when the last is answered; all clients are one process of their own, and the bare
signature is called by as many threads. The systems take turns, and each figure, ratios too, is the median of its rounds.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from benchmarks import serving_model
from benchmarks import serving_systems
from benchmarks.serving_systems import ECHO
from benchmarks.serving_systems import MINIMAL
from benchmarks.serving_systems import SERVER
from benchmarks.serving_systems import SIGNATURE
from benchmarks.serving_systems import Measure
from serving import text_table
from serving.load_messages import read_users
from serving.text_table import Column
from tfx_pipeline import logs

_NUM_CLIENTS = (1, 8, 64)
_NUM_USERS = 64
_MOST_OVERHEAD, _LEAST_GAIN = 2.0, 1.5
_WIDTH = 120

Table = dict[str, dict[int, dict[str, float]]]


def main() -> None:
    """Prints a table of medians and writes it, with the figures of each round, as JSON."""
    flags = _parse()
    logs.quiet_environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if flags.model_base_path:
            base_path = flags.model_base_path
            users = read_users(features=flags.features, snapshot_path=flags.snapshot, num_users=_NUM_USERS)
        else:
            base_path = folder / "model"
            serving_model.save(base_path, num_items=flags.num_items)
            users = serving_model.users(num_users=_NUM_USERS, num_items=flags.num_items)
        with serving_systems.start(
            base_path, users, flags_of_servers=["", *flags.also], num_threads=flags.num_threads, folder=folder
        ) as systems:
            rounds = measured(systems, num_rounds=flags.rounds, seconds=flags.seconds)
    table = medians([with_ratios(each) for each in rounds])
    print(_as_text(table))
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    flags.out.write_text(json.dumps({"medians": table, "rounds": rounds}, indent=2) + "\n")


def measured(systems: Mapping[str, Measure], *, num_rounds: int, seconds: float) -> list[Table]:
    """The figures of each round, by system and number of clients."""
    rounds = []
    for number in range(num_rounds):
        table: Table = {name: {} for name in systems}
        for num_clients in _NUM_CLIENTS:
            for name, measure in systems.items():
                table[name][num_clients] = measure(num_clients, seconds)
        rounds.append(table)
        print(f"round {number + 1} of {num_rounds} is done", flush=True)
    return rounds


def with_ratios(table: Table) -> Table:
    """A round's figures, and those of the model servers beside their peers', which were measured just before or after.

    `overhead` is p50 to that of the signature plus that of the echo, `gain` throughput to the minimal server's.
    """
    added = {name: {num_clients: dict(figures) for num_clients, figures in table[name].items()} for name in table}
    for name in (name for name in table if name.startswith(SERVER)):
        for num_clients, figures in added[name].items():
            bare_ms = table[SIGNATURE][num_clients]["p50"] + table[ECHO][num_clients]["p50"]
            figures["overhead"] = figures["p50"] / bare_ms
            figures["gain"] = figures["per_s"] / table[MINIMAL][num_clients]["per_s"]
    return added


def medians(rounds: Sequence[Table]) -> Table:
    """The median over the rounds of each figure."""
    return {
        name: {
            num_clients: {
                figure: statistics.median(table[name][num_clients][figure] for table in rounds) for figure in figures
            }
            for num_clients, figures in by_clients.items()
        }
        for name, by_clients in rounds[0].items()
    }


def _as_text(table: Table) -> str:
    columns = [Column("clients", is_number=True), Column("system")]
    columns += [Column(text, is_number=True) for text in ("p50 [ms]", "p99 [ms]", "answers/s", "overhead", "gain")]
    digits = {"p50": 2, "p99": 2, "per_s": 0, "overhead": 2, "gain": 2}
    rows = [
        [str(num_clients), name]
        + [f"{figures[figure]:.{digits[figure]}f}" if figure in figures else "" for figure in digits]
        for num_clients in _NUM_CLIENTS
        for name, figures in ((name, by_clients[num_clients]) for name, by_clients in table.items())
    ]
    return (
        f"{text_table.render(columns, rows, width=_WIDTH)}\n"
        f"overhead: p50 / (signature's p50 + echo's p50), aim at most {_MOST_OVERHEAD:g}; "
        f"gain: answers/s / minimal server's, aim at least {_LEAST_GAIN:g}"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--num_items", type=int, default=20_000, help="of the synthetic retriever (%(default)s)")
    parser.add_argument("--model_base_path", type=Path, help="versions of a retriever to measure in its place")
    parser.add_argument("--features", type=Path, help="its users: JSON list of named inputs")
    parser.add_argument("--snapshot", type=Path, help="its users: snapshot (default: the newest run's)")
    parser.add_argument("--also", action="append", default=[], metavar="FLAGS", help="one more server with these flags")
    parser.add_argument("--num_threads", type=int, default=4 * (os.cpu_count() or 1), help="a server (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("run/bench/serving.json"), help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
