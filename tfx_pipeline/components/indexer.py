"""Indexer: embeds the catalogue with the trained towers and exports one versioned retriever per kind."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples
from tfx.types.standard_artifacts import Model
from tfx.utils import path_utils

from schemas import contract
from tfx_pipeline.index import indexes
from tfx_pipeline.index.catalog import Catalog
from tfx_pipeline.index.catalog import embed_catalog
from tfx_pipeline.index.retriever import Retriever
from tfx_pipeline.index.retriever import export_retriever
from tfx_pipeline.index.retriever import input_specs
from tfx_pipeline.index.tuning import tune
from tfx_pipeline.index.warmup import first_queries
from tfx_pipeline.index.warmup import write_warmup_requests
from trainer.export import EMBED_QUERY_EXAMPLES

log = logging.getLogger(__name__)

VERSION_PROPERTY = "version"
KIND_PROPERTY = "index_kind"
TUNING_FILE = "tuning.json"
_CATALOG_FOLDER = "catalog"
_TUNING_QUERIES = 1000
_TUNING_BATCH = 256


@component
def Indexer(  # noqa: N802 (a TFX component is named like a class)
    examples: InputArtifact[Examples],
    towers: InputArtifact[Model],
    retriever: OutputArtifact[Model],
    kind: Parameter[str],
    max_k: Parameter[int],
    target_recall: Parameter[float],
    code_digest: Parameter[str],
) -> None:
    """Exports the retriever of a kind (`auto`: by the catalogue's size), with warm-up requests of the split `queries` in it.

    The catalogue's vectors are kept beside it, and the curve by which an approximate index was tuned (`tuning.json`).

    The version is the UTC time, YYYYMMDDhhmmss, so that a later one is larger; it is in the graph and on the artifact.
    """
    del code_digest  # part of the cache key only
    loaded = tf.saved_model.load(path_utils.serving_model_path(towers.uri))
    catalog = embed_catalog(loaded, split_files(examples, "catalog"))
    resolved = indexes.kind_for(kind, len(catalog.item_ids))
    version = int(time.strftime("%Y%m%d%H%M%S", time.gmtime()))
    log.info("Indexing %s items of %s dimensions: %s, version %s", *catalog.vectors.shape, resolved, version)
    module = Retriever(loaded, catalog, kind=resolved, version=version, max_k=max_k)
    if resolved != indexes.EXACT:
        queries = tuning_queries(loaded, split_files(examples, "queries"), catalog)
        tune(module.index, queries, target_recall=target_recall).save(Path(retriever.uri) / TUNING_FILE)
    folder = path_utils.serving_model_path(retriever.uri)
    export_retriever(module, folder)
    specs = input_specs(loaded.signatures[contract.SIGNATURE_EMBED_QUERY])
    write_warmup_requests(Path(folder), first_queries(split_files(examples, "queries")), specs, max_k=module.max_k)
    catalog.save(Path(retriever.uri) / _CATALOG_FOLDER)
    retriever.set_string_custom_property(VERSION_PROPERTY, str(version))
    retriever.set_string_custom_property(KIND_PROPERTY, resolved)


def tuning_queries(towers: Any, files: list[str], catalog: Catalog) -> np.ndarray:
    """Vectors [queries, dim] of the first users of the split; of a split without any, items as if they were users."""
    embed = towers.signatures[EMBED_QUERY_EXAMPLES]
    rows = tf.data.TFRecordDataset(files, "GZIP").take(_TUNING_QUERIES).batch(_TUNING_BATCH)
    vectors = [embed(examples=batch)[contract.OUTPUT_EMBEDDING].numpy() for batch in rows]
    if vectors:
        return np.concatenate(vectors)
    log.info("The split queries is empty: the index is tuned on vectors of items")
    items = np.array(catalog.vectors[:: -(-len(catalog.vectors) // _TUNING_QUERIES)])
    items[:, -1] = 1  # what a user's vector has where an item's has its popularity
    return items


def load_catalog(retriever: Model) -> Catalog:
    """The vectors that the retriever was built from."""
    return Catalog.load(Path(retriever.uri) / _CATALOG_FOLDER)


def split_files(examples: Examples, split: str) -> list[str]:
    """Paths of a split's TFRecords."""
    return sorted(tf.io.gfile.glob(f"{artifact_utils.get_split_uri([examples], split)}/*"))
