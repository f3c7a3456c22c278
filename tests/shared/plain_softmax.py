"""The loss row by row, in plain Python."""

import math
from typing import Any

import numpy as np


def plain_softmax(
    queries: Any,
    positives: Any,
    negatives: Any,
    *,
    positive_ids: Any,
    negative_ids: Any,
    positive_counts: Any,
    negative_counts: Any,
    positive_bonuses: Any,
    negative_bonuses: Any,
    weights: Any,
    temperature: float,
) -> float:
    """Weighted mean of each row's negative log probability of its positive, among it and the negatives that it is not."""
    total = 0.0
    for row, query in enumerate(queries):
        own = (float(np.dot(query, positives[row])) + positive_bonuses[row]) / temperature
        own -= 0.0 if positive_counts is None else math.log(positive_counts[row])
        others = [
            (float(np.dot(query, negatives[column])) + negative_bonuses[row][column]) / temperature
            - (0.0 if negative_counts is None else math.log(negative_counts[column]))
            for column in range(len(negatives))
            if negative_ids[column] != positive_ids[row]  # else an accidental hit
        ]
        total += weights[row] * -math.log(math.exp(own) / sum(map(math.exp, [own, *others])))
    return total / sum(weights)
