"""Development model server: `tensorflow_model_server`'s flags and gRPC API, for where TF Serving cannot be installed.

    python -m serving.model_server --port=8500 --model_name=retriever --model_base_path=DIR

A stand-in: production runs TF Serving. SIGTERM or Ctrl-C ends it with exit status 0: at once while it starts or when no
request is running, else within 15 seconds, of which running requests have 10.
"""

import argparse
import os
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

from schemas.contract import MODEL_NAME
from serving.shutdown import Shutdown

_DRAIN_S = 10.0
_LIMIT_S = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal ends the process; returns the exit status where something else ended serving."""
    shutdown = Shutdown(limit_s=_LIMIT_S)
    shutdown.watch()  # before the slow imports: a signal during them must not end in the system's default
    flags = _parse_flags(argv)
    # Level 2 would still print three lines about CUDA plugins at every start; failures to load are reported here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google.api_core")
    from serving.grpc_server import serve

    return serve(flags, shutdown, drain_s=_DRAIN_S)


def _parse_flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m serving.model_server", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0 picks a free one and prints it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, loopback)")
    parser.add_argument("--model_name", default=MODEL_NAME, help="name that requests use (default: %(default)s)")
    parser.add_argument("--model_base_path", type=Path, required=True, help="folder of numbered version directories")
    parser.add_argument(
        "--file_system_poll_wait_seconds", type=_positive(float), default=1.0, help="seconds between two looks at it"
    )
    parser.add_argument(
        "--num_threads", type=_positive(int), default=4 * (os.cpu_count() or 1), help="requests answered at a time"
    )
    flags, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"unknown flag {' '.join(unknown)}; the known flags are in the usage above")
    if flags.model_base_path.exists() and not flags.model_base_path.is_dir():
        parser.error(f"--model_base_path must be a folder. Received: {flags.model_base_path}")
    return flags


def _positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def number(text: str) -> int | float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"must be above 0. Received: {text}")
        return value

    return number


if __name__ == "__main__":
    # Not sys.exit: it would tear TensorFlow down under threads that still run in it, and wait for requests that were
    # cancelled but still compute. Everything printed is flushed.
    os._exit(main())
