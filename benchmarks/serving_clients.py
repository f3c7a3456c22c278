"""Clients that each send their next request when the last is answered, in a process of their own.

python -m benchmarks.serving_clients --server=HOST:PORT --requests=FILE --num_clients=8 --seconds=3
"""

import argparse
import asyncio
import json
import time
from pathlib import Path

import grpc

from serving import wire
from serving.load_report import percentiles_ms

_WARM_UP_S = 0.5
_TIMEOUT_S = 60.0


def main() -> None:
    """Prints latencies and throughput as JSON; any failed request ends it with gRPC's error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--requests", type=Path, required=True, help="JSON list of serialized requests in hexadecimal")
    parser.add_argument("--num_clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    flags = parser.parse_args()
    requests = [bytes.fromhex(text) for text in json.loads(flags.requests.read_text())]
    times_s = asyncio.run(_clients(flags.server, requests, num_clients=flags.num_clients, seconds=flags.seconds))
    print(json.dumps(percentiles_ms(times_s) | {"per_s": len(times_s) / flags.seconds}))


async def _clients(server: str, requests: list[bytes], *, num_clients: int, seconds: float) -> list[float]:
    start_s = time.monotonic() + _WARM_UP_S
    clients = [
        _client(server, requests[number:] + requests[:number], start_s=start_s, end_s=start_s + seconds)
        for number in range(num_clients)
    ]
    return [time_s for times_s in await asyncio.gather(*clients) for time_s in times_s]


async def _client(server: str, requests: list[bytes], *, start_s: float, end_s: float) -> list[float]:
    """Seconds of each request that ended in the measured time."""
    times_s = []
    async with grpc.aio.insecure_channel(server, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(wire.PREDICT)
        number = 0
        while True:
            sent_s = time.monotonic()
            await call(requests[number % len(requests)], timeout=_TIMEOUT_S)
            done_s = time.monotonic()
            if done_s > end_s:
                return times_s
            if done_s > start_s:
                times_s.append(done_s - sent_s)
            number += 1


if __name__ == "__main__":
    main()
