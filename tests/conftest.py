"""Fixtures that tests of several packages share, from the modules in `shared`."""

import sys
from pathlib import Path

import trainer  # noqa: F401 (chooses Keras 2 before any test imports TensorFlow)

sys.path.append(str(Path(__file__).parent / "shared"))
pytest_plugins = ("fresh_process", "planted_market", "planted_model")
