"""Ends the process on SIGTERM or Ctrl-C: at once while it starts, within a limit while it serves."""

import os
import signal
import threading
import time

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Waits for the signals in a thread of its own; they end the process with exit status 0.

    A Python signal handler runs on the main thread, between two bytecodes: not while that thread waits for a lock and
    the kernel gave the signal to another one, and never again if the handler takes a lock that the thread holds. Signals
    that every thread blocks and one thread waits for have neither flaw. They are late only by a C call that keeps the
    interpreter to itself, such as loading TensorFlow's library.

    Args:
        limit_s: Seconds from the signal to the end of the process, however far it has drained.
    """

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._can_drain = False
        self._is_signalled = False

    def watch(self) -> None:
        """Waits for the signals from now on; call it before any other thread starts, since threads inherit the mask."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=self._watch, name="shutdown", daemon=True).start()

    def drain_on_signal(self) -> None:
        """From now on a signal asks `wait` to return and leaves the limit to drain; before, it ends the process."""
        with self._lock:
            self._can_drain = True

    def ask(self) -> None:
        """Makes `wait` return without a signal."""
        self._asked.set()

    def wait(self) -> bool:
        """Waits for a signal or `ask`; returns whether it was a signal."""
        self._asked.wait()
        return self._is_signalled

    def _watch(self) -> None:
        signal.sigwait(_SIGNALS)
        with self._lock:
            self._is_signalled = True
            can_drain = self._can_drain
        self._asked.set()
        if can_drain:
            time.sleep(self._limit_s)
        os._exit(0)
