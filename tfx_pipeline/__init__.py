"""In what order and on which engine: sources, Beam examples, TFX components and the local runner."""

import os

# TensorFlow Recommenders needs Keras 2, and TensorFlow chooses its Keras once, when it is first used.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
