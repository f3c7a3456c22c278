"""What a run in one process need not pay for."""

import contextlib
import ctypes
import gc


def collect_seldom() -> None:
    """Before the imports: their objects are many and stay, and the collector goes through them again and again."""
    gc.set_threshold(50_000, 20, 100)


def lighten_beam() -> None:
    """Before the first Beam stage: a quarter of Transform's time on small data.

    Beam's worker in this process keeps side inputs in a cache, though they lie in this process anyway. To weigh one it goes through
    every loaded module (`objsize`), and there are thousands.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    worker_handlers.STATE_CACHE_SIZE_MB = 0  # no option reaches this worker
    gc.collect()
    gc.freeze()  # what is there now stays to the end


def release_memory() -> None:
    """After a component: glibc keeps what it freed, of millions of events a gigabyte, while the next ones need their own."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
