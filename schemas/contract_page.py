"""The page that tells another team how to use one retriever: `python -m schemas.contract DIR`."""

import argparse
import os
import sys
import warnings
from pathlib import Path

from schemas import contract


def page(model: Path, *, server: str, schema_file: Path | None) -> str:
    """Markdown: what the SavedModel is, its signatures, and examples that run.

    Args:
        model: folder of the SavedModel.
        server: host:port that the examples ask.
        schema_file: effective schema of its run, for what features mean; None for the one that all runs start from.
    """
    from schemas.contract_examples import examples  # after the environment is quiet: these import TensorFlow
    from schemas.contract_meanings import meanings
    from schemas.contract_model import read_model
    from schemas.contract_tables import signature_tables
    from schemas.contract_tables import table

    facts = read_model(model)
    num_default = min(contract.DEFAULT_K, facts.max_k or contract.DEFAULT_K)
    rows = [
        *((f"`{name}`", version) for name, version in facts.versions.items()),
        ("items", "not named by the SavedModel" if facts.num_items is None else f"{facts.num_items:,}"),
        ("`k`", f"1 to {facts.max_k or contract.MAX_K:,}; more is lowered to it, and less raised"),
        (f"columns of `{contract.SIGNATURE_DEFAULT}`", str(num_default)),
        ("operations beside TensorFlow's own", ", ".join(facts.libraries) or "none: any TF Serving serves it"),
    ]
    rules = (contract.__doc__ or "").split("\n\n")[4:]  # after the title and the list of signatures
    text = "\n\n".join(
        [
            f"# Contract of the retriever in `{model.name}`",
            table(("", ""), rows),
            *(rule.strip() for rule in rules),
            "## Signatures",
            signature_tables(facts.signatures, meanings(schema_file)),
            "## Examples",
            examples(facts, model.resolve(), server=server),
        ]
    )
    return text.replace("`MISSING_STRING`", f'`"{contract.MISSING_STRING}"`')


def main(argv: list[str] | None = None) -> int:
    """Prints the page; returns 2, with the reason on stderr, where there is no retriever."""
    flags = _parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")  # of libraries that are imported from here on
    from schemas.contract_model import newest_model

    try:
        model = newest_model(flags.folder)
        print(page(model, server=flags.server, schema_file=flags.schema or _schema_of_run(model)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _schema_of_run(model: Path) -> Path | None:
    """The newest effective schema of the root that a served version is below: ROOT/serving/NAME/VERSION."""
    folders = model.resolve().parents
    schemas = list(folders[2].glob("schema/*/schema.pbtxt")) if len(folders) > 2 else []
    return max(schemas, key=lambda path: path.stat().st_mtime, default=None)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m schemas.contract", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a SavedModel, or a folder of versions: the newest")
    parser.add_argument("--server", default="localhost:8500", help="host:port in the examples (%(default)s)")
    parser.add_argument(
        "--schema", type=Path, metavar="FILE", help="schema that explains the features (that of the run, else the base)"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
