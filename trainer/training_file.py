"""The name of a training's file, which readers take without TensorFlow."""

TRAINING_FILE = "training.json"
"""Below the folder of a training; whole at any moment, also after a kill."""
