"""What training hides of histories, so that the towers learn to find it."""

from typing import NamedTuple

import tensorflow as tf

from trainer.preprocessing import PADDING
from trainer.tables import dense_indices


class Hiding(NamedTuple):
    """Of each row: what is shown of its history, and one of the actions that are not.

    Attributes:
        shown: [batch, n] bool.
        items: [batch] int64 item of the hidden action; `PADDING` where nothing is hidden.
        events: [batch] int64 event of the hidden action; `PADDING` where nothing is hidden.
    """

    shown: tf.Tensor
    items: tf.Tensor
    events: tf.Tensor


def hide(features: dict[str, tf.RaggedTensor], *, share: float) -> Hiding:
    """Hides each action with chance `share`, and chooses one of a row's hidden actions evenly.

    Args:
        features: transformed, `history_item_id_xf` and `history_event_xf` ragged [batch, n].
        share: in [0, 1).
    """
    items = dense_indices(features["history_item_id_xf"])
    events = dense_indices(features["history_event_xf"])
    is_known = items != PADDING
    draw = tf.random.uniform(tf.shape(items))
    is_hidden = is_known & (draw < share)
    # Among the hidden the draws are even on [0, share): the greatest is a fair choice. The first column is no action.
    choice = tf.argmax(tf.pad(tf.where(is_hidden, draw + 1.0, 0.0), [[0, 0], [1, 0]]), axis=1)
    chosen = [tf.gather(tf.pad(lists, [[0, 0], [1, 0]]), choice, batch_dims=1) for lists in (items, events)]
    return Hiding(is_known & ~is_hidden, *chosen)
