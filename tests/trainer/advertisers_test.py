import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer.advertisers import AdvertiserLoss

ADVERTISERS = np.array([0, 1, 1, 2, 2, 3, 0])  # by item; items 0 and 6 have none
RATES = np.array([0.0, 0.1, 0.2, 0.1, 0.3, 0.2, 0.1])
BATCH = np.array([1, 3, 4, 2, 6])


@dataclasses.dataclass
class Catalog:
    """What the loss reads of the catalogue."""

    def column(self, name):
        return tf.constant(RATES, tf.float32) if name == "positive_rate" else tf.constant(ADVERTISERS)


@dataclasses.dataclass
class Advertiser:
    name: str = "advertiser_id"


@pytest.mark.parametrize("kind", ["pooled", "table"])
def test_the_loss_is_the_softmax_over_the_batchs_advertisers(small_config, kind):
    config = small_config(advertiser_loss=kind, advertiser_temperature=0.5, output_dim=4)
    loss = AdvertiserLoss(Catalog(), Advertiser(), config, num_advertisers=4)
    random = np.random.default_rng(3)
    queries, vectors = random.normal(size=(2, 5, 4)).astype(np.float32)
    found = loss(tf.constant(queries), tf.constant(vectors), tf.constant(ADVERTISERS[BATCH])).numpy()
    groups = {1: vectors[[0, 3]].mean(axis=0), 2: vectors[[1, 2]].mean(axis=0)}  # of its items in the batch
    if kind == "table":
        table = loss.trainable_variables[0].numpy()
        groups = {1: table[1], 2: table[2]}
    shares = {1: 0.3, 2: 0.4}
    logits = {
        a: queries @ (group / np.linalg.norm(group)) / 0.5 + np.log(shares[a]) - np.log(1 - (1 - shares[a]) ** 5)
        for a, group in groups.items()
    }
    both = np.logaddexp(logits[1], logits[2])
    expected = [both[row] - logits[a][row] if a else 0.0 for row, a in enumerate(ADVERTISERS[BATCH])]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
