"""Strings in the graph: their position in a list, and labels of items that lie below one another.

Everything is a tf.Variable, not a lookup table: a SavedModel can then be loaded, given other values and saved again.
"""

import bisect

import numpy as np
import tensorflow as tf

_NUM_BUCKETS = np.iinfo(np.int64).max
_BEHIND_ALL = np.iinfo(np.int64).max
"""Fingerprint of no string, so that the search in an empty list finds something too."""


class StringTable(tf.Module):
    """Positions of strings in a list, by their 63-bit fingerprints.

    That a string which is not in the list is taken for one that is has a chance of n / 2^63.

    Args:
        strings: [n] bytes, unique.

    Raises:
        ValueError: two strings have the same fingerprint.
    """

    def __init__(self, strings: np.ndarray, *, name: str) -> None:
        super().__init__(name=name)
        fingerprints = _fingerprints(tf.constant(strings.astype(object), tf.string, [len(strings)])).numpy()
        order = np.argsort(fingerprints)
        ordered = fingerprints[order]
        if (same := np.flatnonzero(ordered[1:] == ordered[:-1])).size:
            pair = strings[order[same[0] : same[0] + 2]].tolist()
            raise ValueError(f"{name} must have different fingerprints; rename one. Received: {pair}")
        self._fingerprints = tf.Variable(np.append(ordered, _BEHIND_ALL), trainable=False, name="fingerprints")
        self._positions = tf.Variable(np.append(order, -1).astype(np.int32), trainable=False, name="positions")

    def __call__(self, strings: tf.Tensor) -> tf.Tensor:
        """[batch, n] int32 positions, -1 for a string that is not in the list."""
        wanted = tf.reshape(_fingerprints(strings), [-1])
        known = tf.convert_to_tensor(self._fingerprints)  # tf.gather of a variable makes every later reading copy it
        places = tf.searchsorted(known, wanted)
        is_known = tf.gather(known, places) == wanted
        return tf.reshape(tf.where(is_known, tf.gather(self._positions, places), -1), tf.shape(strings))


class Labels(tf.Module):
    """One label an item; with a separator `a > b` lies below `a`.

    The labels and those above them are numbered from 1, each followed by what lies below it.

    Args:
        labels: [items] bytes, empty for none.
        separator: between the steps of a path; None where no label lies below another.

    Attributes:
        codes: [items] int32 numbers, 0 for none.
    """

    def __init__(self, labels: np.ndarray, *, separator: bytes | None, name: str) -> None:
        super().__init__(name=name)
        distinct, label_of_item = np.unique(labels, return_inverse=True)
        paths = [tuple(label.split(separator)) if separator else (label,) for label in distinct.tolist()]
        nodes = sorted({path[:depth] for path in paths if path != (b"",) for depth in range(1, len(path) + 1)})
        # The first node that is behind all that begin with this one.
        ends = [bisect.bisect_left(nodes, (*node[:-1], node[-1] + b"\0")) for node in nodes]
        codes = np.array([bisect.bisect_right(nodes, path) for path in paths], np.int32)
        names = np.array([(separator or b"").join(node) for node in nodes], np.bytes_)
        self._table = StringTable(names, name=name)
        self._ends = tf.Variable(np.array([-1, *ends], np.int32) + 1, trainable=False, name="ends")
        self.codes = tf.Variable(codes[label_of_item], trainable=False, name="codes")

    def cover(self, names: tf.Tensor) -> tf.Tensor:
        """Which labels are among names or below one of them.

        Args:
            names: [batch, n] string; one that no item has covers nothing, nor does an empty one.

        Returns:
            [batch, labels + 1] bool by code; False for none.
        """
        begins = self._table(names) + 1
        places = tf.concat([begins, tf.gather(self._ends, begins)], axis=1)
        rows = tf.broadcast_to(tf.range(tf.shape(names)[0])[:, tf.newaxis], tf.shape(places))
        steps = tf.concat([tf.ones_like(begins), -tf.ones_like(begins)], axis=1)
        shape = [tf.shape(names)[0], self._ends.shape[0] + 1]
        return tf.cumsum(tf.scatter_nd(tf.stack([rows, places], axis=2), steps, shape), axis=1)[:, :-1] > 0


def _fingerprints(strings: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(strings, _NUM_BUCKETS)
