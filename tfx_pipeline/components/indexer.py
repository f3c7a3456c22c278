"""Indexer: embeds the catalogue with the trained towers and exports one versioned retriever per kind."""

import logging
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.dsl.component.experimental.annotations import BeamComponentParameter
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
from tfx_pipeline.index.embed import embed_catalog
from tfx_pipeline.index.embed import load_towers
from tfx_pipeline.index.retriever import Retriever
from tfx_pipeline.index.retriever import export_retriever
from tfx_pipeline.index.retriever import input_specs
from tfx_pipeline.index.tuning import tune
from tfx_pipeline.index.warmup import first_queries
from tfx_pipeline.index.warmup import write_warmup_requests
from tfx_pipeline.retriever_artifact import CATALOG_FOLDER
from tfx_pipeline.retriever_artifact import KIND_PROPERTY
from tfx_pipeline.retriever_artifact import MODEL_VERSION_PROPERTY
from tfx_pipeline.retriever_artifact import TOWERS_PROPERTY
from tfx_pipeline.retriever_artifact import TUNING_FILE
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY
from trainer.export import EMBED_QUERY_EXAMPLES

log = logging.getLogger(__name__)

_TUNING_QUERIES = 1000
_TUNING_BATCH = 256


@component(use_beam=True)
def Indexer(  # noqa: N802 (a TFX component is named like a class)
    examples: InputArtifact[Examples],
    queries: InputArtifact[Examples],
    towers: InputArtifact[Model],
    retriever: OutputArtifact[Model],
    model_version: Parameter[str],
    kind: Parameter[str],
    max_k: Parameter[int],
    target_recall: Parameter[float],
    code_digest: Parameter[str],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Exports the retriever of a kind (`auto`: by the catalogue's size), with warm-up requests in it.

    Items are the split `catalog` of `examples`. Warm-up requests, and queries on which an approximate index is tuned, are the
    split `queries` of `queries`: a refresh has a new catalogue and the users of the run that trained. Beside the retriever are
    kept the catalogue's vectors, and the curve of the tuning (`tuning.json`).

    The version is the UTC time, YYYYMMDDhhmmss, so that a later one is larger; it is in the graph and on the artifact.
    `model_version`, if not empty, is that of towers that an earlier version was made from already.
    """
    del code_digest  # part of the cache key only
    towers_folder = path_utils.serving_model_path(towers.uri)
    loaded = load_towers(towers_folder)
    catalog = embed_catalog(
        beam_pipeline,
        towers=towers_folder,
        files=split_files(examples, "catalog"),
        folder=Path(retriever.uri) / CATALOG_FOLDER,
    )
    resolved = indexes.kind_for(kind, len(catalog.item_ids))
    version = time.strftime("%Y%m%d%H%M%S", time.gmtime())
    log.info("Indexing %s items of %s dimensions: %s, version %s", *catalog.vectors.shape, resolved, version)
    model_version = model_version or version
    module = Retriever(loaded, catalog, kind=resolved, model_version=model_version, index_version=version, max_k=max_k)
    if resolved != indexes.EXACT:
        asked = tuning_queries(loaded, split_files(queries, "queries"), catalog)
        tune(module.index, asked, target_recall=target_recall).save(Path(retriever.uri) / TUNING_FILE)
    folder = path_utils.serving_model_path(retriever.uri)
    export_retriever(module, folder)
    specs = input_specs(loaded.signatures[contract.SIGNATURE_EMBED_QUERY])
    write_warmup_requests(Path(folder), first_queries(split_files(queries, "queries")), specs, max_k=module.max_k)
    retriever.set_string_custom_property(VERSION_PROPERTY, version)
    retriever.set_string_custom_property(MODEL_VERSION_PROPERTY, model_version)
    retriever.set_string_custom_property(KIND_PROPERTY, resolved)
    retriever.set_string_custom_property(TOWERS_PROPERTY, towers.uri)


def save_catalog(retriever: Model, catalog: Catalog) -> None:
    """Keeps the arrays beside the SavedModel."""
    catalog.save(Path(retriever.uri) / CATALOG_FOLDER)


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
    return catalog_below(Path(retriever.uri))


def catalog_below(folder: Path) -> Catalog:
    """As `load_catalog`, of the artifact's folder."""
    return Catalog.load(folder / CATALOG_FOLDER)


def split_files(examples: Examples, split: str) -> list[str]:
    """Paths of a split's TFRecords."""
    return sorted(tf.io.gfile.glob(f"{artifact_utils.get_split_uri([examples], split)}/*"))
