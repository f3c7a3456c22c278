"""Outcomes as tf.Examples, for TensorFlow Model Analysis: slices, metrics and plots of its own, and its usual artifacts.

One Example for each conversion of the evaluation: `user_id`, `event`, `novelty` and each slice as strings; `label` 1; `model`,
`popularity` and, if there is one, `baseline`, 1 where the item is among the first 100, else 0; `value`. `weight` is 1 over
the user's conversions, so that a weighted mean counts users alike. With `prediction_key="model"`, TFMA's mean of predictions is
recall@100.

TFMA's intervals resample rows, not users, and its gates compare points: both verdicts of the pipeline come from `slices.py` and
`gates.py`, and these files are for looking further.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfx_pipeline.evaluation.slices import Ranked

FILE = "outcomes.tfrecord.gz"
_K = 100


def write_outcomes(folder: Path, ranked: Ranked) -> None:
    """Writes the file below an evaluation's folder."""
    facts = ranked.facts
    _, user, counts = np.unique(facts.users, return_inverse=True, return_counts=True)
    strings = {
        "user_id": facts.users,
        "event": facts.events,
        "novelty": np.where(ranked.is_new, "new", "repeat"),
        **facts.slices,
    }
    numbers = {
        "label": np.ones(len(facts.users)),
        "weight": 1.0 / counts[user] if len(counts) else np.zeros(0),
        "value": facts.values,
        **{name: (found[0] < _K).astype(float) for name, found in ranked.ranks.items()},
    }
    with tf.io.TFRecordWriter(str(folder / FILE), "GZIP") as file:
        for row in range(len(facts.users)):
            features = {name: _strings(values[row]) for name, values in strings.items()}
            features |= {name: _number(values[row]) for name, values in numbers.items()}
            file.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _strings(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(value).encode()]))


def _number(value: float) -> tf.train.Feature:
    present = [float(value)] if np.isfinite(value) else []
    return tf.train.Feature(float_list=tf.train.FloatList(value=present))
