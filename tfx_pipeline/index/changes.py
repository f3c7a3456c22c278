"""Changes of price and availability in an exported retriever: some of its variables are written anew, its graph stays.

The model is not loaded and saved again: that would trace it anew, and needs the operations of its index (ScaNN's). A checkpoint is
read and written instead, so that the graph, the signatures, the assets and the warm-up requests are the same bytes.
"""

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from schemas import tables
from schemas.features import feature_groups
from schemas.load import load_schema
from tfx_pipeline.examples.clean import COUNTS
from tfx_pipeline.examples.clean import DEAD_LETTERS
from tfx_pipeline.examples.clean import CleanEntitiesFn
from tfx_pipeline.examples.read import read_shard
from tfx_pipeline.index.catalog import Catalog

PRICE, IS_AVAILABLE = "price", "is_available"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_CHECKPOINT = "variables/variables"

Changes = dict[str, dict[str, float]]
"""By item id, the new `price` (currency) and `is_available` (0: no); what has no key stays as it is."""


def read_changes(files: Iterable[str], *, max_id_length: int) -> tuple[Changes, dict[str, int]]:
    """Reads shards with the column `item_id` and any of `price` and `is_available`.

    Args:
        files: Parquet, CSV or JSON lines; of several values for an item the last one holds.
        max_id_length: rows with longer ids are set aside, characters.

    Returns:
        The changes, and the counts of rows, of rows set aside and of values that were no number, as of the items table.

    Raises:
        ValueError: no file changes anything, or one cannot be read.
    """
    groups = feature_groups(load_schema())
    clean = CleanEntitiesFn(tables.ITEMS, "item_id", (groups[PRICE], groups[IS_AVAILABLE]), max_id_length)
    changes: Changes = {}
    counts: Counter[str] = Counter()
    for element in (element for file in files for element in read_shard(file, tables.ITEMS)):
        for out in clean.process(element):
            if not isinstance(out, beam.pvalue.TaggedOutput):
                changes.setdefault(out[0], {}).update(out[1])
            elif out.tag == COUNTS:
                counts.update(dict([out.value]))
            elif out.tag == DEAD_LETTERS:
                counts["items.set_aside"] += 1
    changes = {item_id: values for item_id, values in changes.items() if values}
    if not changes:
        raise ValueError(
            f"--changes must hold a {PRICE} or {IS_AVAILABLE} of an item. Received: no such value in {counts['items.rows']} rows."
        )
    return changes, dict(counts)


def changed_catalog(catalog: Catalog, changes: Changes) -> tuple[Catalog, int]:
    """The catalogue with the changes, and how many of their items it does not have."""
    prices, is_available = catalog.prices.copy(), catalog.is_available.copy()
    position = {item_id.decode(): place for place, item_id in enumerate(catalog.item_ids)}
    known = {position[item_id]: values for item_id, values in changes.items() if item_id in position}
    for place, values in known.items():
        prices[place] = values.get(PRICE, prices[place])
        is_available[place] = values.get(IS_AVAILABLE, is_available[place]) != 0
    return dataclasses.replace(catalog, prices=prices, is_available=is_available), len(changes) - len(known)


def copy_with_values(saved_model: Path, out: Path, values: Mapping[str, Any]) -> None:
    """Writes a copy of a SavedModel in which some variables have other values.

    Args:
        saved_model: folder to copy.
        out: folder to write.
        values: by the variable's path from the saved object, such as `filters.prices`.

    Raises:
        ValueError: the model has no such variable, or one of another shape.
    """
    reader = tf.train.load_checkpoint(str(saved_model / _CHECKPOINT))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
    changed = {_key(graph, path): value for path, value in values.items()}
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    for key, value in changed.items():
        if list(np.shape(value)) != shapes[key]:
            raise ValueError(f"Variable {key} must have shape {shapes[key]}. Received: {list(np.shape(value))}")
    shutil.copytree(saved_model, out, ignore=shutil.ignore_patterns("variables", "fingerprint.pb"), dirs_exist_ok=True)
    (out / _CHECKPOINT).parent.mkdir()
    names = sorted(dtypes)
    tf.raw_ops.SaveV2(
        prefix=str(out / _CHECKPOINT),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[
            tf.constant(changed[name] if name in changed else reader.get_tensor(name), dtypes[name]) for name in names
        ],
    )


def _key(graph: trackable_object_graph_pb2.TrackableObjectGraph, path: str) -> str:
    """Of a variable in the checkpoint."""
    node = graph.nodes[0]
    for name in path.split("."):
        child = next((child.node_id for child in node.children if child.local_name == name), None)
        if child is None:
            raise ValueError(
                f"The served retriever has no variable {path}: older code exported it. Refresh its catalogue first: --items."
            )
        node = graph.nodes[child]
    return node.attributes[0].checkpoint_key
