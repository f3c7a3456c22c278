"""What single items score beside the inner product: those of the history, and their neighbours."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.calibration import MAX_BONUS
from trainer.calibration import TERMS_PER_KIND
from trainer.neighbors import KINDS
from trainer.neighbors import NeighborBonus
from trainer.repeats import RepeatBonus
from trainer.tables import Features


class ListedBonuses(NamedTuple):
    """Items that have a bonus, each once a row.

    Attributes:
        items: [batch, n] int64 indices; `PADDING` elsewhere.
        bonuses: [batch, n] float32; 0 where `items` is padding.
    """

    items: tf.Tensor
    bonuses: tf.Tensor


class Bonuses(tf.Module):
    """Repeat bonus and neighbour bonus, side by side: a history's items come first, its neighbours after.

    Args:
        repeat: of the history's items.
        neighbor: of the others.
        temperature: of the softmax.
    """

    def __init__(self, repeat: RepeatBonus, neighbor: NeighborBonus, *, temperature: float) -> None:
        super().__init__(name="bonuses")
        self.repeat = repeat
        self.neighbor = neighbor
        self._temperature = temperature

    def __call__(self, features: Features) -> ListedBonuses:
        """Of conversions, by transformed features."""
        items, terms = self.join(self.repeat.terms(features), self.neighbor.terms(features))
        constants = tf.concat([self.repeat.conversion_constants, self.neighbor.constants], axis=0)
        return ListedBonuses(items, self._temperature * self.values(terms, constants))

    def join(
        self, repeats: tuple[tf.Tensor, tf.Tensor], neighbors: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Items and terms of both -> [batch, n] items and [batch, n, constants] what the constants multiply."""
        own = tf.pad(repeats[1], [[0, 0], [0, 0], [0, self.neighbor.num_constants]])
        others = tf.pad(neighbors[1], [[0, 0], [0, 0], [tf.shape(repeats[1])[2], 0]])
        return tf.concat([repeats[0], neighbors[0]], axis=1), tf.concat([own, others], axis=1)

    def values(self, terms: tf.Tensor, constants: tf.Tensor) -> tf.Tensor:
        """[batch, n, constants] terms and [constants] -> [batch, n] bonuses, in logits, as in `trainer.calibration`."""
        num_others = self.neighbor.num_constants
        own = tf.einsum("bnk,k->bn", terms[:, :, :-num_others], constants[:-num_others])
        shape = tf.concat([tf.shape(terms)[:2], [len(KINDS), TERMS_PER_KIND]], axis=0)
        kinds = tf.reshape(terms[:, :, -num_others:], shape)
        log_odds = tf.einsum("bnkt,kt->bnk", kinds, tf.reshape(constants[-num_others:], shape[2:]))
        odds = kinds[..., 0] * tf.exp(tf.minimum(log_odds, MAX_BONUS))
        return own + tf.math.log1p(tf.reduce_sum(odds, axis=2))

    @property
    def constants(self) -> np.ndarray:
        """[constants] float32 of conversions: the repeat bonus's, then the neighbour bonus's."""
        return np.concatenate([self.repeat.conversion_constants.numpy(), self.neighbor.constants.numpy()])

    @constants.setter
    def constants(self, values: np.ndarray) -> None:
        own, others = np.split(np.asarray(values, np.float32), [-self.neighbor.num_constants])
        self.repeat.set_conversion_constants(own)
        self.neighbor.constants.assign(others)

    @property
    def first_constants(self) -> np.ndarray:
        """[constants] float32 to begin a fit with."""
        return np.concatenate([self.repeat.conversion_constants.numpy(), self.neighbor.first_constants])

    @property
    def no_constants(self) -> np.ndarray:
        """[constants] float32 of no bonus at all."""
        return np.concatenate([np.zeros_like(self.repeat.conversion_constants), self.neighbor.no_constants])
