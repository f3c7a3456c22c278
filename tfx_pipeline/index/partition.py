"""Cuts a catalogue into blocks of near items, all of one size."""

import math

import numpy as np

BLOCK_SIZE = 64
NO_ITEM = -1
_LEAVES_PER_ROOT = 4  # of the items, as faiss advises; ScaNN's own one searches twice as many items for the same recall
_TRAINING_SAMPLE = 100_000


def partition(vectors: np.ndarray) -> np.ndarray:
    """The leaves of ScaNN's k-means tree, each cut into equal blocks along its longest axis.

    Args:
        vectors: [items, dim] float32.

    Returns:
        [blocks, BLOCK_SIZE] int32 positions, every item once; `NO_ITEM` fills the ends.
    """
    leaves = _trained_leaves(vectors, num_leaves=num_leaves(len(vectors)))
    order = np.argsort(leaves, kind="stable")
    blocks: list[np.ndarray] = []
    for members in np.split(order, np.flatnonzero(np.diff(leaves[order])) + 1):
        if len(members) > BLOCK_SIZE:
            members = members[np.argsort(_along_longest_axis(vectors[members]), kind="stable")]
        blocks.extend(np.array_split(members, math.ceil(len(members) / BLOCK_SIZE)))
    positions = np.full((len(blocks), BLOCK_SIZE), NO_ITEM, np.int32)
    for row, members in zip(positions, blocks, strict=True):
        row[: len(members)] = members
    return positions


def num_leaves(num_items: int) -> int:
    """About four times sqrt(items), but no more than leaves of a block's size; at least one."""
    return max(1, min(round(_LEAVES_PER_ROOT * math.sqrt(num_items)), num_items // BLOCK_SIZE))


def _trained_leaves(vectors: np.ndarray, *, num_leaves: int) -> np.ndarray:
    """[items] int32, each item's leaf."""
    if num_leaves == 1:
        return np.zeros(len(vectors), np.int32)
    from scann.scann_ops.py import scann_ops  # registers operations: only where an index of this kind is built

    sample = min(len(vectors), _TRAINING_SAMPLE)
    builder = scann_ops.builder(vectors, 1, "dot_product")
    builder = builder.tree(num_leaves, 1, training_sample_size=sample, min_partition_size=1).score_brute_force()
    return builder.build().serialize_to_module().datapoint_to_token.numpy()


def _along_longest_axis(vectors: np.ndarray) -> np.ndarray:
    centered = vectors - vectors.mean(0)
    axis = centered[np.argmax((centered**2).sum(1))]
    for _ in range(4):  # of the power method: near enough
        axis = (centered @ axis) @ centered
        axis = axis / max(np.linalg.norm(axis), np.finfo(np.float32).tiny)
    return centered @ axis
