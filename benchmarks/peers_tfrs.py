"""The plain two-tower model of TensorFlow Recommenders' retrieval tutorial: an embedding a user, one an item, in-batch softmax."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from scipy import sparse

_DIM = 32
_BATCH = 8192
_LEARNING_RATE = 0.1


class PlainTwoTower(tfrs.Model):
    """As in the tutorial: `tfrs.tasks.Retrieval` with its defaults.

    Args:
        num_users: rows of the user embedding.
        num_items: rows of the item embedding.
        dim: of both.
    """

    def __init__(self, num_users: int, num_items: int, *, dim: int = _DIM) -> None:
        super().__init__()
        self.users = tf.keras.layers.Embedding(num_users, dim)
        self.items = tf.keras.layers.Embedding(num_items, dim)
        self._task = tfrs.tasks.Retrieval()

    def compute_loss(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Of [batch] users and [batch] items."""
        users, items = inputs
        return self._task(self.users(users), self.items(items), compute_metrics=False)


def plain_two_tower(
    counts: sparse.csr_matrix,
    users: np.ndarray,
    *,
    epochs: int,
    log_popularity: float = 0.0,
    batch_size: int = _BATCH,
    learning_rate: float = _LEARNING_RATE,
    seed: int = 1,
) -> Callable[[slice], np.ndarray]:
    """Trained on each conversion as a row.

    Args:
        counts: [users, items] conversions.
        users: [n] who is asked.
        epochs: passes over the conversions.
        log_popularity: so many times the log of an item's share is added: in-batch negatives are drawn by it.
        batch_size: rows of a step, at most all.
        learning_rate: of Adagrad.
        seed: of weights and shuffling.

    Returns:
        Of a block of the users that are asked, [block, items] float32 scores.
    """
    tf.keras.utils.set_random_seed(seed)
    pairs, repeats = counts.tocoo(), counts.tocoo().data.astype(int)
    rows = tuple(np.repeat(column, repeats).astype(np.int32) for column in (pairs.row, pairs.col))
    size = min(batch_size, len(rows[0]))
    batches = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows[0]), seed=seed).batch(size, drop_remainder=True)
    model = PlainTwoTower(*counts.shape)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(learning_rate))
    model.fit(batches, epochs=epochs, verbose=0)
    vectors = model.users(tf.constant(users)).numpy(), model.items(tf.range(counts.shape[1])).numpy()
    shares = np.bincount(rows[1], minlength=counts.shape[1]) / len(rows[1])
    offset = (log_popularity * np.log(np.maximum(shares, 0.5 / len(rows[1])))).astype(np.float32)
    return lambda block: vectors[0][block] @ vectors[1].T + offset
