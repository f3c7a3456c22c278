"""How a two-tower conversion model is learned from transformed examples."""

import os

# TensorFlow Recommenders needs Keras 2, and TensorFlow chooses its Keras once, when it is first used.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
