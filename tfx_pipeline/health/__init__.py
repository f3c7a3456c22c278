"""Data health: what may be wrong with the data of a run, found before anything is trained on it."""
