"""Retrievers: the towers with an index of the catalogue, as one SavedModel."""
