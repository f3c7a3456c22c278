"""What named inputs and outputs mean: by the contract's docstrings, and by the schema for features."""

import ast
import functools
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from schemas import contract
from schemas.features import Feature
from schemas.features import feature_groups
from schemas.load import load_schema
from schemas.load import read_schema

_SHAPE_AND_DTYPE = re.compile(r"\[([^\]]*)\](?: \w+)?[,;.] ?(.*)", re.DOTALL)
_OF_ROLE = {"query": "user", "context": "request", "history": "history, newest first", "item": "item"}


class Meaning(NamedTuple):
    """The names of the dimensions and a text; both may be empty."""

    dimensions: tuple[str, ...] = ()
    text: str = ""


def meanings(schema_file: Path | None) -> dict[str, Meaning]:
    """By name of the input or output.

    Args:
        schema_file: effective schema of a run; None for the one that all runs start from.

    Raises:
        ValueError: the file is no schema.
    """
    schema = read_schema(schema_file) if schema_file else load_schema()
    comments = {feature.name: " ".join(feature.annotation.comment) for feature in schema.feature}
    found = {
        feature.name: Meaning(text=_text(feature, comments[feature.name]))
        for feature in feature_groups(schema).features
        if feature.role in _OF_ROLE
    }
    return {**found, **contract_meanings()}


@functools.cache
def contract_meanings() -> Mapping[str, Meaning]:
    """Of the tensors that `schemas.contract` names, by the docstring that follows each name."""
    statements = ast.parse(Path(contract.__file__).read_text(encoding="utf-8")).body
    found = {}
    for statement, following in itertools.pairwise(statements):
        match statement, following:
            case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=str(name))), ast.Expr(
                value=ast.Constant(value=str(text))
            ):
                if shaped := _SHAPE_AND_DTYPE.fullmatch(" ".join(text.split())):
                    found[name] = Meaning(tuple(shaped[1].split(", ")), shaped[2])
    return found


def _text(feature: Feature, comment: str) -> str:
    kind = f"{_OF_ROLE[feature.role]}, {feature.treatment}"
    return f"{kind}: {comment}" if comment else kind
