import numpy as np
import tensorflow as tf

from trainer.batch_facts import batch_facts


def test_what_is_broken_and_what_is_largest_is_named():
    lists = tf.RaggedTensor.from_row_lengths([1.0, np.inf, -7e8, 2.0], [3, 0, 1])
    found = batch_facts(
        {
            "task": tf.constant([b"conversion", b"engagement", b"conversion"]),
            "price_xf": tf.constant([1.0, np.nan, np.nan]),
            "value": tf.constant([3.0, 4.0, 5.0]),
            "history_age_days_xf": lists,
            "item_id_xf": tf.constant([10**12, 1, 2], tf.int64),
        }
    )
    assert found == (
        "the step's batch has 2 conversions, 1 engagements; not finite: history_age_days_xf (1 of 4), price_xf (2 of 3); "
        "largest: history_age_days_xf 7e+08, value 5, price_xf 1"
    )


def test_a_batch_of_integers_has_nothing_to_tell_but_its_rows():
    found = batch_facts({"task": tf.constant([b"conversion"]), "item_id_xf": tf.constant([5], tf.int64)})
    assert found == "the step's batch has 1 conversions; not finite: none; largest: none"
