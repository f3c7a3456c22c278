"""What a batch looks like, for the message of a training that broke on it."""

import numpy as np
import tensorflow as tf

from trainer.tables import Features

_NUM_LARGEST = 3


def batch_facts(batch: Features) -> str:
    """Rows by task, numbers that are not finite, and the features with the largest.

    Args:
        batch: transformed rows, [batch] tensors and ragged lists, `task` [batch] string among them.
    """
    tasks, counts = np.unique(batch["task"].numpy(), return_counts=True)
    rows = ", ".join(f"{count:,} {task.decode()}s" for task, count in zip(tasks, counts, strict=True))
    broken, largest = [], {}
    for name, values in sorted(batch.items()):
        flat = (values.flat_values if isinstance(values, tf.RaggedTensor) else values).numpy().ravel()
        if not np.issubdtype(flat.dtype, np.floating) or not flat.size:
            continue
        is_finite = np.isfinite(flat)
        if not is_finite.all():
            broken.append(f"{name} ({np.count_nonzero(~is_finite):,} of {flat.size:,})")
        largest[name] = float(np.abs(flat[is_finite]).max(initial=0.0))
    top = sorted(largest, key=lambda name: -largest[name])[:_NUM_LARGEST]
    return (
        f"the step's batch has {rows}; not finite: {', '.join(broken) or 'none'}; "
        f"largest: {', '.join(f'{name} {largest[name]:.4g}' for name in top) or 'none'}"
    )
