"""The names of a training's files, which readers take without TensorFlow."""

TRAINING_FILE = "training.json"
"""Below the folder of a training; whole at any moment, also after a kill."""
TENSORBOARD_FOLDER = "tensorboard"
"""Beside it, TensorBoard's events, with the same values."""
