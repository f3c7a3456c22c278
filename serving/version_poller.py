"""Looks for new versions in a thread of its own and reports each change in one line."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.versions import ModelVersions
from serving.versions import State
from serving.versions import VersionStatus


class VersionPoller:
    """Polls `versions` until stopped.

    Args:
        versions: What to poll.
        model_name: The name to report.
        base_path: The folder to report while it has no version.
        address: Where the server listens.
        wait_s: Seconds between two polls.
        on_end: Called when polling ended, also when a defect ended it.
    """

    def __init__(
        self,
        versions: ModelVersions[Any],
        *,
        model_name: str,
        base_path: Path,
        address: str,
        wait_s: float,
        on_end: Callable[[], None],
    ) -> None:
        self._versions = versions
        self._model_name = model_name
        self._base_path = base_path
        self._address = address
        self._wait_s = wait_s
        self._on_end = on_end
        self._stopping = threading.Event()
        self._last_trouble = ""
        self._thread = threading.Thread(target=self._run, name="version-poller", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Polls no more; a version that is being loaded is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._poll()
                self._stopping.wait(self._wait_s)
        finally:
            self._on_end()

    def _poll(self) -> None:
        try:
            changes = self._versions.poll()
        except OSError as error:
            self._report_trouble(f"cannot read the versions of {self._model_name}, trying again: {error}")
            return
        for change in changes:
            self._report_change(change)
        if not self._versions.statuses():
            self._report_trouble(
                f"Waiting at {self._address}: no version of {self._model_name} below {self._base_path} yet"
            )

    def _report_change(self, change: VersionStatus) -> None:
        self._last_trouble = ""
        version = f"{self._model_name} version {change.number}"
        if change.state is State.END:
            print(f"{version} failed to load and is not served: {change.error}", file=sys.stderr, flush=True)
        else:
            print(f"Serving {version} at {self._address}", flush=True)

    def _report_trouble(self, text: str) -> None:
        """Reports a lasting condition once, not at every poll."""
        if text != self._last_trouble:
            self._last_trouble = text
            print(text, flush=True)
