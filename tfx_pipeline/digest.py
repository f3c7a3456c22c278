"""Digests of source code: what makes TFX's cache notice that a step's code has changed."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]
_ENDINGS = (".py", ".pbtxt")

EXAMPLES_CODE = ("schemas", "tfx_pipeline/examples", "tfx_pipeline/components/example_gen.py")
TRANSFORM_CODE = ("schemas", "trainer/preprocessing.py")
TRAINER_CODE = ("schemas", "trainer")
INDEX_CODE = ("schemas", "trainer/export.py", "tfx_pipeline/index", "tfx_pipeline/components/indexer.py")
EVALUATION_CODE = (
    *INDEX_CODE,
    "tfx_pipeline/evaluation",
    "tfx_pipeline/components/evaluator.py",
    "tfx_pipeline/sources/oracle.py",
)
SERVER_CODE = (*INDEX_CODE, "serving", "tfx_pipeline/components/server_validator.py")


def code_digest(paths: Iterable[str], *, root: Path = _PROJECT) -> str:
    """SHA-256 of the names and contents of all source files below the paths, relative to the project.

    Raises:
        FileNotFoundError: a path that does not exist, which would silently leave code out.
    """
    found = hashlib.sha256()
    for path in paths:
        place = root / path
        if not place.exists():
            raise FileNotFoundError(
                f"The code digest names {place}, which does not exist. Mend tfx_pipeline/digest.py."
            )
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix in _ENDINGS)
        for file in files:
            found.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()
