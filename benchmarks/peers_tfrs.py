"""The plain two-tower model of TensorFlow Recommenders' retrieval tutorial: an embedding a user, one an item, in-batch softmax."""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from scipy import sparse

_DIM = 32
_BATCH = 1024
"""Not the tutorial's 8,192, with 67 million logits a step: an epoch would take 7 times as long on two cores."""
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


def plain_vectors(
    counts: sparse.csr_matrix,
    *,
    epochs: int,
    batch_size: int = _BATCH,
    learning_rate: float = _LEARNING_RATE,
    seed: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Of users and items, [n, dim] float32 each, trained on each conversion as a row.

    Args:
        counts: [users, items] conversions.
        epochs: passes over the conversions.
        batch_size: rows of a step, at most all.
        learning_rate: of Adagrad.
        seed: of weights and shuffling.
    """
    tf.keras.utils.set_random_seed(seed)
    pairs = counts.tocoo()
    rows = tuple(np.repeat(column, pairs.data.astype(int)).astype(np.int32) for column in (pairs.row, pairs.col))
    size = min(batch_size, len(rows[0]))
    batches = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows[0]), seed=seed).batch(size, drop_remainder=True)
    model = PlainTwoTower(*counts.shape)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(learning_rate))
    model.fit(batches, epochs=epochs, verbose=0)
    return model.users(tf.range(counts.shape[0])).numpy(), model.items(tf.range(counts.shape[1])).numpy()
