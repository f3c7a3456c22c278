"""Reads, merges and prunes schema files: what a run's schema is, and which features its data switches off."""

from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import tables

_FOLDER = Path(__file__).resolve().parent
BASE = "interaction"


def read_schema(path: Path) -> schema_pb2.Schema:
    """Parses one schema file.

    Raises:
        ValueError: the file is no text-format tf.Metadata schema; the message holds the parser's line and column.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a tf.Metadata schema in protobuf text format. Received: {error}") from error


def load_schema(source: str | None = None, *, extra: Path | None = None) -> schema_pb2.Schema:
    """The base schema with the source's own features, then those of `extra`, merged onto it.

    A feature of the same name replaces the earlier one.

    Args:
        source: name of a shipped source; without a file of that name the base schema stands alone.
        extra: a further schema file, e.g. a user's own columns.
    """
    schema = read_schema(_FOLDER / f"{BASE}.pbtxt")
    overlays = [_FOLDER / f"{source}.pbtxt"] if source else []
    for path in [path for path in overlays if path.exists()] + ([extra] if extra else []):
        schema = _merge(schema, read_schema(path))
    return schema


def prune_schema(
    schema: schema_pb2.Schema, *, columns: Mapping[str, set[str]], vector_lengths: Mapping[str, int]
) -> tuple[schema_pb2.Schema, dict[str, str]]:
    """Drops features that the data cannot fill and notes the length of vectors.

    Args:
        schema: the merged schema.
        columns: column names by raw table.
        vector_lengths: length by name of each vector column that holds values.

    Returns:
        The pruned schema, and the reason for each feature that was dropped.
    """
    kept, dropped = schema_pb2.Schema(), {}
    kept.CopyFrom(schema)
    del kept.feature[:]
    for feature in schema.feature:
        tags = set(feature.annotation.tag)
        origin = next((table for table in tables.TABLES if table in tags), None)
        if origin and feature.name not in columns.get(origin, set()):
            dropped[feature.name] = f"no column {origin}.{feature.name}"
        elif "vector" in tags and feature.name not in vector_lengths:
            dropped[feature.name] = f"no values in {origin}.{feature.name}"
        else:
            entry = kept.feature.add()
            entry.CopyFrom(feature)
            if "vector" in tags:
                length = vector_lengths[feature.name]
                entry.value_count.min = entry.value_count.max = length
    return kept, dropped


def _merge(schema: schema_pb2.Schema, overlay: schema_pb2.Schema) -> schema_pb2.Schema:
    names = {feature.name for feature in overlay.feature}
    merged = schema_pb2.Schema()
    merged.CopyFrom(schema)
    del merged.feature[:]
    merged.feature.extend([feature for feature in schema.feature if feature.name not in names])
    merged.feature.extend(overlay.feature)
    return merged
