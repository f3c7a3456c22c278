"""Results of Classify and Regress from what a signature returned, with TF Serving's checks. Imports TensorFlow."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import regression_pb2

from serving.model_requests import invalid_argument


def write_classifications(
    result: classification_pb2.ClassificationResult,
    *,
    classes: np.ndarray | None,
    scores: np.ndarray | None,
    num_examples: int,
) -> None:
    """Writes `classes` [batch, n] string and `scores` [batch, n] float32, either of which may be absent."""
    given = []
    for name, values, dtype in (("classes", classes, tf.string), ("scores", scores, tf.float32)):
        if values is not None:
            _check_classes(name, values, dtype=dtype, num_examples=num_examples)
            given.append(values)
    if len(given) == 2 and given[0].shape != given[1].shape:
        widths = f"{given[0].shape[1]} vs. {given[1].shape[1]}"
        raise invalid_argument(f"Tensors class and score should match in dim_size(1). Got {widths}")
    labels = np.full(given[-1].shape, b"") if classes is None else given[0]
    numbers = np.zeros(given[0].shape) if scores is None else given[-1]
    for row_labels, row_scores in zip(labels.tolist(), numbers.tolist(), strict=True):
        row = result.classifications.add()
        for label, score in zip(row_labels, row_scores, strict=True):
            # The message holds text: it would refuse a label of other bytes.
            row.classes.add(label=label.decode(errors="replace"), score=score)


def write_regressions(result: regression_pb2.RegressionResult, *, values: np.ndarray, num_examples: int) -> None:
    """Writes `values`, float32 of shape [batch] or [batch, 1]."""
    shape = values.shape
    if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        wanted = "either [batch_size] or [batch_size, 1]"
        raise invalid_argument(f"Expected output Tensor shape to be {wanted} but got {_shape_text(values)}")
    if shape[0] != num_examples:
        sizes = f"{num_examples} vs. {shape[0]}"
        raise invalid_argument(f"Input batch size did not match output batch size: {sizes}")
    if values.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_dtype_text(values)}")
    for value in values.ravel().tolist():
        result.regressions.add(value=value)


def _check_classes(name: str, values: np.ndarray, *, dtype: tf.DType, num_examples: int) -> None:
    if values.ndim != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(values)}")
    if values.dtype != dtype.as_numpy_dtype:
        wanted = types_pb2.DataType.Name(dtype.as_datatype_enum)
        raise invalid_argument(f"Expected {name} Tensor of {wanted}. Got: {_dtype_text(values)}")
    if values.shape[0] != num_examples:
        raise invalid_argument(f"Expected {name} output batch size of {num_examples}. Got: {values.shape[0]}")


def _shape_text(values: np.ndarray) -> str:
    return f"[{','.join(str(size) for size in values.shape)}]"


def _dtype_text(values: np.ndarray) -> str:
    return types_pb2.DataType.Name(tf.dtypes.as_dtype(values.dtype).as_datatype_enum)
