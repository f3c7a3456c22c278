"""JSON that every reader takes: it has no NaN and no infinity, which Python's own writer puts there bare."""

import json
import math
from typing import Any


def dumps(value: Any, *, as_text: bool = False, **options: Any) -> str:
    """`json.dumps` of the value; a float that is not finite becomes null, or its name.

    Args:
        value: dicts, lists and tuples of what JSON holds.
        as_text: writes "nan", "inf" and "-inf", where it matters what was there.
        **options: of `json.dumps`.
    """
    return json.dumps(_finite(value, as_text=as_text), allow_nan=False, **options)


def _finite(value: Any, *, as_text: bool) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part, as_text=as_text) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part, as_text=as_text) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value) if as_text else None
    return value
