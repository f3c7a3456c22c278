"""`make demo`: raw data -> pipeline -> model server -> three users' answers, in one process tree that cleans up."""

import argparse
import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_SLICES = {
    "complete_journey": [
        "source.first_week=28",
        "source.household_share=0.12",
        "source.only_sold_items=true",
    ],
    "marketplace_simulator": ["source.num_users=2000", "source.num_items=2000"],
}
"""So that the whole command takes about 10 minutes on 2 cores; `--full` drops them."""
_NUM_USERS = 3
_SERVER_START_S = 180
_SERVER_STOP_S = 30


def main() -> int:
    """Runs the steps; the exit status is that of the first one that fails."""
    flags = _parse()
    root = flags.root.resolve()
    started_s = time.monotonic()
    status = subprocess.run(_pipeline_command(flags, root), check=False).returncode
    if status:
        return status
    with _server(root / "serving" / "retriever") as address:
        for user in _chosen_users(root / "serving" / "user_snapshot.sqlite"):
            command = [sys.executable, "-m", "serving.query", f"--server={address}", f"--user={user}", "--k=10"]
            status = status or subprocess.run(command, check=False).returncode
    metrics = json.loads((root / "metrics.json").read_text())
    row = metrics["eval"]["all"]
    print(
        f"\nDone in {time.monotonic() - started_s:.0f} s: recall@100 {row['model']['recall@100']:.3f}, popularity "
        f"{row['popularity']['recall@100']:.3f} on {row['num_rows']:,} conversions. All metrics: {root / 'metrics.json'}"
    )
    return status


def _pipeline_command(flags: argparse.Namespace, root: Path) -> list[str]:
    command = [sys.executable, "-m", "tfx_pipeline.local_runner", f"--source={flags.source}", f"--root={root}"]
    settings = [] if flags.full else _SLICES.get(flags.source, [])
    data = [f"--data={flags.data}"] if flags.data else []
    return [*command, *data, *(f"--set={setting}" for setting in settings)]


@contextlib.contextmanager
def _server(base: Path) -> Iterator[str]:
    """A model server on a free port; its address, once it serves."""
    command = [sys.executable, "-m", "serving.model_server", "--port=0", f"--model_base_path={base}"]
    process = subprocess.Popen([*command, "--model_name=retriever"], stdout=subprocess.PIPE, text=True)
    try:
        yield _address(process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=_SERVER_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _address(process: subprocess.Popen) -> str:
    deadline_s = time.monotonic() + _SERVER_START_S
    for line in process.stdout or ():
        print(line.rstrip(), flush=True)
        if found := re.search(r"Serving \S+ version \d+ at (\S+)", line):
            return found.group(1)
        if time.monotonic() > deadline_s:
            break
    raise RuntimeError("The model server did not start; its last lines are above.")


def _chosen_users(snapshot: Path) -> list[str]:
    """Users with a history of middling length, so that an answer can be judged by eye."""
    with contextlib.closing(sqlite3.connect(snapshot)) as database:
        rows = database.execute("SELECT user_id, features FROM users ORDER BY user_id").fetchall()
    lengths = {user: len(json.loads(features).get("history_item_id", [])) for user, features in rows}
    middling = [user for user, length in lengths.items() if 8 <= length <= 40] or list(lengths)
    return middling[:: max(1, len(middling) // _NUM_USERS)][:_NUM_USERS]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--full", action="store_true", help="all of the data; far longer")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
