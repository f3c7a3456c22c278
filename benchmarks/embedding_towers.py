"""Towers and catalogues of any size for measurements of memory: clustered vectors that are planted, not learned."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from schemas import contract
from trainer.export import BONUS_ITEMS
from trainer.export import EMBED_ITEM_EXAMPLES
from trainer.export import EMBED_QUERY_EXAMPLES
from trainer.export import ITEM_INDEX

DIM = 64
_NUM_CENTRES = 1000
_NUM_OFFSETS = 20_011
_NUM_BONUSES = 20
_PER_FILE = 50_000
_NUM_SELLERS = 5_003
_NUM_SHELVES, _NUM_AISLES, _NUM_DEPARTMENTS = 1_999, 211, 23


class PlantedTowers(tf.Module):
    """The signatures of the Trainer's export; a vector is one of 1,000 centres and one of 20,011 offsets, by the id's hash."""

    def __init__(self) -> None:
        super().__init__(name="towers")
        random = np.random.default_rng(1)
        self.centres = tf.Variable(random.normal(size=(_NUM_CENTRES, DIM)).astype(np.float32))
        self.offsets = tf.Variable(0.7 * random.normal(size=(_NUM_OFFSETS, DIM)).astype(np.float32))

    def signatures(self) -> dict:
        """Concrete functions by signature name."""
        item_id = tf.TensorSpec([None], tf.string, name="item_id")
        user_id = tf.TensorSpec([None], tf.string, name="user_id")
        examples = tf.TensorSpec([None], tf.string, name=contract.INPUT_EXAMPLES)
        return {
            contract.SIGNATURE_EMBED_ITEM: tf.function(self._item).get_concrete_function(item_id=item_id),
            contract.SIGNATURE_EMBED_QUERY: tf.function(self._query).get_concrete_function(user_id=user_id),
            EMBED_ITEM_EXAMPLES: tf.function(
                lambda examples: self._item(_parsed(examples, "item_id"))
            ).get_concrete_function(examples=examples),
            EMBED_QUERY_EXAMPLES: tf.function(
                lambda examples: self._query(_parsed(examples, "user_id"))
            ).get_concrete_function(examples=examples),
        }

    def _vectors(self, ids: tf.Tensor) -> tf.Tensor:
        centres = tf.gather(self.centres, tf.strings.to_hash_bucket_fast(ids, _NUM_CENTRES))
        return centres + tf.gather(self.offsets, tf.strings.to_hash_bucket_fast(ids, _NUM_OFFSETS))

    def _item(self, item_id: tf.Tensor) -> dict[str, tf.Tensor]:
        index = tf.strings.to_number(tf.strings.substr(item_id, 4, -1), tf.int64) + 1
        return {contract.OUTPUT_EMBEDDING: self._vectors(item_id), ITEM_INDEX: index}

    def _query(self, user_id: tf.Tensor) -> dict[str, tf.Tensor]:
        first = tf.strings.to_hash_bucket_fast(user_id, 50_000)[:, tf.newaxis] + 1
        return {
            contract.OUTPUT_EMBEDDING: self._vectors(user_id),
            BONUS_ITEMS: first + tf.range(_NUM_BONUSES, dtype=tf.int64),
            contract.OUTPUT_BONUSES: tf.fill([tf.size(user_id), _NUM_BONUSES], 0.1),
        }


def save_towers(folder: Path) -> None:
    """Writes the SavedModel."""
    towers = PlantedTowers()
    tf.saved_model.save(towers, str(folder), signatures=towers.signatures())


def save_examples(folder: Path, *, num_items: int) -> None:
    """Writes the `catalog` split, 50,000 items a file in no order of ids."""
    folder.mkdir(parents=True)
    order = np.random.default_rng(2).permutation(num_items)
    for start in range(0, num_items, _PER_FILE):
        with tf.io.TFRecordWriter(str(folder / f"part-{start:09d}.gz"), "GZIP") as file:
            for record in _records(order[start : start + _PER_FILE]):
                file.write(record)


def _records(numbers: np.ndarray) -> Iterator[bytes]:
    for number in numbers.tolist():
        example = tf.train.Example()
        for name, text in (
            ("item_id", f"item{number:08d}"),
            ("advertiser_id", f"seller{number % _NUM_SELLERS}"),
            ("category", _category(number % _NUM_SHELVES)),
        ):
            example.features.feature[name].bytes_list.value.append(text.encode())
        example.features.feature["positive_rate"].float_list.value.append(1 / (1 + number))
        example.features.feature["price"].float_list.value.append(number % 97 + 0.99)
        yield example.SerializeToString()


def _category(shelf: int) -> str:
    aisle = shelf % _NUM_AISLES
    return f"department {aisle % _NUM_DEPARTMENTS} > aisle {aisle} > shelf {shelf}"


def _parsed(examples: tf.Tensor, name: str) -> tf.Tensor:
    return tf.io.parse_example(examples, {name: tf.io.FixedLenFeature([], tf.string)})[name]
