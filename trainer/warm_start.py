"""Warm start: a training that begins with the weights of an earlier one, though vocabularies have changed since."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from trainer.model import ConversionModel
from trainer.preprocessing import PADDING

log = logging.getLogger(__name__)
_PARTS = (("query_tower",), ("item_tower",), ("bonuses", "repeat", "actions"))
"""What is learned by steps; constants and counts of the bonuses are fitted anew in each training."""


def take_weights(model: ConversionModel, towers: str, tf_transform: tft.TFTransformOutput) -> None:
    """Takes what has the same place and shape in both; of an embedding table, the rows of the entries that both know.

    What is new keeps its initial values. Numbers are scaled by each training's own mean and deviation: that they have moved is
    left to the steps.

    Args:
        model: built: its variables are there.
        towers: SavedModel of the earlier training (see `trainer.export`).
        tf_transform: of this training.
    """
    earlier = tf.saved_model.load(towers)
    assets = Path(towers, "assets")
    taken = left = 0
    for path, variable, old in _pairs(model, earlier):
        name = next((part for part in reversed(path) if (assets / part).is_file()), None)
        values = None
        if name and path[-1] == "embeddings":
            values = _rows(variable, old, name, tf_transform.vocabulary_by_name(name), _entries(assets / name))
        elif old is not None and old.shape == variable.shape:
            values = old.numpy()
        if values is None:
            left += 1
            log.info("Warm start: %s %s is new or of another shape", "/".join(path), variable.shape)
        else:
            taken += 1
            variable.assign(values)
    log.info("Warm start from %s: %s of %s weights taken", towers, taken, taken + left)


def _pairs(model: ConversionModel, earlier: Any) -> Iterator[tuple[tuple[str, ...], tf.Variable, tf.Variable | None]]:
    """Each trainable variable once, with its path and the earlier one of the same path, None where there is none."""
    seen: set[int] = set()
    waiting = []
    for part in _PARTS:
        new, old = model, earlier
        for name in part:
            new, old = getattr(new, name), getattr(old, name, None)
        waiting.append((part, new, old))
    while waiting:
        path, new, old = waiting.pop(0)
        if id(new) in seen:
            continue
        seen.add(id(new))
        if hasattr(new, "assign"):
            if new.trainable:
                yield path, new, old
            continue
        others = {} if old is None else tf.train.TrackableView.children(old)
        children = tf.train.TrackableView.children(new)
        waiting += [((*path, name), child, others.get(name)) for name, child in children.items()]


def _rows(
    variable: tf.Variable, old: tf.Variable | None, name: str, entries: list[bytes], earlier: list[bytes]
) -> np.ndarray | None:
    """The table with the earlier rows of the entries that it knew, and of `PADDING`; None for another width."""
    if old is None or old.shape[1] != variable.shape[1]:
        return None
    place = {entry: at for at, entry in enumerate(earlier, PADDING + 1)}
    known = [(at, place[entry]) for at, entry in enumerate(entries, PADDING + 1) if entry in place]
    new_at, old_at = np.array([(PADDING, PADDING), *known]).T
    rows = variable.numpy()
    rows[new_at] = tf.gather(old, old_at).numpy()
    log.info("Warm start: %s of %s entries of %s were known", len(known), len(entries), name)
    return rows


def _entries(file: Path) -> list[bytes]:
    with file.open("rb") as lines:
        return [line.rstrip(b"\n") for line in lines]
