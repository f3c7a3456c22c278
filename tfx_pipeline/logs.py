"""Logs of a run: a few lines for people on the console, everything in a file."""

import contextlib
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import absl.logging

OWN_PACKAGES = ("schemas", "trainer", "tfx_pipeline", "serving")
_COMPONENT = re.compile(r"Component (\S+) is (running|finished)\.")


def quiet_environment() -> None:
    """Before TensorFlow is imported: its C++ parts write warnings to the console otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    warnings.simplefilter("ignore")


@contextlib.contextmanager
def logs_to(file: Path, *, num_components: int, after_each: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Everything goes to the file; progress of components and this project's own messages also to the console.

    Args:
        file: log of the run; parents are made.
        num_components: for `[3/10]`.
        after_each: is called when a component has ended. TFX's runner has no other hook than its messages.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    earlier, earlier_level = root.handlers[:], root.level
    whole = logging.FileHandler(file, encoding="utf-8")
    whole.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.handlers = [whole, _Console(num_components, after_each)]
    root.setLevel(logging.INFO)
    absl.logging.set_verbosity(absl.logging.INFO)  # else it falls back to WARNING once a component touches its flags
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = earlier
        root.setLevel(earlier_level)
        whole.close()


class _Console(logging.Handler):
    """Prints own messages, and a line when a component starts and when it ends."""

    def __init__(self, num_components: int, after_each: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self._after_each = after_each
        self._num_components = num_components
        self._num_started = 0
        self._started_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Decides by the logger's name and, for TFX's runner, by its two fixed messages."""
        message = record.getMessage()
        if found := _COMPONENT.fullmatch(message):
            self._component(*found.groups())
        elif record.name.split(".")[0] in OWN_PACKAGES:
            self._print(f"        {message}")

    def _component(self, name: str, state: str) -> None:
        if state == "running":
            self._num_started += 1
            self._started_s = time.monotonic()
            self._print(f"[{self._num_started}/{self._num_components}] {name}")
        else:
            self._print(f"        done in {time.monotonic() - self._started_s:.0f} s")
            self._after_each()

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
