"""Versions of what a run was made with."""

import platform
from importlib import metadata

_PACKAGES = (
    "conversion-retrieval",
    "tensorflow",
    "tf-keras",
    "tensorflow-recommenders",
    "scann",
    "tfx",
    "tfx-bsl",
    "tensorflow-transform",
    "tensorflow-data-validation",
    "tensorflow-model-analysis",
    "ml-metadata",
    "apache-beam",
    "numpy",
    "pandas",
    "pyarrow",
    "protobuf",
    "matplotlib",
)


def installed_versions() -> dict[str, str]:
    """By package, with Python's and the platform's; what is not installed is left out."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
