"""The served model beside its peers, on the same users, items and metric code.

`python -m benchmarks.peers --root=DIR [--peers=popularity,EASE]`, of a finished run of `tfx_pipeline.local_runner`. One query
per user with a past, as of the cut (split `queries`); every item with a train conversion is ranked; the truth is the distinct
items among them that the user converted on afterwards; recall@k is the mean over users. *New* leaves out what the user had
converted on before. Each peer's settings are the best of its grid on an earlier slice: the latest 15% of the train conversions,
after the others. The model is the one that the run pushed. Seconds: of a peer, its fit with these settings and its ranking; of the
model, its whole run, from raw tables to the push, less what came from the cache.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline import logs

Ranks = tuple[list[np.ndarray], list[np.ndarray]]
"""Per user the ranks of what was bought, of all and of new."""
_MODEL = "this model, as pushed"


def main() -> None:
    """Chooses settings, measures and prints the table."""
    flags = _parse()
    logs.quiet_environment()
    from benchmarks.peers_methods import GRIDS  # after the environment is quiet: TensorFlow comes with them
    from benchmarks.peers_tasks import tasks_of
    from tfx_pipeline.retriever_records import METADATA_FILE
    from tfx_pipeline.run_record import read_last_run

    if unknown := [name for name in flags.peers or () if name not in GRIDS]:
        raise SystemExit(f"--peers must be among {', '.join(GRIDS)}. Received: {', '.join(unknown)}")
    task, earlier, scores = tasks_of(flags.root)
    print(f"{len(task.users):,} users with a past, {task.counts.shape[1]:,} items", file=sys.stderr)
    rows: dict[str, Ranks] = {}
    seconds: dict[str, float] = {}
    for name, (peer, grid) in GRIDS.items():
        if flags.peers and name not in flags.peers:
            continue
        start_s = time.monotonic()
        tried: list[tuple[float, dict[str, Any]]] = [
            (_value(earlier.ranks(peer(earlier.counts, earlier.users, **options)), flags.ks), options)
            for options in grid
        ]
        best = max(tried, key=lambda found: found[0])[1]
        chosen_s = time.monotonic()
        rows[name] = task.ranks(peer(task.counts, task.users, **best))
        seconds[name] = time.monotonic() - chosen_s
        print(f"{name}: best of {len(grid)} {best or ''}, {time.monotonic() - start_s:.0f} s", file=sys.stderr)
    rows[_MODEL] = task.ranks(scores)
    seconds[_MODEL] = sum(read_last_run(flags.root / METADATA_FILE, expected=()).seconds.values())
    print(table(rows, seconds, flags.ks))


def _recalls(found: list[np.ndarray], k: int) -> np.ndarray:
    return np.array([np.mean(row < k) for row in found if len(row)])


def _value(found: Ranks, ks: list[int]) -> float:
    """Geometric mean of the columns: no column is bought with another."""
    return float(np.mean([np.log(np.mean(_recalls(ranks, k)) + 1e-9) for ranks in found for k in ks]))


def table(rows: dict[str, Ranks], seconds: dict[str, float], ks: list[int]) -> str:
    """Markdown, with the greatest standard error over users of each column."""
    columns = [(f"recall@{k} {kind}", place, k) for place, kind in enumerate(("all", "new")) for k in ks]
    lines = ["| peer | " + " | ".join(name for name, *_ in columns) + " | seconds |", "|" + "---|" * (len(columns) + 2)]
    errors: list[list[float]] = [[] for _ in columns]
    for name, found in rows.items():
        cells = []
        for number, (_, place, k) in enumerate(columns):
            recalls = _recalls(found[place], k)
            errors[number].append(float(recalls.std(ddof=1) / np.sqrt(len(recalls))))
            cells.append(f"{recalls.mean():.4f}")
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {seconds[name]:.0f} |")
    lines.append("| standard error, at most | " + " | ".join(f"{max(found):.4f}" for found in errors) + " | |")
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--peers", type=lambda text: text.split(","), help="names of the table; default: all")
    parser.add_argument("--ks", type=lambda text: [int(k) for k in text.split(",")], default=[20, 100, 1000])
    return parser.parse_args()


if __name__ == "__main__":
    main()
