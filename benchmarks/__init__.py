"""Measured claims and the demonstration; nothing here is imported by the packages."""
