"""What a catalogue costs: time, memory and disk to embed, load, export and serve it, at several sizes.

`python -m benchmarks.embedding [--sizes=100000,300000,1000000] [--kinds=exact,scann]`: synthetic items with planted towers, so
that nothing but the catalogue grows. Each step runs in a process of its own; memory is what it takes above its imports.
"""

import argparse
import math
import multiprocessing
import shutil
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

_MAX_K = 1000
_NUM_QUERIES = 200
_SAMPLE_S = 0.01


class Cost(NamedTuple):
    """Of one step: seconds; peak of all its memory, and of what is not a mapped file, MB; ms a query, where it asks."""

    seconds: float
    peak_mb: float
    own_mb: float
    query_ms: float | None


def main() -> None:
    """Prints a table: a line for each step and size, and how the costs grow from the size before."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedding", description=__doc__)
    parser.add_argument("--sizes", default="100000,300000,1000000", help="items, ascending")
    parser.add_argument("--kinds", default="exact,scann", help="of the index")
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary one by default")
    flags = parser.parse_args()
    kinds = flags.kinds.split(",")
    steps = ["embed", "load", *(f"{verb} {kind}" for kind in kinds for verb in ("export", "serve"))]
    before: dict[str, tuple[int, Cost]] = {}
    print(
        f"{'items':>10}  {'step':<13} {'s':>7} {'items/s':>9} {'peak MB':>8} {'B/item':>7} {'own MB':>7} {'B/item':>7}  growth"
    )
    for num_items in (int(size) for size in flags.sizes.split(",")):
        with tempfile.TemporaryDirectory(dir=flags.work) as folder:
            _apart(_make, "make", Path(folder), num_items)
            for step in steps:
                cost = _apart(_measure, step, Path(folder), num_items)
                print(_line(step, num_items, cost, before.get(step)), flush=True)
                before[step] = (num_items, cost)
            print(_disk(Path(folder), kinds, num_items), flush=True)


def _line(step: str, num_items: int, cost: Cost, before: tuple[int, Cost] | None) -> str:
    text = f"{num_items:>10,}  {step:<13} {cost.seconds:>7.1f} {num_items / cost.seconds:>9,.0f}"
    for megabytes in (cost.peak_mb, cost.own_mb):
        text += f" {megabytes:>{8 if megabytes is cost.peak_mb else 7},.0f} {megabytes * 1e6 / num_items:>7,.0f}"
    if before:
        ratio = math.log(num_items / before[0])
        time_, memory = (math.log(cost[place] / before[1][place]) / ratio for place in (0, 1))
        text += f"  time n^{time_:.2f} memory n^{memory:.2f}"
    return text + (f"  {cost.query_ms:.2f} ms a query" if cost.query_ms else "")


def _disk(folder: Path, kinds: list[str], num_items: int) -> str:
    parts = []
    for name in ("examples", "catalog", *kinds):
        num_bytes = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
        parts.append(f"{name} {num_bytes / 1e6:,.0f} MB = {num_bytes / num_items:,.0f} B/item")
    return f"{num_items:>10,}  on disk: " + ", ".join(parts)


def _apart(function, *arguments):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _make(_: str, folder: Path, num_items: int) -> None:
    _quiet_imports()
    from benchmarks import embedding_towers

    embedding_towers.save_towers(folder / "towers")
    embedding_towers.save_examples(folder / "examples", num_items=num_items)


def _measure(step: str, folder: Path, num_items: int) -> Cost:
    del num_items
    _quiet_imports()
    verb, _, kind = step.partition(" ")
    run = {"embed": _embed, "load": _load, "export": _export, "serve": _serve}[verb]
    base = _memory_mb("RssAnon"), _memory_mb("VmRSS")
    own = [base[0]]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            own.append(max(own.pop(), _memory_mb("RssAnon")))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started_s = time.monotonic()
    query_ms = run(folder, kind)
    seconds = time.monotonic() - started_s
    done.set()
    watcher.join()
    return Cost(seconds, _memory_mb("VmHWM") - base[1], own[0] - base[0], query_ms)


def _embed(folder: Path, _: str) -> None:
    import apache_beam as beam

    from tfx_pipeline.index.embed import embed_catalog

    pipeline = beam.Pipeline(argv=["--direct_running_mode=in_memory", "--direct_num_workers=1"])
    files = [str(path) for path in (folder / "examples").iterdir()]
    embed_catalog(pipeline, towers=str(folder / "towers"), files=files, folder=folder / "catalog")


def _load(folder: Path, _: str) -> None:
    from tfx_pipeline.index.catalog import Catalog

    Catalog.load(folder / "catalog")


def _export(folder: Path, kind: str) -> None:
    import tensorflow as tf

    from tfx_pipeline.index.catalog import Catalog
    from tfx_pipeline.index.retriever import Retriever
    from tfx_pipeline.index.retriever import export_retriever

    towers = tf.saved_model.load(str(folder / "towers"))
    catalog = Catalog.load(folder / "catalog")
    versions = {"model_version": "1", "index_version": "1"}
    shutil.rmtree(folder / kind, ignore_errors=True)
    export_retriever(Retriever(towers, catalog, kind=kind, max_k=_MAX_K, **versions), str(folder / kind))


def _serve(folder: Path, kind: str) -> float:
    """Median milliseconds of one query for 100 items, within the process."""
    import numpy as np
    import scann  # noqa: F401 (registers the operations that the SavedModel needs)
    import tensorflow as tf

    retrieve = tf.saved_model.load(str(folder / kind)).signatures["retrieve"]
    times_s = []
    for number in range(_NUM_QUERIES):
        started_s = time.monotonic()
        retrieve(user_id=tf.constant([f"user{number}"]), k=tf.constant([100]))
        times_s.append(time.monotonic() - started_s)
    return 1000 * float(np.median(times_s))


def _quiet_imports() -> None:
    from tfx_pipeline import logs

    logs.quiet_environment()
    import apache_beam.runners.direct
    import scann

    import tfx_pipeline.index.embed
    import tfx_pipeline.index.retriever

    del apache_beam, scann, tfx_pipeline  # imported so that they are no part of a step's cost


def _memory_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text().split(f"{name}:")[1]
    return int(status.split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
