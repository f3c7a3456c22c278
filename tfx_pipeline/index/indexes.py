"""The best items by inner product: the kinds of index, behind one interface.

An index is a tf.Module that maps queries [batch, dim] float32 and a scalar int32 k to scores [batch, k] and positions
[batch, k] int32 in the catalogue, best first; its `vectors` [items, dim] are the catalogue's. A query's answer depends on
no other query of the batch. Approximate kinds also have an `effort`, which `tuning.tune` chooses.
"""

import numpy as np
import tensorflow as tf

from tfx_pipeline.index.exact import ExactIndex
from tfx_pipeline.index.ivf import IvfIndex
from tfx_pipeline.index.scann_index import BRUTE_FORCE_BELOW
from tfx_pipeline.index.scann_index import ScannIndex
from tfx_pipeline.index.scann_int8_index import ScannInt8Index

EXACT = "exact"
SCANN = "scann"
SCANN_INT8 = "scann_int8"
IVF = "ivf"
KINDS = (EXACT, SCANN, SCANN_INT8, IVF)
NEED_SCANN = (SCANN, SCANN_INT8)
"""Those whose SavedModel has ScaNN's operations."""


def build_index(kind: str, vectors: np.ndarray, *, max_k: int) -> tf.Module:
    """The index of a kind.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == EXACT:
        return ExactIndex(vectors)
    if kind == SCANN:
        return ScannIndex(vectors, max_k=max_k)
    if kind == SCANN_INT8:
        return ScannInt8Index(vectors, max_k=max_k)
    if kind == IVF:
        return IvfIndex(vectors)
    raise ValueError(f"index.kind must be one of {KINDS}. Received: {kind!r}")


def kind_for(kind: str, num_items: int) -> str:
    """`auto` resolved: exact search where ScaNN's documentation advises brute force, else ScaNN."""
    if kind != "auto":
        return kind
    return EXACT if num_items < BRUTE_FORCE_BELOW else SCANN
