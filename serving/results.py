"""What a client gives back, read from the server's messages, and the error that it raises."""

from typing import Any
from typing import NamedTuple

from schemas.contract import MISSING_STRING
from schemas.contract import OUTPUT_EMBEDDING
from schemas.contract import OUTPUT_ITEM_IDS
from schemas.contract import OUTPUT_MODEL_VERSION
from schemas.contract import OUTPUT_SCORES
from serving import tensor_values

_STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class Retrieved(NamedTuple):
    """One user's items, best first, and the version that answered.

    Attributes:
        item_ids: `k` of them, fewer where no further item is left.
        scores: Of the items, comparable within one version only: the inner product of the user's and the item's vector,
            plus the bonus of an item that is in the history or goes with it. They have no fixed range.
        model_version: The version directory.
    """

    item_ids: list[str]
    scores: list[float]
    model_version: str


class Embedded(NamedTuple):
    """One user's query vector, to compare with item vectors by inner product, and the version that answered.

    It need not be of unit length, and vectors of different versions cannot be compared.
    """

    embedding: list[float]
    model_version: str


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
    item_ids, scores, versions = (
        tensor_values.decode(outputs[name]) for name in (OUTPUT_ITEM_IDS, OUTPUT_SCORES, OUTPUT_MODEL_VERSION)
    )
    answers = []
    for row_ids, row_scores, version in zip(item_ids.rows(), scores.rows(), versions.values, strict=True):
        found = [item_id.decode() for item_id in row_ids[:k] if item_id != MISSING_STRING.encode()]
        answers.append(Retrieved(found, row_scores[: len(found)], version.decode()))
    return answers


def embedded(outputs: Any) -> list[Embedded]:
    """The vectors in the `embed_query` signature's outputs."""
    embedding = tensor_values.decode(outputs[OUTPUT_EMBEDDING])
    versions = tensor_values.decode(outputs[OUTPUT_MODEL_VERSION])
    return [Embedded(row, version.decode()) for row, version in zip(embedding.rows(), versions.values, strict=True)]


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
