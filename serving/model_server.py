"""Development model server: `tensorflow_model_server`'s flags and gRPC API, for where TF Serving cannot be installed.

    python -m serving.model_server --port=8500 --model_name=retriever --model_base_path=DIR

A stand-in: production runs TF Serving. SIGTERM or Ctrl-C ends it with exit status 0: at once while it starts or when no
request is running, else within 15 seconds, of which running requests have 10.
"""

import os
import warnings
from collections.abc import Sequence

from serving.server_flags import parse_flags
from serving.shutdown import Shutdown

_DRAIN_S = 10.0
_LIMIT_S = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal ends the process; returns the exit status where something else ended serving."""
    shutdown = Shutdown(limit_s=_LIMIT_S)
    shutdown.watch()  # before the slow imports: a signal during them must not end in the system's default
    flags = parse_flags(argv, description=(__doc__ or "").splitlines()[0])
    # Level 2 would still print three lines about CUDA plugins at every start; failures to load are reported here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google.api_core")
    from serving.grpc_server import serve

    return serve(flags, shutdown, drain_s=_DRAIN_S)


if __name__ == "__main__":
    # Not sys.exit: it would tear TensorFlow down under threads that still run in it, and wait for requests that were
    # cancelled but still compute. Everything printed is flushed.
    os._exit(main())
