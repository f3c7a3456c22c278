"""Towers that give what a test wants, in place of trained ones."""

import tensorflow as tf


class GivenTowers(tf.Module):
    """Stands in for the towers: `row` names what a query gets."""

    def __init__(self, vectors, repeats, bonuses):
        super().__init__()
        self._given = {
            "embedding": tf.constant(vectors, tf.float32),
            "bonus_items": tf.constant(repeats, tf.int64),
            "bonuses": tf.constant(bonuses, tf.float32),
        }
        strings = tf.TensorSpec([None], tf.string)
        query = tf.function(lambda **inputs: self._embed(inputs["row"]))
        examples = tf.function(lambda **inputs: self._embed(tf.strings.to_number(inputs["examples"])))
        item = tf.function(lambda **inputs: {"embedding": tf.ones([tf.size(inputs["item_id"]), 1])})
        self.signatures = {
            "embed_query": query.get_concrete_function(row=tf.TensorSpec([None], tf.float32)),
            "embed_query_examples": examples.get_concrete_function(examples=strings),
            "embed_item": item.get_concrete_function(item_id=strings),
        }

    def _embed(self, row):
        return {name: tf.gather(value, tf.cast(row, tf.int32)) for name, value in self._given.items()}
