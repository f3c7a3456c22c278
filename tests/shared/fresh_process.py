"""A process that knows of a model only what is in its folder."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

_FRESH = """
import sys
import numpy as np
import tensorflow as tf
import scann
for line in sys.stdin:
    folder, signature, given, found = line.rstrip("\\n").split("\\t")
    inputs = {name: tf.constant(value.tolist()) for name, value in np.load(given, allow_pickle=True).items()}
    outputs = tf.saved_model.load(folder).signatures[signature](**inputs)
    np.savez(found, **{name: value.numpy() for name, value in outputs.items()})
    print("done", flush=True)
"""


@pytest.fixture(scope="session")
def fresh_process(tmp_path_factory):
    """Asks signatures of SavedModels in a process that has seen nothing but their folders."""
    folder = tmp_path_factory.mktemp("fresh_process")
    errors = (folder / "stderr").open("w")
    command = [sys.executable, "-c", _FRESH]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def ask(model: str, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        np.savez(folder / "given.npz", **{name: np.asarray(value) for name, value in inputs.items()})
        print(model, signature, folder / "given.npz", folder / "found.npz", sep="\t", file=process.stdin, flush=True)
        assert process.stdout.readline() == "done\n", (folder / "stderr").read_text()
        with np.load(folder / "found.npz", allow_pickle=True) as found:
            return dict(found)

    yield ask
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()
    errors.close()
