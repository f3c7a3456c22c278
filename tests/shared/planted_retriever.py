"""The market's retriever as a version on disk, with its catalogue and the brute-force answers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODEL_VERSION, INDEX_VERSION = "20260102030405", "20260203040506"


@dataclass(frozen=True)
class PlantedRetriever:
    """An exact retriever.

    Attributes:
        folder: of the SavedModel, named by its version.
        catalog: that it was built from.
        inputs: of `embed_query`, for a user who bought one item.
        best: item ids and scores of that user's best k, by brute force.
    """

    folder: Path
    catalog: Any
    inputs: dict[str, Any]
    best: Callable[[int], tuple[list[str], np.ndarray]]


@pytest.fixture(scope="session")
def planted_retriever(market, towers, market_catalog, tmp_path_factory):
    import tensorflow as tf

    from schemas import contract
    from tfx_pipeline.index.retriever import Retriever
    from tfx_pipeline.index.retriever import export_retriever
    from tfx_pipeline.index.retriever import input_specs
    from tfx_pipeline.index.warmup import write_warmup_requests

    versions = {"model_version": MODEL_VERSION, "index_version": INDEX_VERSION}
    module = Retriever(towers, market_catalog, kind="exact", max_k=1000, **versions)
    folder = tmp_path_factory.mktemp("served") / INDEX_VERSION
    export_retriever(module, str(folder))
    bought = {"history_item_id": ["b03-ü東"], "history_event": ["purchase"], "history_age_days": [3.0]}
    query = market.serialized([bought])
    specs = input_specs(towers.signatures["embed_query"])
    write_warmup_requests(folder, query, specs, max_k=module.max_k)
    inputs = {}
    for feature in market.groups.query:
        missing = contract.MISSING_STRING if feature.is_string else contract.MISSING_FLOAT
        inputs[feature.name] = tf.constant([bought.get(feature.name, missing)])
    embedded = towers.signatures["embed_query"](**inputs)
    scores = market_catalog.vectors @ embedded["embedding"].numpy()[0]
    for item, bonus in zip(embedded["bonus_items"].numpy()[0], embedded["bonuses"].numpy()[0], strict=True):
        if item != 0:
            scores[market_catalog.indices == item] += bonus
    order = np.argsort(-scores)

    def best(k):
        return [item_id.decode() for item_id in market_catalog.item_ids[order[:k]]], scores[order[:k]]

    return PlantedRetriever(folder, market_catalog, inputs, best)


@pytest.fixture(scope="session")
def served_model(planted_retriever):
    """As the embedded model server loads it."""
    from serving import saved_model

    return saved_model.load(planted_retriever.folder)
