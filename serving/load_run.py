"""One load from its options: requests encoded, sent at their times, versions swapped meanwhile."""

import asyncio
import contextlib
import gc
import itertools
import selectors
import sys
from typing import NamedTuple

from serving.arrivals import send_times_s
from serving.client import RetrieverClient
from serving.load_generator import LoadGenerator
from serving.load_generator import Outcome
from serving.load_messages import read_users
from serving.load_options import LoadOptions
from serving.load_report import percentiles_ms
from serving.load_swaps import Swap
from serving.load_swaps import Swapper
from serving.load_versions import LoadVersions
from serving.load_versions import SwapError

_PROGRESS_S = 2.0


class Load(NamedTuple):
    """Every request's outcome, in the order in which they were done; the swaps; and why not all of these were done."""

    outcomes: list[Outcome]
    swaps: list[Swap]
    swap_error: str


def run(options: LoadOptions) -> Load:
    """Sends the load, and swaps versions meanwhile; it goes on until the last swap is done.

    Raises:
        RetrieverError: The server does not answer before the load starts.
        SnapshotError: No users.
        SwapError: The versions to publish are too few or too old.
        ValueError: Users whose features the server's signature does not take.
    """
    users = read_users(features=options.features, snapshot_path=options.snapshot, num_users=options.num_users)
    # A snapshot may hold features that the served version does not take.
    with RetrieverClient(
        options.server, model_name=options.model_name, timeout_s=options.timeout_s, ignore_unknown=True
    ) as client:
        requests = client.encode(users, k=options.k)
    # asyncio's default selector wakes up at whole milliseconds, which is coarse for the times of requests.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with contextlib.ExitStack() as stack:
        stack.callback(loop.close)
        versions = None
        if options.swap_base_path:
            versions = LoadVersions(options.swap_base_path, prepared=options.swap_from, num_versions=options.num_swaps)
            stack.callback(versions.remove)
            versions.copy()
        # A collection of all that was imported, for which a quarter of a second goes by, would send requests late.
        gc.freeze()
        stack.callback(gc.unfreeze)
        return loop.run_until_complete(_run(options, requests, versions))


async def _run(options: LoadOptions, requests: list[bytes], versions: LoadVersions | None) -> Load:
    generator = LoadGenerator(
        options.server,
        requests,
        connections=options.connections,
        max_in_flight=options.max_in_flight,
        timeout_s=options.timeout_s,
    )
    async with contextlib.aclosing(generator):
        await generator.connect()
        generator.start_clock()
        progress = asyncio.create_task(_show_progress(generator))
        swapping = asyncio.create_task(_swap(options, versions, generator))
        times_s = send_times_s(rate=options.rate, process=options.arrivals, seed=options.seed)
        await generator.run(
            itertools.takewhile(lambda due_s: due_s < options.duration_s or not swapping.done(), times_s)
        )
        progress.cancel()
    return Load(generator.outcomes, *await swapping)


async def _swap(
    options: LoadOptions, versions: LoadVersions | None, generator: LoadGenerator
) -> tuple[list[Swap], str]:
    """The swaps that were done, and why not all of them were."""
    if versions is None:
        return [], ""
    swapper = Swapper(
        versions,
        model_name=options.model_name,
        now_s=generator.now_s,
        has_answered=generator.answered_versions.__contains__,
    )
    step_s = options.duration_s / options.num_swaps
    start_times_s = [(number + 0.5) * step_s for number in range(options.num_swaps)]
    try:
        await swapper.run(options.server, start_times_s=start_times_s)
    except SwapError as error:
        return swapper.swaps, str(error)
    return swapper.swaps, ""


async def _show_progress(generator: LoadGenerator) -> None:
    num_shown = 0
    while True:
        await asyncio.sleep(_PROGRESS_S)
        latest = generator.outcomes[num_shown:]
        num_shown += len(latest)
        num_failed = sum(bool(outcome.error) for outcome in latest)
        latency_ms = percentiles_ms([outcome.latency_s for outcome in latest if not outcome.error])
        times = "".join(f", {name} {latency_ms[name]:.1f} ms" for name in ("p50", "p99") if latency_ms)
        rate = len(latest) / _PROGRESS_S
        print(f"{generator.now_s():5.0f} s: {rate:.0f} requests/s, {num_failed} failed{times}", file=sys.stderr)
