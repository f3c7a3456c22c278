"""Markdown tables of a retriever's signatures."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from schemas import contract
from schemas.contract_meanings import Meaning
from schemas.contract_model import Signature
from schemas.contract_model import TensorFacts

_MISSING = {"string": f'`"{contract.MISSING_STRING}"`', "float32": "NaN"}
_DIMENSIONS = ("batch", "n")


def signature_tables(signatures: Mapping[str, Signature], meanings: Mapping[str, Meaning]) -> str:
    """A section per signature: its inputs with their missing values, and its outputs."""
    return "\n\n".join(
        f"### `{name}`\n\n{_inputs(signature.inputs, meanings)}\n\n{_outputs(signature.outputs, meanings)}"
        for name, signature in signatures.items()
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _inputs(tensors: list[TensorFacts], meanings: Mapping[str, Meaning]) -> str:
    rows = [
        (f"`{t.name}`", t.dtype, _shape(t, meanings), _MISSING.get(t.dtype, "none: send a value"), _text(t, meanings))
        for t in tensors
    ]
    return table(("input", "dtype", "shape", "missing", "meaning"), rows)


def _outputs(tensors: list[TensorFacts], meanings: Mapping[str, Meaning]) -> str:
    rows = [(f"`{t.name}`", t.dtype, _shape(t, meanings), _text(t, meanings)) for t in tensors]
    return table(("output", "dtype", "shape", "meaning"), rows)


def _shape(tensor: TensorFacts, meanings: Mapping[str, Meaning]) -> str:
    """Sizes where the model fixes them, names elsewhere."""
    names = meanings.get(tensor.name, Meaning()).dimensions
    if len(names) != len(tensor.shape):
        names = _DIMENSIONS[: len(tensor.shape)]
    return f"`[{', '.join(str(size) if size >= 0 else name for size, name in zip(tensor.shape, names, strict=True))}]`"


def _text(tensor: TensorFacts, meanings: Mapping[str, Meaning]) -> str:
    return meanings.get(tensor.name, Meaning()).text or "a feature that the schema does not explain"
