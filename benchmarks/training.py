"""Examples per second of training: this model beside the plain TFRS two-tower of the tutorial, batch by batch the same rows.

`python -m benchmarks.training --source=NAME --root=DIR [--rounds=3] [--seconds=5] [--set=trainer.FIELD=VALUE ...]`, of a
finished run of the pipeline. Systems take turns, so that a busy machine slows all of them: compare the ratios. A step is timed
on batches in memory; `input` reads batches from the files, as a training does, and trains on none. The same model in PyTorch has an
environment of its own, made at the first call, and first shows that its loss and gradients are ours.
"""

import argparse
import dataclasses
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.peers_tfrs import PlainTwoTower
from benchmarks.training_peer import TorchPeer
from benchmarks.training_run import training_run
from trainer.inputs import ITEM
from trainer.optimizers import optimizers
from trainer.tables import EVENT_VOCABULARY

_NUM_BATCHES = 20
_PLAIN = "plain TFRS two-tower, step"


def main() -> None:
    """Prints a table of examples per second."""
    flags = _parse()
    systems, batch_size = _systems(flags)
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(flags.rounds):
        for name, pace in systems.items():
            rates[name].append(batch_size * pace(flags.seconds))
    print(f"batches of {batch_size:,}; {flags.rounds} rounds of {flags.seconds:g} s; {os.cpu_count()} cores")
    plain = float(np.median(rates[_PLAIN]))
    for name, found in rates.items():
        middle = float(np.median(found))
        print(f"{name:<33} {middle:>12,.0f} examples/s ({min(found):,.0f} to {max(found):,.0f})  {middle / plain:8.3f}")


def _systems(flags: argparse.Namespace) -> tuple[dict[str, Callable[[float], float]], int]:
    """What trains for so many seconds and returns steps a second, by name; and the rows of a step."""
    run = training_run(flags.source, flags.root, flags.set)
    config = run.config
    kept = list(run.batches().take(_NUM_BATCHES))
    users = np.unique(np.concatenate([batch["user_id"].numpy() for batch in kept]))
    pairs = [(tf.constant(np.searchsorted(users, batch["user_id"].numpy())), batch[ITEM]) for batch in kept]
    inputs = [{name: value for name, value in batch.items() if name != "user_id"} for batch in kept]

    options = {"": {}, ", jit_compile": {"jit_compile": True}, ", mixed_precision": {"mixed_precision": True}}
    models = {}
    for name, changes in options.items():
        changed = dataclasses.replace(config, **changes)
        models[name] = run.model(changed)
        models[name].compile(*optimizers(changed, total_steps=1_000_000))
    plain = PlainTwoTower(len(users), models[""].catalog.num_items)
    plain.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(0.1))
    read = iter(run.batches())
    steps: dict[str, Callable[[], object]] = {
        _PLAIN: _turns(tf.function(plain.train_step, reduce_retracing=True), pairs),
        **{
            f"this model, step{name}": _turns(
                tf.function(model.train_step, autograph=False, reduce_retracing=True), inputs
            )
            for name, model in models.items()
        },
        "this model, input": lambda: next(read),
    }
    for step in steps.values():
        for _ in range(_NUM_BATCHES):  # graphs are built, caches are warm
            step()
    features = (run.groups.of_role("query", "context"), run.groups.item)
    events = [event.decode() for event in run.transform.vocabulary_by_name(EVENT_VOCABULARY)]
    peer = TorchPeer(models[""], features, events, config, inputs, num_threads=os.cpu_count() or 1)
    peer.steps_per_second(flags.seconds)  # its caches are warm too
    paces = {name: functools.partial(_steps_per_second, step) for name, step in steps.items()}
    return {**paces, "this model in PyTorch, step": peer.steps_per_second}, run.batch_size


def _turns(train: Callable, batches: list) -> Callable[[], object]:
    """A step on the next batch, in turns."""
    turn = iter(range(10**9))
    return lambda: float(train(batches[next(turn) % len(batches)])["loss"])


def _steps_per_second(step: Callable[[], object], seconds: float) -> float:
    start_s, count = time.perf_counter(), 0
    while time.perf_counter() - start_s < seconds:
        step()
        count += 1
    return count / (time.perf_counter() - start_s)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
