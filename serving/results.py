"""What a client gives back, read from the server's messages, and the error that it raises."""

from typing import Any
from typing import NamedTuple

from schemas.contract import MISSING_STRING
from schemas.contract import OUTPUT_EMBEDDING
from schemas.contract import OUTPUT_INDEX_VERSION
from schemas.contract import OUTPUT_ITEM_IDS
from schemas.contract import OUTPUT_MODEL_VERSION
from schemas.contract import OUTPUT_SCORES
from serving import tensor_values

_STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class Retrieved(NamedTuple):
    """One user's items, best first, and the versions that answered.

    Attributes:
        item_ids: `k` of them, fewer where no further item is left.
        scores: Of the items, comparable within one `model_version` only: the inner product of the user's and the item's
            vector, plus the bonus of an item that is in the history or goes with it. They have no fixed range.
        model_version: Of the trained towers.
        index_version: The version directory.
    """

    item_ids: list[str]
    scores: list[float]
    model_version: str
    index_version: str


class Embedded(NamedTuple):
    """One user's query vector, to compare with item vectors by inner product, and the versions as in `Retrieved`.

    It need not be of unit length, and vectors of different model versions cannot be compared.
    """

    embedding: list[float]
    model_version: str
    index_version: str


class VersionStatus(NamedTuple):
    """A version on the server: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`; `error` is empty unless it failed."""

    version: int
    state: str
    error_code: int
    error: str


class RetrieverError(Exception):
    """A request that the model server did not answer.

    Attributes:
        code: gRPC status name, such as `NOT_FOUND`.
        text: What the server, or gRPC, said.
        remedy: What to do about it, empty if unknown.
    """

    def __init__(self, code: str, text: str, remedy: str = "") -> None:
        super().__init__(f"{code}: {text}" + (f"; {remedy}" if remedy else ""))
        self.code = code
        self.text = text
        self.remedy = remedy


def retrieved(outputs: Any, *, k: int) -> list[Retrieved]:
    """The best `k` of each row of outputs, which has more if requests were merged, without the padding of a short one."""
    item_ids, scores = (tensor_values.decode(outputs[name]) for name in (OUTPUT_ITEM_IDS, OUTPUT_SCORES))
    answers = []
    for row_ids, row_scores, versions in zip(item_ids.rows(), scores.rows(), _versions(outputs), strict=True):
        found = [item_id.decode() for item_id in row_ids[:k] if item_id != MISSING_STRING.encode()]
        answers.append(Retrieved(found, row_scores[: len(found)], *versions))
    return answers


def embedded(outputs: Any) -> list[Embedded]:
    """The vectors in the `embed_query` signature's outputs."""
    embedding = tensor_values.decode(outputs[OUTPUT_EMBEDDING])
    return [Embedded(row, *versions) for row, versions in zip(embedding.rows(), _versions(outputs), strict=True)]


def index_version_output(outputs: Any) -> str:
    """The name of the output that holds the version directory.

    An export from before `index_version` has but `model_version`, and that was the directory.
    """
    return OUTPUT_INDEX_VERSION if OUTPUT_INDEX_VERSION in outputs else OUTPUT_MODEL_VERSION


def version_statuses(response: Any) -> list[VersionStatus]:
    """The entries of a `GetModelStatusResponse`."""
    return [
        VersionStatus(
            entry.version,
            _STATES.get(entry.state, "UNKNOWN"),
            entry.status.error_code,
            entry.status.error_message,
        )
        for entry in response.model_version_status
    ]


def _versions(outputs: Any) -> list[tuple[str, str]]:
    """Of each row, those of the model and of the index."""
    names = (OUTPUT_MODEL_VERSION, index_version_output(outputs))
    model, index = ([value.decode() for value in tensor_values.decode(outputs[name]).values] for name in names)
    return list(zip(model, index, strict=True))
