"""Adapters that turn public data sets into the raw tables of the data contract."""
