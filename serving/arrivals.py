"""When an open-loop load sends: fixed before the first answer, so that a slow server cannot slow the load down."""

import itertools
import random
from collections.abc import Iterator

PROCESSES = ("poisson", "constant")


def send_times_s(*, rate: float, process: str, seed: int) -> Iterator[float]:
    """Seconds after the start at which to send, ascending, without an end.

    Args:
        rate: Requests per second, on average.
        process: `poisson`, as independent users arrive, or `constant`, evenly spaced.
        seed: The same one gives the same times.
    """
    if process not in PROCESSES:
        raise ValueError(f"process must be one of {', '.join(PROCESSES)}. Received: {process!r}")
    if process == "constant":
        return (index / rate for index in itertools.count())
    random_numbers = random.Random(seed)
    return itertools.accumulate(random_numbers.expovariate(rate) for _ in itertools.count())
