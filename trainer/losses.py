"""Sampled softmax with the logQ correction, and the weights of positives."""

import math

import tensorflow as tf


def sampled_softmax_loss(
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
    weights: tf.Tensor,
    temperature: float,
) -> tf.Tensor:
    """Sampled softmax, `s_ij = (<u_i, v_j> + b_ij) / temperature - log Q_j`, as a weighted mean over rows.

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019: with the
    batch's own items as negatives, the in-batch softmax. A negative that is the row's positive (an accidental hit) is
    none.

    Args:
        queries: [rows, dim] vectors.
        positives: [rows, dim] vectors; row i's positive is row i.
        negatives: [columns, dim] vectors, shared by all rows.
        positive_ids: [rows] int64 items.
        negative_ids: [columns] int64 items.
        positive_counts: [rows] float32, Q of each positive; None, with `negative_counts`: no correction.
        negative_counts: [columns] float32, Q: how often each negative's item is expected among the negatives.
        positive_bonuses: [rows] float32, b of each positive.
        negative_bonuses: [rows, columns] float32, b of each negative.
        weights: [rows] float32, >= 0.
        temperature: > 0.

    Returns:
        Scalar float32; 0 when all weights are 0.
    """
    own = (tf.cast(tf.reduce_sum(queries * positives, axis=1), tf.float32) + positive_bonuses) / temperature
    products = tf.cast(tf.matmul(queries, negatives, transpose_b=True), tf.float32)
    others = (products + negative_bonuses) / temperature
    if positive_counts is not None and negative_counts is not None:
        own -= _log_counts(positive_counts)
        others -= _log_counts(negative_counts)[tf.newaxis, :]
    hits = tf.equal(positive_ids[:, tf.newaxis], negative_ids[tf.newaxis, :])
    others = tf.where(hits, tf.constant(tf.float32.min / 2, tf.float32), others)
    logits = tf.concat([own[:, tf.newaxis], others], axis=1)
    losses = tf.reduce_logsumexp(logits, axis=1) - own
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))


def _log_counts(counts: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.maximum(counts, 1e-12))


def duration_weight(duration_s: tf.Tensor, *, t_max_s: float) -> tf.Tensor:
    """Weight of a click in [0, 1], `log1p(min(t, t_max) / t_max) / log 2`: our choice, no formula is published.

    Args:
        duration_s: [batch] float32 seconds; negative: unknown, taken as half of `t_max_s`.
        t_max_s: duration of full weight, seconds.
    """
    known = tf.where(duration_s < 0, t_max_s / 2, duration_s)
    return tf.math.log1p(tf.minimum(known, t_max_s) / t_max_s) / math.log(2)
