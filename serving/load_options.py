"""Flags of the load test, checked."""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from pathlib import Path
from typing import Any

from schemas.contract import MODEL_NAME
from serving import arrivals

_ABOVE_ZERO = ("rate", "duration_s", "num_users", "k", "connections", "max_in_flight", "timeout_s", "num_swaps")


@dataclass(frozen=True)
class LoadOptions:
    """What to send, how fast, and which versions to swap meanwhile; flags have the fields' names, and their help."""

    server: str = field(default="localhost:8500", metadata={"help": "host:port of the server's gRPC API"})
    model_name: str = field(default=MODEL_NAME, metadata={"help": "name under which it serves the retriever"})
    rate: float = field(
        default=100.0, metadata={"help": "requests per second, sent whether or not earlier ones are answered"}
    )
    duration_s: float = field(
        default=10.0, metadata={"help": "seconds of load; with --swap more if the swaps take longer"}
    )
    arrivals: str = field(default="poisson", metadata={"help": "poisson, as independent users arrive, or constant"})
    seed: int = field(default=0, metadata={"help": "of the arrivals"})
    features: Path | None = field(
        default=None, metadata={"help": "JSON file of a user's named inputs, or of a list of them"}
    )
    snapshot: Path | None = field(default=None, metadata={"help": "user snapshot (default: the newest run's)"})
    num_users: int = field(default=1000, metadata={"help": "users of the snapshot, asked for in turn"})
    k: int = field(default=100, metadata={"help": "items per request"})
    connections: int = field(default=8, metadata={"help": "connections, used in turn"})
    max_in_flight: int = field(
        default=1000, metadata={"help": "requests that may wait; more are counted as failed, not sent"}
    )
    timeout_s: float = field(default=5.0, metadata={"help": "deadline of a request in seconds"})
    swap: bool = field(
        default=False, metadata={"help": "publish versions while the load runs, and remove them after it"}
    )
    swap_base_path: Path | None = field(
        default=None, metadata={"help": "the server's --model_base_path, where --swap publishes"}
    )
    swap_from: Path | None = field(default=None, metadata={"help": "prepared versions (default: copies of the newest)"})
    num_swaps: int = field(default=10, metadata={"help": "versions to publish"})
    out: Path | None = field(default=None, metadata={"help": "folder for load_test.json and load_test.svg"})
    plot: bool = field(default=False, metadata={"help": "draw latency over time"})

    def __post_init__(self) -> None:
        """Raises `ValueError` on a value out of range or flags that do not go together."""
        for name in _ABOVE_ZERO:
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} must be above 0. Received: {getattr(self, name)}")
        if self.arrivals not in arrivals.PROCESSES:
            raise ValueError(f"--arrivals must be one of {', '.join(arrivals.PROCESSES)}. Received: {self.arrivals}")
        if self.features and self.snapshot:
            raise ValueError("give --features or --snapshot, not both")
        if self.swap != (self.swap_base_path is not None) or (self.swap_from and not self.swap):
            raise ValueError("--swap needs --swap_base_path, and the other swap flags need --swap")
        if self.plot and not self.out:
            raise ValueError("--plot needs --out, the folder to draw into")


def parse_options(argv: Sequence[str] | None, *, description: str) -> LoadOptions:
    """The options of a command line; a wrong one ends the process with status 2."""
    parser = argparse.ArgumentParser(prog="python -m serving.load_test", description=description)
    parsers: dict[Any, Callable[[str], Any]] = {int: int, float: float, str: str}
    for option in fields(LoadOptions):
        text = option.metadata["help"] + (" (%(default)s)" if option.default else "")
        if option.type is bool:
            parser.add_argument(f"--{option.name}", action="store_true", help=text)
        else:
            parse = parsers.get(option.type, Path)
            parser.add_argument(f"--{option.name}", type=parse, default=option.default, help=text)
    values = parser.parse_args(argv)
    try:
        return LoadOptions(**vars(values))
    except ValueError as error:
        parser.error(str(error))
