"""Memory that this process has taken since a moment, from Linux's own books; imports the standard library only."""

import ctypes
import gc
from pathlib import Path

_PEAK_IS_NOW = "5"  # of /proc/self/clear_refs, see proc(5)


class MemoryGrowth:
    """Counts from when it is made; what was touched before, such as a mapped file, is not counted."""

    def __init__(self) -> None:
        _give_back()
        Path("/proc/self/clear_refs").write_text(_PEAK_IS_NOW)
        self._start_mb, self._own_start_mb = _status_mb("VmRSS"), _status_mb("RssAnon")

    def held_mb(self) -> float:
        """Held now, without mapped files and without what was freed."""
        _give_back()
        return _status_mb("RssAnon") - self._own_start_mb

    def peak_mb(self) -> float:
        """The most that was resident."""
        return _status_mb("VmHWM") - self._start_mb


def _give_back() -> None:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kilobytes) / 1024
