"""Groups of features, derived from the schema: which tower reads what, and how it is treated."""

from dataclasses import dataclass
from functools import cached_property

from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import tables

QUERY_TOWER = ("query", "context", "history")
ITEM_TOWER = ("item",)
ROLES = (*QUERY_TOWER, *ITEM_TOWER, "key", "label", "sampling", "filter")
TREATMENTS = ("id", "text", "path", "vector", "popularity")
SHARES = "shares:"
"""Before the name of the feature whose vocabulary a feature uses."""
MAX_PATH_LEVELS = 4

ENVIRONMENT_OF_SPLIT = {
    "train": "TRAINING",
    "eval": "TRAINING",
    "queries": "SERVING",
    "catalog": "CATALOG",
    "impressions": "CATALOG",
}
SPLITS = tuple(ENVIRONMENT_OF_SPLIT)


@dataclass(frozen=True)
class Feature:
    """One feature of the schema.

    Attributes:
        name: key in examples and in signatures.
        role: `query`, `context`, `history`, `item`, `key`, `label`, `sampling` or `filter`.
        treatment: `id`, `text`, `path`, `vector`, `popularity`, `categorical` or `numeric`.
        is_string: BYTES, else a number.
        is_integer: INT, which only keys and labels are.
        table: raw table whose column of the same name is carried; None for a derived feature.
        vocabulary: name of the feature whose vocabulary and embedding table it uses; its own name by default.
        length: of a vector, else 0.
        is_performance: enters the item tower only by configuration.
    """

    name: str
    role: str
    treatment: str
    is_string: bool
    is_integer: bool
    table: str | None
    vocabulary: str
    length: int
    is_performance: bool

    @property
    def transformed_name(self) -> str:
        """Key after TensorFlow Transform."""
        return f"{self.name}_xf"


@dataclass(frozen=True)
class FeatureGroups:
    """All features of a schema, in its order."""

    features: tuple[Feature, ...]

    def of_role(self, *roles: str) -> tuple[Feature, ...]:
        """Features of any of the roles."""
        return tuple(feature for feature in self.features if feature.role in roles)

    @property
    def query(self) -> tuple[Feature, ...]:
        """Inputs of the query tower: user, context and history."""
        return self.of_role(*QUERY_TOWER)

    @property
    def item(self) -> tuple[Feature, ...]:
        """Inputs of the item tower."""
        return self.of_role(*ITEM_TOWER)

    @property
    def history(self) -> tuple[Feature, ...]:
        """Aligned lists of the user's latest actions."""
        return self.of_role("history")

    def carried_from(self, table: str) -> tuple[Feature, ...]:
        """Features that are copied from the raw table's column of the same name."""
        return tuple(feature for feature in self.features if feature.table == table)

    @cached_property
    def _by_name(self) -> dict[str, Feature]:
        return {feature.name: feature for feature in self.features}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Feature:
        if name not in self._by_name:
            raise KeyError(f"The schema has no feature {name!r}. It has: {', '.join(self._by_name)}.")
        return self._by_name[name]


def feature_groups(schema: schema_pb2.Schema) -> FeatureGroups:
    """Reads the groups from the tags.

    Raises:
        ValueError: a feature without exactly one role, with two treatments, with a type that its role does not take,
            or that shares the vocabulary of an unknown feature.
    """
    groups = FeatureGroups(tuple(_read(feature) for feature in schema.feature))
    for feature in groups.features:
        if feature.vocabulary not in groups:
            raise ValueError(
                f"Feature {feature.name!r} shares the vocabulary of {feature.vocabulary!r}, which is no feature."
            )
    return groups


def _read(entry: schema_pb2.Feature) -> Feature:
    tags = set(entry.annotation.tag)
    roles = tags & set(ROLES)
    if len(roles) != 1:
        raise ValueError(f"Feature {entry.name!r} must have exactly one of the tags {ROLES}. Received: {sorted(tags)}")
    role = roles.pop()
    is_string = entry.type == schema_pb2.BYTES
    is_integer = entry.type == schema_pb2.INT
    if entry.type not in (schema_pb2.BYTES, schema_pb2.FLOAT) and role in (*QUERY_TOWER, *ITEM_TOWER):
        raise ValueError(
            f"Feature {entry.name!r} must be BYTES (categorical) or FLOAT (numeric) to enter a tower. "
            f"Received: {schema_pb2.FeatureType.Name(entry.type)}"
        )
    return Feature(
        name=entry.name,
        role=role,
        treatment=_treatment(entry.name, tags & set(TREATMENTS), is_string=is_string),
        is_string=is_string,
        is_integer=is_integer,
        table=next((table for table in tables.TABLES if table in tags), None),
        vocabulary=next((tag.removeprefix(SHARES) for tag in tags if tag.startswith(SHARES)), entry.name),
        length=int(entry.value_count.max) if "vector" in tags else 0,
        is_performance="performance" in tags,
    )


def _treatment(name: str, tags: set[str], *, is_string: bool) -> str:
    if len(tags) > 1:
        raise ValueError(f"Feature {name!r} must have at most one of the tags {TREATMENTS}. Received: {sorted(tags)}")
    treatment = tags.pop() if tags else ("categorical" if is_string else "numeric")
    if (treatment in ("vector", "numeric", "popularity")) == is_string:
        raise ValueError(f"Feature {name!r} is treated as {treatment}, which does not fit its type.")
    return treatment
