"""A step on several replicas: what they share, so that its loss and gradients are those of one replica with the whole batch.

Each replica has its rows of the batch, and all have all negatives. With one replica every function here gives back what it got.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.inputs import WHOLE
from trainer.inputs import Part


def choose_strategy() -> tf.distribute.Strategy:
    """One replica on each GPU: of all workers that TF_CONFIG names, else of this machine; the default strategy with one replica.

    With several workers it must come before all else that TensorFlow does in this process (see `trainer.cluster`).
    """
    if num_workers() > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def num_workers() -> int:
    """Of TF_CONFIG's cluster, the chief among them; 0 without one."""
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec().as_dict()
    return sum(len(cluster.get(job, [])) for job in ("chief", "worker"))


def is_chief() -> bool:
    """Whether this worker keeps what the training leaves; the only one does."""
    return tf.distribute.get_strategy().extended.should_checkpoint


def of_chief(value: float) -> float:
    """The chief's number, on all workers: what they decide by it they decide alike, though their processors round otherwise."""
    strategy = tf.distribute.get_strategy()
    if num_replicas() == 1:
        return value

    def share() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        own = tf.where(context.replica_id_in_sync_group == 0, tf.constant(value, tf.float64), 0.0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    return float(strategy.experimental_local_results(strategy.run(share))[0])


def num_replicas() -> int:
    """Of the current strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def gathered(values: tf.Tensor) -> tf.Tensor:
    """[n, ...] of each replica -> [replicas * n, ...], in their order; gradients go back to where the values are from."""
    context = _context()
    if context is None:
        return values
    return tf.ensure_shape(context.all_gather(_placed(values), axis=0), [None, *values.shape[1:]])


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
        return context.all_reduce(tf.distribute.ReduceOp.SUM, _placed(values))
    present = [_placed(value) for value in values if value is not None]
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
    return [None if value is None else next(sums) for value in values]


def spread(
    strategy: tf.distribute.Strategy, batches: Callable[[int, Part], tf.data.Dataset], *, batch_size: int
) -> Any:
    """A dataset for `Model.fit`: each replica takes the next of the batches, which together are the step's.

    Args:
        strategy: of the model.
        batches: of as many rows as it is given; of them the part that a worker reads.
        batch_size: rows of a step, a multiple of the number of replicas.
    """
    number = strategy.num_replicas_in_sync
    if number == 1:
        return batches(batch_size, WHOLE)
    return strategy.distribute_datasets_from_function(
        lambda context: batches(batch_size // number, Part(context.num_input_pipelines, context.input_pipeline_id))
    )


def _context() -> tf.distribute.ReplicaContext | None:
    """None with one replica, and outside of a step."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def _placed(value: Any) -> Any:
    """On the replica's device, where this worker has one replica: what is of no device it cannot share."""
    devices = tf.distribute.get_strategy().extended.worker_devices
    if len(devices) > 1:
        return value
    with tf.device(devices[0]):
        return tf.nest.map_structure(tf.identity, value, expand_composites=True)
