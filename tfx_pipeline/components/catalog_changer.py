"""CatalogChanger: a served retriever with other prices and availability, under a new version."""

import logging
import time
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model
from tfx.utils import path_utils

from tfx_pipeline.components.indexer import load_catalog
from tfx_pipeline.components.indexer import save_catalog
from tfx_pipeline.dataset import shards
from tfx_pipeline.index.changes import changed_catalog
from tfx_pipeline.index.changes import copy_with_values
from tfx_pipeline.index.changes import read_changes
from tfx_pipeline.retriever_artifact import KIND_PROPERTY
from tfx_pipeline.retriever_artifact import MODEL_VERSION_PROPERTY
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY

log = logging.getLogger(__name__)

NUM_CHANGED_PROPERTY = "num_changed"
NUM_UNKNOWN_PROPERTY = "num_unknown"
NUM_DROPPED_PROPERTY = "num_dropped"


@component
def CatalogChanger(  # noqa: N802 (a TFX component is named like a class)
    served: InputArtifact[Model],
    retriever: OutputArtifact[Model],
    changes: Parameter[str],
    fingerprint: Parameter[str],
    max_id_length: Parameter[int],
    code_digest: Parameter[str],
) -> None:
    """Copies the retriever with other values of `filters.prices`, `filters.is_available` and `index_version`.

    Vectors stay as they are: where the item tower reads the price, it goes on reading the one that was embedded. Changes of items
    that the catalogue does not have are counted.
    """
    del fingerprint, code_digest  # part of the cache key only
    given, counts = read_changes(shards(Path(changes), "changes"), max_id_length=max_id_length)
    catalog, num_unknown = changed_catalog(load_catalog(served), given)
    version = time.strftime("%Y%m%d%H%M%S", time.gmtime())
    log.info("Changing %s of %s items, version %s", len(given) - num_unknown, len(catalog.item_ids), version)
    values = {"filters.prices": catalog.prices, "filters.is_available": catalog.is_available, "index_version": version}
    source, target = (Path(path_utils.serving_model_path(artifact.uri)) for artifact in (served, retriever))
    copy_with_values(source, target, values)
    save_catalog(retriever, catalog)
    for name in (MODEL_VERSION_PROPERTY, KIND_PROPERTY):
        retriever.set_string_custom_property(name, served.get_string_custom_property(name))
    retriever.set_string_custom_property(VERSION_PROPERTY, version)
    retriever.set_int_custom_property(NUM_CHANGED_PROPERTY, len(given) - num_unknown)
    retriever.set_int_custom_property(NUM_UNKNOWN_PROPERTY, num_unknown)
    dropped = sum(number for name, number in counts.items() if ".value_dropped." in name)
    retriever.set_int_custom_property(NUM_DROPPED_PROPERTY, dropped + counts.get("items.set_aside", 0))
