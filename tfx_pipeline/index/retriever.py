"""The retriever: query tower, index and item ids as one versioned SavedModel that keeps the serving contract."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import contract
from tfx_pipeline.index import indexes
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.filters import INPUT_SPECS
from tfx_pipeline.index.filters import ItemFilters
from tfx_pipeline.index.search import NOTHING
from tfx_pipeline.index.search import Found
from tfx_pipeline.index.search import Query
from tfx_pipeline.index.search import Search
from trainer.export import BONUS_ITEMS
from trainer.export import BONUSES
from trainer.export import EMBED_QUERY_EXAMPLES

_K_SPEC = {contract.INPUT_K: tf.TensorSpec([None], tf.int32, name=contract.INPUT_K)}


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
        filters: of the items; its prices and availability, and the versions, may be assigned in a loaded SavedModel.
        model_version: scalar string.
        index_version: scalar string.
    """

    def __init__(
        self, towers: Any, catalog: Catalog, *, kind: str, model_version: str, index_version: str, max_k: int
    ) -> None:
        super().__init__(name="retriever")
        self.towers = towers
        self.max_k = min(max_k, len(catalog.item_ids))
        self._default_k = min(contract.DEFAULT_K, self.max_k)
        index = indexes.build_index(kind, np.ascontiguousarray(catalog.vectors), max_k=self.max_k)
        self.filters = ItemFilters(catalog)
        self._search = Search(index, self.filters, max_k=self.max_k, is_exact=kind == indexes.EXACT)
        self._item_ids = tf.Variable(catalog.item_ids.astype(object), trainable=False, dtype=tf.string, name="item_ids")
        padded = np.append(catalog.position_of_index, np.int32(-1))  # for an index beyond the catalogue's largest
        self._position_of_index = tf.Variable(padded, trainable=False, name="position_of_index")
        self.model_version = tf.Variable(model_version, trainable=False, dtype=tf.string, name="model_version")
        self.index_version = tf.Variable(index_version, trainable=False, dtype=tf.string, name="index_version")

    def signatures(self) -> dict[str, Callable]:
        """Concrete functions by signature name."""
        return {
            contract.SIGNATURE_RETRIEVE: self._retrieve(),
            contract.SIGNATURE_RETRIEVE_FILTERED: self._retrieve_filtered(),
            contract.SIGNATURE_DEFAULT: self._serving_default(),
            contract.SIGNATURE_EMBED_QUERY: self._embed(contract.SIGNATURE_EMBED_QUERY),
            contract.SIGNATURE_EMBED_ITEM: self._embed(contract.SIGNATURE_EMBED_ITEM),
        }

    def _retrieve(self) -> Callable:
        embed_query = self.towers.signatures[contract.SIGNATURE_EMBED_QUERY]

        @tf.function(autograph=False)
        def retrieve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            k = self._k(inputs.pop(contract.INPUT_K))
            return self._answer(self._search.available(self._query(embed_query(**inputs)), k))

        return retrieve.get_concrete_function(**input_specs(embed_query), **_K_SPEC)

    def _retrieve_filtered(self) -> Callable:
        embed_query = self.towers.signatures[contract.SIGNATURE_EMBED_QUERY]

        @tf.function(autograph=False)
        def retrieve_filtered(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            k = self._k(inputs.pop(contract.INPUT_K))
            rules = self.filters.rules({name: inputs.pop(name) for name in INPUT_SPECS})
            found = self._search.filtered(self._query(embed_query(**inputs)), rules, k)
            return {**self._answer(found), contract.OUTPUT_NUM_FOUND: found.num_found()}

        return retrieve_filtered.get_concrete_function(**input_specs(embed_query), **INPUT_SPECS, **_K_SPEC)

    def _serving_default(self) -> Callable:
        embed_query = self.towers.signatures[EMBED_QUERY_EXAMPLES]

        @tf.function(autograph=False)
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            query = self._query(embed_query(**{contract.INPUT_EXAMPLES: examples}))
            return self._answer(self._search.available(query, tf.constant(self._default_k)))

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

    def _k(self, wanted: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(tf.reduce_max(wanted), 1, self.max_k)

    def _query(self, embedded: dict[str, tf.Tensor]) -> Query:
        return Query(embedded[contract.OUTPUT_EMBEDDING], *self._listed(embedded))

    def _answer(self, found: Found) -> dict[str, tf.Tensor]:
        ids = tf.gather(self._item_ids, tf.maximum(found.positions, 0))
        return {
            contract.OUTPUT_ITEM_IDS: tf.where(found.scores > NOTHING, ids, contract.MISSING_STRING),
            contract.OUTPUT_SCORES: found.scores,
            **self._versions(found.scores),
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
