"""What all sources share: the command line made from their options, the data it names, and rows set aside by reason."""

import argparse
import dataclasses
import inspect
import json
import re
import sys
import typing
import zipfile
import zlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

KIND_REAL = "real"
KIND_PANEL = "public panel, labelled simulated"


class DataError(ValueError):
    """The data cannot be used as they are; the message says what was received and what to do."""


def run(
    module_doc: str,
    options_type: type,
    write_tables: Callable[..., None],
    argv: list[str] | None = None,
    *,
    data_required: bool,
) -> int:
    """Runs a source from the command line: `--data`, `--out` and one flag per field of its options.

    Args:
        module_doc: docstring of the source's module; its first line describes the command.
        options_type: dataclass of the source's options, each of a plain type. A flag's help is the field's line in the
            `Attributes:` section.
        write_tables: the source, called with keywords `data`, `out` and `options`.
        argv: arguments; those of the process by default.
        data_required: whether the source cannot do without `--data`.

    Returns:
        The exit status: 0, or 2 when the data are missing or unusable, said on stderr.
    """
    parser = _parser(module_doc, options_type, data_required=data_required)
    arguments = vars(parser.parse_args(argv))
    data, out = arguments.pop("data"), arguments.pop("out")
    try:
        options = options_type(**arguments)
    except ValueError as error:
        parser.error(str(error))
    try:
        write_tables(data=data, out=out, options=options)
    except (DataError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    facts = out / "source.json"
    print(f"Wrote {out}" + (f": {_summary(json.loads(facts.read_text()))}" if facts.exists() else ""))
    return 0


def find_file(data: Path | None, names: Iterable[str]) -> Path:
    """The one file that `data` names: itself, or the only file in that folder that matches one of the glob `names`.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: the folder holds more than one such file, or the file is empty.
    """
    if data is None or not data.exists():
        raise FileNotFoundError(f"The data must be a file or a folder that exists. Received: --data={data}.")
    wanted = " or ".join(names)
    found = [data] if data.is_file() else sorted({path for name in names for path in data.glob(name)})
    if not found:
        raise FileNotFoundError(f"The folder holds no {wanted}. Received: {data}; put the file there or name it.")
    if len(found) > 1:
        received = ", ".join(path.name for path in found)
        raise DataError(f"The folder must hold exactly one {wanted}. Received: {received} in {data}; name one of them.")
    if found[0].stat().st_size == 0:
        raise DataError(f"The file is empty. Received: {found[0]}; download it again.")
    return found[0]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what pandas, gzip, zip and pyarrow raise on a damaged or mistaken file into a `DataError` that names it."""
    damaged = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, KeyError)
    try:
        yield
    except (DataError, FileNotFoundError, PermissionError):
        raise
    except damaged as error:
        hint = "download it again, or check that its name ends as its format does"
        raise DataError(
            f"The file cannot be read. Received: {path} ({type(error).__name__}: {error}); {hint}."
        ) from error


def require_columns(path: Path, *, received: Iterable[str], required: Iterable[str]) -> None:
    """Raises `DataError` when a required column is missing."""
    received = list(received)
    missing = [name for name in required if name not in received]
    if missing:
        raise DataError(f"{path} must have the columns {missing}. Received: {received}; use the file as published.")


def set_aside(frame: pd.DataFrame, reasons: dict[str, pd.Series]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Splits off bad rows: a row counts once, for its first reason in the given order.

    Returns:
        The rows for which no reason holds, and the number of rows per reason, zeros included.
    """
    first = np.select([mask.to_numpy(dtype=bool) for mask in reasons.values()], range(len(reasons)), default=-1)
    counts = {reason: int((first == index).sum()) for index, reason in enumerate(reasons)}
    return frame[first == -1], counts


def _parser(module_doc: str, options_type: type, *, data_required: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=module_doc.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=data_required, help="the public data: a file or its folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the raw tables; an existing one is replaced")
    hints = typing.get_type_hints(options_type)
    lines = _attribute_lines(inspect.getdoc(options_type) or "")
    for field in dataclasses.fields(options_type):
        _add_flag(parser, field, kind=hints[field.name], text=lines.get(field.name, ""))
    return parser


def _add_flag(parser: argparse.ArgumentParser, field: dataclasses.Field, *, kind: type, text: str) -> None:
    """Adds `--name` as the field's type reads it; for a boolean also `--no-name`."""
    text = text.replace("%", "%%")
    if field.default is dataclasses.MISSING:
        parser.add_argument("--" + field.name, type=kind, required=True, help=text)
    elif kind is bool:  # the action adds the default to the help itself
        parser.add_argument("--" + field.name, action=argparse.BooleanOptionalAction, default=field.default, help=text)
    else:
        parser.add_argument("--" + field.name, type=kind, default=field.default, help=f"{text} (default: %(default)s)")


def _attribute_lines(doc: str) -> dict[str, str]:
    """`name: text` entries below `Attributes:`, each joined to one line."""
    _, _, section = doc.partition("Attributes:")
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {6,}\S.*)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _summary(facts: dict[str, Any]) -> str:
    written = ", ".join(f"{count:,} {table}" for table, count in facts.get("rows_written", {}).items())
    aside = sum(facts.get("set_aside", {}).values())
    return f"{written}; {aside:,} rows set aside; {facts.get('notice', '')}"
