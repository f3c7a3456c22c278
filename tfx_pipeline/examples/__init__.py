"""Beam transforms from raw tables to the five splits of training examples."""
