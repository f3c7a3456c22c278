"""Sampled softmax with the logQ correction, and the weights of positives."""

import math

import tensorflow as tf


def sampled_softmax_loss(
    queries: tf.Tensor,
    items: tf.Tensor,
    *,
    item_ids: tf.Tensor,
    expected_counts: tf.Tensor | None,
    weights: tf.Tensor,
    temperature: float,
) -> tf.Tensor:
    """In-batch softmax, `s_ij = <u_i, v_j> / temperature - log Q_j`, as a weighted mean over rows.

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019. A column
    with the row's own item at another place (an accidental hit) is no negative.

    Args:
        queries: [batch, dim] vectors.
        items: [batch, dim] vectors; row i's positive is column i.
        item_ids: [batch] int64.
        expected_counts: [batch] float32, Q_j: how often column j's item is expected in a batch; None: no correction.
        weights: [batch] float32, >= 0.
        temperature: > 0.

    Returns:
        Scalar float32; 0 when all weights are 0.
    """
    logits = tf.cast(tf.matmul(queries, items, transpose_b=True), tf.float32) / temperature
    if expected_counts is not None:
        logits -= tf.math.log(tf.maximum(expected_counts, 1e-12))[tf.newaxis, :]
    same_item = tf.equal(item_ids[:, tf.newaxis], item_ids[tf.newaxis, :])
    hits = tf.linalg.set_diag(same_item, tf.zeros(tf.shape(item_ids), tf.bool))
    logits = tf.where(hits, tf.constant(tf.float32.min / 2, tf.float32), logits)
    losses = tf.reduce_logsumexp(logits, axis=1) - tf.linalg.diag_part(logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))


def duration_weight(duration_s: tf.Tensor, *, t_max_s: float) -> tf.Tensor:
    """Weight of a click in [0, 1], `log1p(min(t, t_max) / t_max) / log 2`: our choice, no formula is published.

    Args:
        duration_s: [batch] float32 seconds; negative: unknown, taken as half of `t_max_s`.
        t_max_s: duration of full weight, seconds.
    """
    known = tf.where(duration_s < 0, t_max_s / 2, duration_s)
    return tf.math.log1p(tf.minimum(known, t_max_s) / t_max_s) / math.log(2)
