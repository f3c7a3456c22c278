"""The retriever: query tower, index and item ids as one versioned SavedModel that keeps the serving contract."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from tfx_pipeline.index import indexes
from tfx_pipeline.index.catalog import Catalog
from trainer.export import BONUS_ITEMS
from trainer.export import BONUSES
from trainer.export import EMBED_QUERY_EXAMPLES


class Retriever(tf.Module):
    """Answers queries with item ids, scores and its version.

    Args:
        towers: loaded SavedModel of the Trainer.
        catalog: embedded items.
        kind: of the index.
        model_version: of the towers.
        index_version: the directory that it will be served from.
        max_k: most results; lowered to the number of items.

    Attributes:
        max_k: most results that it returns.
    """

    def __init__(
        self, towers: Any, catalog: Catalog, *, kind: str, model_version: str, index_version: str, max_k: int
    ) -> None:
        super().__init__(name="retriever")
        self.towers = towers
        self.max_k = min(max_k, len(catalog.item_ids))
        self._default_k = min(contract.DEFAULT_K, self.max_k)
        self._index = indexes.build_index(kind, np.ascontiguousarray(catalog.vectors), max_k=self.max_k)
        self._item_ids = tf.Variable(catalog.item_ids, trainable=False, dtype=tf.string, name="item_ids")
        positions = np.append(catalog.position_of_index, np.int32(-1))  # an index beyond the catalogue's largest
        self._position_of_index = tf.Variable(positions, trainable=False, name="position_of_index")
        self.model_version = tf.Variable(model_version, trainable=False, dtype=tf.string, name="model_version")
        self.index_version = tf.Variable(index_version, trainable=False, dtype=tf.string, name="index_version")

    def signatures(self) -> dict[str, Callable]:
        """Concrete functions by signature name."""
        return {
            contract.SIGNATURE_RETRIEVE: self._retrieve(),
            contract.SIGNATURE_DEFAULT: self._serving_default(),
            contract.SIGNATURE_EMBED_QUERY: self._embed(contract.SIGNATURE_EMBED_QUERY),
            contract.SIGNATURE_EMBED_ITEM: self._embed(contract.SIGNATURE_EMBED_ITEM),
        }

    def _retrieve(self) -> Callable:
        embed_query = self.towers.signatures[contract.SIGNATURE_EMBED_QUERY]
        specs = {**input_specs(embed_query), contract.INPUT_K: tf.TensorSpec([None], tf.int32, name=contract.INPUT_K)}

        @tf.function(autograph=False)
        def retrieve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            k = tf.clip_by_value(tf.reduce_max(inputs.pop(contract.INPUT_K)), 1, self.max_k)
            return self._answer(embed_query(**inputs), k)

        return retrieve.get_concrete_function(**specs)

    def _serving_default(self) -> Callable:
        embed_query = self.towers.signatures[EMBED_QUERY_EXAMPLES]

        @tf.function(autograph=False)
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._answer(embed_query(**{contract.INPUT_EXAMPLES: examples}), tf.constant(self._default_k))

        return serving_default.get_concrete_function(tf.TensorSpec([None], tf.string, name=contract.INPUT_EXAMPLES))

    def _embed(self, signature: str) -> Callable:
        embed = self.towers.signatures[signature]

        @tf.function(autograph=False)
        def embed_versioned(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            embedded = embed(**inputs)
            vectors = embedded[contract.OUTPUT_EMBEDDING]
            answer = {contract.OUTPUT_EMBEDDING: vectors, **self._versions(vectors)}
            if BONUS_ITEMS in embedded:
                positions, bonuses = self._listed(embedded)
                ids = tf.gather(self._item_ids, tf.maximum(positions, 0))
                answer[contract.OUTPUT_BONUS_ITEM_IDS] = tf.where(positions < 0, contract.MISSING_STRING, ids)
                answer[contract.OUTPUT_BONUSES] = bonuses
            return answer

        return embed_versioned.get_concrete_function(**input_specs(embed))

    def _answer(self, embedded: dict[str, tf.Tensor], k: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best k of the index's items and of those with a bonus, each once.

        The index is asked for as many more as bonuses are below 0: what is raised can only enter, but what is lowered may
        leave its answer.
        """
        vectors = embedded[contract.OUTPUT_EMBEDDING]
        listed, bonuses = self._listed(embedded)
        num_items = tf.size(self._item_ids)
        num_lowered = tf.reduce_max(tf.pad(tf.math.count_nonzero(bonuses < 0, axis=1, dtype=tf.int32), [[1, 0]]))
        scores, positions = self._index(vectors, tf.minimum(k + num_lowered, num_items))
        is_listed = tf.reduce_any(positions[:, :, tf.newaxis] == listed[:, tf.newaxis, :], axis=2)
        item_vectors = (
            self._index.vectors.read_value()
        )  # once a variable was gathered from, each later read copies it whole
        products = tf.einsum("bd,bnd->bn", vectors, tf.gather(item_vectors, tf.maximum(listed, 0)))
        nothing = tf.constant(tf.float32.min)
        scores = tf.concat(
            [tf.where(is_listed, nothing, scores), tf.where(listed < 0, nothing, products + bonuses)], axis=1
        )
        best, places = tf.math.top_k(scores, k=k)
        positions = tf.gather(tf.concat([positions, listed], axis=1), places, batch_dims=1)
        return {
            contract.OUTPUT_ITEM_IDS: tf.gather(self._item_ids, positions),
            contract.OUTPUT_SCORES: best,
            **self._versions(vectors),
        }

    def _listed(self, embedded: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Positions in the catalogue of the items with a bonus, -1 where it does not hold them, and their bonuses."""
        indices = tf.minimum(embedded[BONUS_ITEMS], self._position_of_index.shape[0] - 1)
        positions = tf.gather(self._position_of_index, indices)
        return positions, tf.where(positions < 0, 0.0, embedded[BONUSES])

    def _versions(self, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = [tf.shape(vectors)[0]]
        return {
            contract.OUTPUT_MODEL_VERSION: tf.fill(shape, self.model_version),
            contract.OUTPUT_INDEX_VERSION: tf.fill(shape, self.index_version),
        }


def export_retriever(retriever: Retriever, folder: str) -> None:
    """Writes the SavedModel; the ScaNN operations' namespace must be allowed by name."""
    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    tf.saved_model.save(retriever, folder, signatures=retriever.signatures(), options=options)


def input_specs(signature: Any) -> dict[str, tf.TensorSpec]:
    """The named inputs of a loaded signature."""
    return {
        name: tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for name, spec in signature.structured_input_signature[1].items()
    }
