"""Sampled softmax with the logQ correction, over items or over groups of them."""

from typing import NamedTuple

import tensorflow as tf

from trainer.replicas import summed

_NONE = tf.float32.min / 2
"""Logit of a column that is no negative of the row."""


class Logits(NamedTuple):
    """Of a sampled softmax.

    Attributes:
        own: [rows] float32, of each row's positive.
        others: [rows, columns] float32, of the negatives; accidental hits are none.
    """

    own: tf.Tensor
    others: tf.Tensor


def sampled_logits(
    queries: tf.Tensor,
    positives: tf.Tensor,
    negatives: tf.Tensor,
    *,
    positive_ids: tf.Tensor,
    negative_ids: tf.Tensor,
    positive_counts: tf.Tensor | None,
    negative_counts: tf.Tensor | None,
    positive_bonuses: tf.Tensor,
    negative_bonuses: tf.Tensor,
    temperature: float,
) -> Logits:
    """`s_ij = (<u_i, v_j> + b_ij) / temperature - log Q_j`.

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019: with the
    batch's own items as negatives, the in-batch softmax. A negative that is the row's positive (an accidental hit) is
    none.

    Args:
        queries: [rows, dim] vectors.
        positives: [rows, dim] vectors; row i's positive is row i.
        negatives: [columns, dim] vectors, shared by all rows.
        positive_ids: [rows] int64 items.
        negative_ids: [columns] int64 items.
        positive_counts: [rows] float32, Q of each positive; None: positives are not corrected.
        negative_counts: [columns] float32, Q: how often each negative's item is expected among the negatives; None: negatives
            are not corrected.
        positive_bonuses: [rows] float32, b of each positive.
        negative_bonuses: [rows, columns] float32, b of each negative.
        temperature: > 0.
    """
    own = (tf.cast(tf.reduce_sum(queries * positives, axis=1), tf.float32) + positive_bonuses) / temperature
    products = tf.cast(tf.matmul(queries, negatives, transpose_b=True), tf.float32)
    others = (products + negative_bonuses) / temperature
    if positive_counts is not None:
        own -= _log_counts(positive_counts)
    if negative_counts is not None:
        others -= _log_counts(negative_counts)[tf.newaxis, :]
    hits = tf.equal(positive_ids[:, tf.newaxis], negative_ids[tf.newaxis, :])
    return Logits(own, masked(others, hits))


def masked(others: tf.Tensor, is_none: tf.Tensor) -> tf.Tensor:
    """The logits [rows, columns] without those where `is_none`."""
    return tf.where(is_none, tf.constant(_NONE, tf.float32), others)


def softmax_loss(logits: Logits) -> tf.Tensor:
    """[rows] negative log probabilities of the positives."""
    return tf.nn.softplus(_margins(logits))


def corrected_loss(logits: Logits) -> tf.Tensor:
    """[rows], `sg(1 - P_i) * (logsumexp_j(s_ij) - s_ii)`, of logits in which the negatives alone are corrected.

    Khrylchenko et al., "Correcting the LogQ Correction: Revisiting Sampled Softmax for Large-Scale Retrieval", RecSys 2025: a
    positive is there with certainty, not with its count. `P_i` is the positive's probability, estimated by the same logits. The
    paper's `Q'_j = Q_j / (1 - Q_i)` holds for draws among other items; of n draws with the hits masked `n (1 - Q_i)` are left,
    so the expected counts stay what they are.
    """
    margins = _margins(logits)
    # Where no negative is left, 0: there is nothing to learn.
    return tf.where(margins > _NONE / 2, tf.stop_gradient(tf.sigmoid(margins)) * margins, 0.0)


def group_loss(logits: Logits, is_same: tf.Tensor) -> tf.Tensor:
    """[rows] negative log probabilities of the positive's group.

    Args:
        logits: of items.
        is_same: [rows, columns] bool, whether the column's item is of the group of the row's positive.
    """
    same = Logits(logits.own, masked(logits.others, ~is_same))
    return tf.reduce_logsumexp(_joined(logits), axis=1) - tf.reduce_logsumexp(_joined(same), axis=1)


def weighted_mean(losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """[rows] and [rows] weights, >= 0 -> scalar; 0 when all weights are 0. On several replicas, this one's part of the mean."""
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), summed(tf.reduce_sum(weights)))


def _margins(logits: Logits) -> tf.Tensor:
    """[rows], by how much the negatives together outdo the positive: without joining both, which would copy all logits."""
    return tf.reduce_logsumexp(logits.others, axis=1) - logits.own


def _joined(logits: Logits) -> tf.Tensor:
    return tf.concat([logits.own[:, tf.newaxis], logits.others], axis=1)


def _log_counts(counts: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.maximum(counts, 1e-12))
