"""A synthetic retriever of realistic size for measurements: its answers mean nothing, its costs are a retriever's."""

from pathlib import Path

import numpy as np

from schemas.contract import DEFAULT_K
from schemas.contract import INPUT_K
from schemas.contract import MODEL_NAME
from schemas.contract import SIGNATURE_RETRIEVE
from schemas.contract import WARMUP_REQUESTS

_DIM = 64
_MAX_HISTORY = 100
_NUM_WARM_UP = 8
_COUNTRIES = ("DE", "FR", "GB", "US")


def save(base_path: Path, *, num_items: int, version: int = 1) -> Path:
    """Writes a SavedModel below `base_path`: lookup, weighted history, dense layer, exact top k.

    Args:
        base_path: Of the versions.
        num_items: Of the catalogue.
        version: Each has its own vectors, and thus its own answers.

    Returns:
        The version's folder.
    """
    import tensorflow as tf

    random = np.random.default_rng(version)
    ids = tf.constant([_item_id(index) for index in range(num_items)])
    module = tf.Module()
    vectors = random.normal(size=(num_items + 1, _DIM)).astype(np.float32) / _DIM**0.5
    module.table, module.items = (
        tf.Variable(vectors),
        tf.Variable(vectors[:-1]),
    )  # the table's last row is for unknown items
    module.countries = tf.Variable(random.normal(size=(len(_COUNTRIES) + 1, _DIM)).astype(np.float32))
    module.layer = tf.Variable(random.normal(size=(_DIM, _DIM)).astype(np.float32) / _DIM**0.5)
    module.item_table = _table(ids)
    module.country_table = _table(tf.constant(_COUNTRIES))

    @tf.function(autograph=False)
    def retrieve(country, history_item_id, history_age_days, k):
        weights = tf.where(tf.math.is_nan(history_age_days), 0.0, 0.5 ** (history_age_days / 30))
        history = tf.einsum("bn,bnd->bd", weights, tf.gather(module.table, module.item_table.lookup(history_item_id)))
        query = history + tf.gather(module.countries, module.country_table.lookup(country))
        query = tf.nn.l2_normalize(query + tf.nn.relu(query @ module.layer), axis=-1)
        most = tf.clip_by_value(tf.reduce_max(k), 1, num_items)
        scores, positions = tf.math.top_k(tf.matmul(query, module.items, transpose_b=True), most)
        versions = tf.fill([tf.shape(query)[0]], str(version))
        answer = {"item_ids": tf.gather(ids, positions), "scores": scores}
        return {**answer, "model_version": versions, "index_version": versions}

    signature = retrieve.get_concrete_function(
        country=tf.TensorSpec([None], tf.string, name="country"),
        history_item_id=tf.TensorSpec([None, None], tf.string, name="history_item_id"),
        history_age_days=tf.TensorSpec([None, None], tf.float32, name="history_age_days"),
        k=tf.TensorSpec([None], tf.int32, name="k"),
    )
    path = base_path / str(version)
    tf.saved_model.save(module, str(path), signatures={"retrieve": signature})
    _write_warm_up(path, num_items=num_items)
    return path


def users(*, num_users: int, num_items: int) -> list[dict]:
    """Named inputs of users with histories of 0 to 100 items."""
    random = np.random.default_rng(1)
    features = []
    for _ in range(num_users):
        length = int(random.integers(_MAX_HISTORY + 1))
        features.append(
            {
                "country": str(random.choice(_COUNTRIES)),
                "history_item_id": [_item_id(index) for index in random.integers(num_items, size=length)],
                "history_age_days": sorted(float(age) for age in random.exponential(30, size=length)),
            }
        )
    return features


def _write_warm_up(path: Path, *, num_items: int) -> None:
    """Requests that a server replays before the version serves, as the pipeline writes them for its retrievers."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    (path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(path / WARMUP_REQUESTS)) as writer:
        for user in users(num_users=_NUM_WARM_UP, num_items=num_items):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = SIGNATURE_RETRIEVE
            dtypes = {"history_item_id": tf.string, "history_age_days": tf.float32}
            for name, value in user.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto([value], dtype=dtypes.get(name)))
            request.inputs[INPUT_K].CopyFrom(tf.make_tensor_proto([DEFAULT_K]))
            writer.write(log.SerializeToString())


def _table(keys):
    """Positions of `keys`; the one after the last for anything else."""
    import tensorflow as tf

    positions = tf.range(tf.size(keys, out_type=tf.int64), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, positions), len(keys))


def _item_id(index: int) -> str:
    return f"item-{index:06d}"
