"""A step on several replicas: what they share, so that its loss and gradients are those of one replica with the whole batch.

Each replica has its rows of the batch, and all have all negatives. With one replica every function here gives back what it got.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def choose_strategy() -> tf.distribute.Strategy:
    """`MirroredStrategy` where there are several GPUs, else the default one: one replica.

    Raises:
        ValueError: TF_CONFIG names other workers, on which this training does not run.
    """
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec().as_dict()
    workers = [address for job in ("chief", "worker") for address in cluster.get(job, [])]
    if len(workers) > 1:
        raise ValueError(
            f"A training runs on one machine, on all of its GPUs. Received: TF_CONFIG with {len(workers)} workers, {workers}. "
            "Unset it."
        )
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def num_replicas() -> int:
    """Of the current strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def gathered(values: tf.Tensor) -> tf.Tensor:
    """[n, ...] of each replica -> [replicas * n, ...], in their order; gradients go back to where the values are from."""
    context = _context()
    return values if context is None else tf.ensure_shape(context.all_gather(values, axis=0), [None, *values.shape[1:]])


def own_part(values: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
    """What `gathered` got from this replica: [replicas * num_rows, ...] -> [num_rows, ...]."""
    context = _context()
    if context is None:
        return values
    start = context.replica_id_in_sync_group * num_rows
    return values[start : start + num_rows]


def summed(values: Any) -> Any:
    """Sums over replicas of a tensor, or of a list of tensors, IndexedSlices and None."""
    context = _context()
    if context is None:
        return values
    if not isinstance(values, list):
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
    present = [value for value in values if value is not None]
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
    return [None if value is None else next(sums) for value in values]


def spread(strategy: tf.distribute.Strategy, batches: Callable[[int], tf.data.Dataset], *, batch_size: int) -> Any:
    """A dataset for `Model.fit`: each replica takes the next of the batches, which together are the step's.

    Args:
        strategy: of the model.
        batches: of as many rows as it is given.
        batch_size: rows of a step, a multiple of the number of replicas.
    """
    number = strategy.num_replicas_in_sync
    if number == 1:
        return batches(batch_size)
    return strategy.distribute_datasets_from_function(lambda _: batches(batch_size // number))


def _context() -> tf.distribute.ReplicaContext | None:
    """None with one replica, and outside of a step."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
