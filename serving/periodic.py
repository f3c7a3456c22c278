"""Does something again and again in a thread of its own."""

import threading
from collections.abc import Callable


class PeriodicTask:
    """Calls `work` until stopped.

    Args:
        work: What to do; a defect in it ends the task.
        name: Of the thread.
        wait_s: Seconds between two calls.
        on_end: Called when the task ended, also when a defect ended it.
    """

    def __init__(self, work: Callable[[], None], *, name: str, wait_s: float, on_end: Callable[[], None]) -> None:
        self._work = work
        self._wait_s = wait_s
        self._on_end = on_end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Starts no further call; one that is running is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._work()
                self._stopping.wait(self._wait_s)
        finally:
            self._on_end()
