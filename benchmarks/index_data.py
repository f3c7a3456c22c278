"""What all systems are measured on, as .npy files that each process maps: item vectors, queries, the exact answer."""

from pathlib import Path

import numpy as np

from benchmarks import index_recall

VECTORS, QUERIES, TUNING_QUERIES, KTH_BEST = "vectors", "queries", "tuning_queries", "kth_best"
_SPLIT = "queries"
_ITEMS_PER_CLUSTER = 1000
_BATCH = 512


def load(folder: Path, name: str) -> np.ndarray:
    """The array, mapped."""
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def save_synthetic(folder: Path, *, num_items: int, dim: int, num_queries: int, spread: float, k: int) -> None:
    """Draws unit vectors around the centres of clusters, items and queries alike.

    Args:
        folder: Of the arrays.
        num_items: Vectors to search.
        dim: Of the vectors.
        num_queries: As many again are drawn for tuning.
        spread: Length of the noise, in lengths of a centre.
        k: Results a query.
    """
    random = np.random.default_rng(1)
    centres = _unit(random.normal(size=(max(1, num_items // _ITEMS_PER_CLUSTER), dim)))

    def drawn(count: int) -> np.ndarray:
        noise = random.normal(size=(count, dim)) / dim**0.5
        return _unit(centres[random.integers(len(centres), size=count)] + spread * noise)

    _save(folder, drawn(num_items), queries=drawn(num_queries), tuning_queries=drawn(num_queries), k=k)


def save_trained(folder: Path, root: Path, *, num_queries: int, k: int) -> None:
    """Takes the newest catalogue of a finished run, and the vectors of the users in its split `queries`.

    Every other user is for tuning.

    Raises:
        FileNotFoundError: the root holds no finished run.
        ValueError: fewer items than results.
    """
    artifacts = root / "artifacts"
    vectors = np.load(_newest(artifacts / "Indexer/retriever") / "catalog/vectors.npy")
    towers = _newest(artifacts / "Trainer/model") / "Format-Serving"
    users = _embedded(towers, _newest(artifacts / "MarketplaceExampleGen/examples") / f"Split-{_SPLIT}")
    _save(folder, vectors, queries=users[::2][:num_queries], tuning_queries=users[1::2], k=k)


def _save(folder: Path, vectors: np.ndarray, *, queries: np.ndarray, tuning_queries: np.ndarray, k: int) -> None:
    if len(vectors) < k:
        raise ValueError(f"there must be at least {k} items to find {k}. Received: {len(vectors)}; lower --k")
    arrays = {VECTORS: vectors, QUERIES: queries, TUNING_QUERIES: tuning_queries}
    arrays[KTH_BEST] = index_recall.kth_best_scores(vectors, queries, k=k)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array, dtype=np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _newest(folder: Path) -> Path:
    """The artifact with the highest number: executions are numbered in order."""
    found = [path for path in folder.glob("*") if path.name.isdigit()]
    if not found:
        raise FileNotFoundError(f"{folder} holds no artifact: give the --root of a finished run")
    return max(found, key=lambda path: int(path.name))


def _embedded(towers: Path, split: Path) -> np.ndarray:
    import tensorflow as tf

    from schemas import contract
    from trainer.export import EMBED_QUERY_EXAMPLES

    loaded = tf.saved_model.load(str(towers))
    embed = loaded.signatures[EMBED_QUERY_EXAMPLES]
    files = sorted(str(path) for path in split.glob("*"))
    batches = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH)
    return np.concatenate([embed(examples=batch)[contract.OUTPUT_EMBEDDING].numpy() for batch in batches])
