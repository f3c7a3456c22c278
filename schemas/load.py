"""Reads, merges and prunes schema files: what a run's schema is, and which features its data switches off."""

from collections.abc import Container
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import tables
from schemas.features import SHARES

_FOLDER = Path(__file__).resolve().parent
BASE = "interaction"
_VECTOR = "vector"


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

    Where the owner of a shared vocabulary is dropped, the first feature that shares it becomes the owner.

    Args:
        schema: the merged schema.
        columns: column names by raw table.
        vector_lengths: length by name of each vector column that holds values.

    Returns:
        The pruned schema, and the reason for each feature that was dropped.
    """
    reasons = {feature.name: _unfilled(feature, columns, vector_lengths) for feature in schema.feature}
    dropped = {name: reason for name, reason in reasons.items() if reason}
    kept = schema_pb2.Schema()
    kept.CopyFrom(schema)
    del kept.feature[:]
    kept.feature.extend([feature for feature in schema.feature if feature.name not in dropped])
    for feature in kept.feature:
        if _VECTOR in feature.annotation.tag:
            feature.value_count.min = feature.value_count.max = vector_lengths[feature.name]
    _pass_on_vocabularies(kept, dropped)
    return kept, dropped


def _unfilled(
    feature: schema_pb2.Feature, columns: Mapping[str, set[str]], vector_lengths: Mapping[str, int]
) -> str | None:
    """Why the data cannot fill the feature, if it cannot."""
    tags = set(feature.annotation.tag)
    origin = next((table for table in tables.TABLES if table in tags), None)
    if origin and feature.name not in columns.get(origin, set()):
        return f"no column {origin}.{feature.name}"
    if _VECTOR in tags and feature.name not in vector_lengths:
        return f"no values in {origin}.{feature.name}" if origin else "a vector that no raw table holds"
    return None


def _pass_on_vocabularies(schema: schema_pb2.Schema, dropped: Container[str]) -> None:
    heirs: dict[str, str] = {}
    for feature in schema.feature:
        shared = next((tag for tag in feature.annotation.tag if tag.startswith(SHARES)), "")
        owner = shared.removeprefix(SHARES)
        if shared and owner in dropped:
            feature.annotation.tag.remove(shared)
            heir = heirs.setdefault(owner, feature.name)
            if heir != feature.name:
                feature.annotation.tag.append(f"{SHARES}{heir}")


def _merge(schema: schema_pb2.Schema, overlay: schema_pb2.Schema) -> schema_pb2.Schema:
    names = {feature.name for feature in overlay.feature}
    merged = schema_pb2.Schema()
    merged.CopyFrom(schema)
    del merged.feature[:]
    merged.feature.extend([feature for feature in schema.feature if feature.name not in names])
    merged.feature.extend(overlay.feature)
    return merged
