"""Digests of source code: what makes TFX's cache notice that a step's code has changed."""

import hashlib
from collections.abc import Iterable
from modulefinder import ModuleFinder
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]

EXAMPLES_CODE = ("tfx_pipeline/components/example_gen.py",)
VALIDATION_CODE = ("tfx_pipeline/components/schema_validator.py",)
HEALTH_CODE = ("tfx_pipeline/components/data_health.py",)
HEALTH_GATE_CODE = ("tfx_pipeline/components/health_gate.py",)
TRANSFORM_CODE = ("trainer/preprocessing.py",)
TRAINER_CODE = ("trainer/run.py", "trainer/worker.py")  # which runs as a process where several machines train
INDEX_CODE = ("tfx_pipeline/components/indexer.py",)
EVALUATION_CODE = ("tfx_pipeline/components/evaluator.py",)
SERVER_CODE = ("tfx_pipeline/components/server_validator.py", "serving/model_server.py")  # which runs as a process
CATALOG_CODE = ("tfx_pipeline/components/catalog_example_gen.py",)
REFRESH_EVALUATION_CODE = ("tfx_pipeline/components/refresh_evaluator.py",)
CHANGES_CODE = ("tfx_pipeline/components/catalog_changer.py",)
SOURCES_CODE = ("tfx_pipeline/sources",)  # loaded by name


def code_digest(paths: Iterable[str], *, root: Path = _PROJECT) -> str:
    """SHA-256 of the names and contents of `source_files`.

    Schema files are no part of it: a step receives the effective schema as an input.
    """
    found = hashlib.sha256()
    for name in source_files(paths, root=root):
        found.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
    return found.hexdigest()


def source_files(paths: Iterable[str], *, root: Path = _PROJECT) -> list[str]:
    """Python files at and below the paths and all that they import of the project, directly or not; sorted.

    Imports are found in the source, those inside functions too; nothing is executed.

    Args:
        paths: files and folders, relative to the project.
        root: of the project.

    Raises:
        FileNotFoundError: a path that does not exist, which would silently leave code out.
    """
    finder = ModuleFinder(path=[str(root)])  # sees no other package, so those end the search
    for path in paths:
        place = root / path
        if not place.exists():
            raise FileNotFoundError(
                f"The code digest names {place}, which does not exist. Mend tfx_pipeline/digest.py."
            )
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            finder.import_hook(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    files = {getattr(module, "__file__", None) for module in finder.modules.values()}
    return sorted(str(Path(file).relative_to(root)) for file in files if file)
