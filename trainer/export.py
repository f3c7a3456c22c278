"""Exports the towers: a SavedModel from raw features to vectors, the boundary to the Indexer.

Signatures: `embed_query` and `embed_item` on named raw tensors (see `schemas.contract`), and `embed_query_examples` and
`embed_item_examples` on serialized tf.Examples `[batch]`; each gives `embedding` [batch, dim]. Those of the query add
`bonus_items` [batch, n] int64 and `bonuses` [batch, n] float32 (see `trainer.bonuses`), those of the item `item_index`
[batch] int64, by which the former name an item.
"""

from collections.abc import Callable

import tensorflow as tf
import tensorflow_transform as tft
from tf_keras.src.saving.legacy.saved_model.utils import keras_option_scope

from schemas import contract
from schemas.features import Feature
from schemas.features import FeatureGroups
from trainer.inputs import ITEM
from trainer.model import ConversionModel
from trainer.preprocessing import PADDING

EMBED_QUERY_EXAMPLES = "embed_query_examples"
EMBED_ITEM_EXAMPLES = "embed_item_examples"
BONUS_ITEMS = "bonus_items"
BONUSES = contract.OUTPUT_BONUSES
ITEM_INDEX = "item_index"
NO_ITEM = PADDING
"""Index of no item, in `bonus_items` and `item_index`."""


class Towers(tf.Module):
    """Both towers behind the Transform graph, on raw features."""

    def __init__(self, model: ConversionModel, tf_transform: tft.TFTransformOutput, groups: FeatureGroups) -> None:
        super().__init__(name="towers")
        self.transform = tf_transform.transform_features_layer()
        self.query_tower = model.query_tower
        self.item_tower = model.item_tower
        self.bonuses = model.bonuses
        self.catalog = model.catalog
        self._groups = groups

    def signatures(self) -> dict[str, Callable]:
        """Concrete functions by signature name."""
        query, item = self._groups.query, self._groups.item
        return {
            contract.SIGNATURE_EMBED_QUERY: self._on_tensors(query, self._embed_query),
            contract.SIGNATURE_EMBED_ITEM: self._on_tensors(item, self._embed_item),
            EMBED_QUERY_EXAMPLES: self._on_examples(query, self._embed_query),
            EMBED_ITEM_EXAMPLES: self._on_examples(item, self._embed_item),
        }

    def _embed_query(self, raw: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
        features = self._transformed(raw, self._groups.query)
        listed = self.bonuses(features)
        return {
            contract.OUTPUT_EMBEDDING: self.query_tower(features, training=False),
            BONUS_ITEMS: listed.items,
            BONUSES: listed.bonuses,
        }

    def _embed_item(self, raw: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
        features = self._transformed(raw, self._groups.item)
        return {contract.OUTPUT_EMBEDDING: self.item_tower(features, training=False), ITEM_INDEX: features[ITEM]}

    def _transformed(self, raw: dict[str, tf.SparseTensor], features: tuple[Feature, ...]) -> dict[str, tf.Tensor]:
        transformed = self.transform(raw)
        return {feature.transformed_name: _ragged(transformed[feature.transformed_name]) for feature in features}

    def _on_tensors(self, features: tuple[Feature, ...], embed_raw: Callable) -> Callable:
        @tf.function(autograph=False)
        def embed(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            return embed_raw(sparse_inputs(inputs, features))

        return embed.get_concrete_function(**{feature.name: tensor_spec(feature) for feature in features})

    def _on_examples(self, features: tuple[Feature, ...], embed_raw: Callable) -> Callable:
        spec = {f.name: tf.io.VarLenFeature(tf.string if f.is_string else tf.float32) for f in features}

        @tf.function(autograph=False)
        def embed(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return embed_raw(tf.io.parse_example(examples, spec))

        return embed.get_concrete_function(tf.TensorSpec([None], tf.string, name=contract.INPUT_EXAMPLES))


def export_towers(
    model: ConversionModel, tf_transform: tft.TFTransformOutput, groups: FeatureGroups, folder: str
) -> None:
    """Writes the towers' SavedModel to the folder."""
    towers = Towers(model, tf_transform, groups)
    signatures = towers.signatures()
    # Keras would trace each layer's call too, which no one asks for and takes most of the time.
    with keras_option_scope(save_traces=False):
        tf.saved_model.save(towers, folder, signatures=signatures)


def tensor_spec(feature: Feature) -> tf.TensorSpec:
    """[batch] for a scalar, [batch, n] for a list, of string or float32."""
    is_list = feature.role == "history" or feature.treatment == "vector"
    shape = [None, None] if is_list else [None]
    return tf.TensorSpec(shape, tf.string if feature.is_string else tf.float32, name=feature.name)


def sparse_inputs(inputs: dict[str, tf.Tensor], features: tuple[Feature, ...]) -> dict[str, tf.SparseTensor]:
    """Named tensors -> what an example parses to: missing values have no entry.

    A history's lists stay aligned: a place whose item id is missing is left out of all of them, and a missing age is 0.
    """
    sparse = {}
    for feature in features:
        dense = inputs[feature.name]
        dense = dense[:, tf.newaxis] if dense.shape.rank == 1 else dense
        present = dense != contract.MISSING_STRING if feature.is_string else tf.math.is_finite(dense)
        if feature.role == "history":
            present = inputs[contract.HISTORY_ITEM_ID] != contract.MISSING_STRING
            dense = dense if feature.is_string else tf.where(tf.math.is_finite(dense), dense, 0.0)
            sparse[feature.name] = tf.ragged.boolean_mask(dense, present).to_sparse()
            continue
        where = tf.where(present)
        values = tf.gather_nd(dense, where)
        sparse[feature.name] = tf.SparseTensor(where, values, tf.shape(dense, out_type=tf.int64))
    return sparse


def _ragged(value: tf.Tensor | tf.SparseTensor) -> tf.Tensor | tf.RaggedTensor:
    """Transform gives lists as SparseTensors; an unknown history item inside a row keeps its place."""
    return tf.RaggedTensor.from_sparse(value) if isinstance(value, tf.SparseTensor) else value
