import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "schemas": {"schemas"},
    "trainer": {"schemas", "trainer"},
    "tfx_pipeline": {"schemas", "trainer", "tfx_pipeline"},
    "serving": {"schemas.contract", "serving"},
}


def imported_modules(source):
    """Dotted names that a module imports; `from a import b` gives `a.b`, for `b` may be a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {"." * node.level + ".".join(filter(None, (node.module, alias.name))) for alias in node.names}
    return found


def unlawful(source, package):
    return sorted(
        name
        for name in imported_modules(source)
        if name.startswith(".")
        or (
            name.split(".")[0] in ALLOWED
            and not any(name == lawful or name.startswith(f"{lawful}.") for lawful in ALLOWED[package])
        )
    )


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_stands_below_them(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    broken = {str(file.relative_to(ROOT)): unlawful(file.read_text(), package) for file in files}
    assert {file: names for file, names in broken.items() if names} == {}


@pytest.mark.parametrize(
    ("package", "source", "expected"),
    [
        ("schemas", "from trainer.config import TrainerConfig", ["trainer.config.TrainerConfig"]),
        ("trainer", "def f():\n    import tfx_pipeline.examples", ["tfx_pipeline.examples"]),
        ("tfx_pipeline", "import serving", ["serving"]),
        ("serving", "from schemas import contract\nfrom schemas import tables", ["schemas.tables"]),
        ("serving", "from schemas.contract import MAX_K\nimport schemas.contract", []),
        ("serving", "from . import wire", [".wire"]),
        ("trainer", "import trainer_of_others\nfrom schemas import tables", []),
    ],
)
def test_the_law_sees_what_breaks_it(package, source, expected):
    assert unlawful(source, package) == expected


def test_the_contract_imports_the_standard_library_only():
    source = (ROOT / "schemas/contract.py").read_text()
    assert {name.split(".")[0] for name in imported_modules(source)} <= sys.stdlib_module_names
