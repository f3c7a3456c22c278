"""Our kinds of index, each through a signature of a SavedModel that another process has built.

python -m benchmarks.index_kinds --kind=scann --folder=DIR --k=100 --out=MODEL
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import index_data
from benchmarks import index_loop
from benchmarks.index_memory import MemoryGrowth
from benchmarks.index_system import Setting
from benchmarks.index_system import System
from tfx_pipeline.index import indexes
from tfx_pipeline.index.tuning import tune

_TARGETS = ("0.95", "0.98")
VARIANTS = {kind: ("",) if kind == indexes.EXACT else _TARGETS for kind in indexes.KINDS}
"""By kind: the recalls that it is tuned to reach, each an index; exact search has nothing to tune."""
_SEARCH = "search"


def main() -> None:
    """Builds and exports; prints the build's CPU seconds and megabytes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", required=True, choices=indexes.KINDS)
    parser.add_argument("--target_recall", default="")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--out", required=True)
    flags = parser.parse_args()
    vectors = index_data.load(flags.folder, index_data.VECTORS)
    tf.constant(0)  # starts TensorFlow, whose memory is not the index's
    vectors.max()  # the file is resident before memory is counted
    memory = MemoryGrowth()
    started_s = time.process_time()
    index = build(flags.kind, flags.folder, k=flags.k, target_recall=flags.target_recall)
    build_s = time.process_time() - started_s
    export(index, flags.out, dim=vectors.shape[1])
    print(json.dumps({"build_s": build_s, "peak_mb": memory.peak_mb()}))


def build(kind: str, folder: Path, *, k: int, target_recall: str) -> tf.Module:
    """The index of a kind; all that the benchmark knows of how one is made."""
    index = indexes.build_index(kind, index_data.load(folder, index_data.VECTORS), max_k=k)
    if target_recall:
        tune(index, index_data.load(folder, index_data.TUNING_QUERIES), target_recall=float(target_recall))
    return index


def export(index: tf.Module, out: str, *, dim: int) -> None:
    """Saves the index behind a signature."""

    @tf.function(autograph=False)
    def search(queries: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, positions = index(queries, k)
        return {"scores": scores, "positions": positions}

    queries = tf.TensorSpec([None, dim], tf.float32, name="queries")
    signature = search.get_concrete_function(queries=queries, k=tf.TensorSpec([], tf.int32, name="k"))
    options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
    tf.saved_model.save(index, out, signatures={_SEARCH: signature}, options=options)


class Exported(System):
    """A loaded SavedModel; variant: kind and, after a space, the recall that it is built to reach."""

    def __init__(self, folder: Path, *, k: int, variant: str) -> None:
        super().__init__(folder, k=k, variant=variant)
        self._kind, _, self._target_recall = variant.partition(" ")
        if self._kind in indexes.NEED_SCANN:
            import scann  # noqa: F401 (registers its operations, which other kinds may not need)
        self._k = tf.constant(k)

    def build(self, vectors: np.ndarray) -> dict[str, float]:
        """In another process; loads what it exported."""
        del vectors  # mapped by the process that builds
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            command = [sys.executable, "-m", "benchmarks.index_kinds", f"--kind={self._kind}", f"--out={out}"]
            command += [f"--folder={self.folder}", f"--k={self.k}", f"--target_recall={self._target_recall}"]
            figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
            self._loaded = tf.saved_model.load(out)
        self._signature = self._loaded.signatures[_SEARCH]
        self._each = index_loop.each_alone(lambda queries: self._signature(queries=queries, k=self._k)["positions"])
        return figures

    def search(self, queries: np.ndarray, setting: Setting) -> np.ndarray:
        """Through the signature, numpy arrays in and out."""
        del setting  # it was built with it
        answer = self._signature(queries=tf.constant(queries), k=self._k)
        answer["scores"].numpy()
        return answer["positions"].numpy()

    def search_each(self, queries: np.ndarray, setting: Setting) -> None:
        """Through the signature, inside one graph."""
        del setting
        self._each(tf.constant(queries)).numpy()


if __name__ == "__main__":
    main()
