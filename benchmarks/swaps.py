"""Version swaps of the model server under load: 10,000 requests meanwhile, each answer checked against its version.

python -m benchmarks.swaps --rate=100 --num_requests=10000 --num_swaps=10
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import serving_model
from benchmarks import serving_systems
from serving import load_test
from tfx_pipeline import logs

_NUM_USERS = 64


def main() -> int:
    """Prepares versions of a synthetic retriever, serves the first and swaps the others; the load test's exit status."""
    flags = _parse()
    logs.quiet_environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        serving_model.save(folder / "served", num_items=flags.num_items)
        for version in range(2, 2 + flags.num_swaps):
            serving_model.save(folder / "prepared", num_items=flags.num_items, version=version)
        users = serving_model.users(num_users=_NUM_USERS, num_items=flags.num_items)
        (folder / "users.json").write_text(json.dumps(users))
        command = f"serving.model_server --port=0 --model_base_path={folder / 'served'} {flags.server_flags}"
        with serving_systems.server_process(command) as address:
            return load_test.main(
                [
                    *(f"--server={address}", f"--features={folder / 'users.json'}", f"--rate={flags.rate}"),
                    *(f"--duration_s={flags.num_requests / flags.rate}", f"--out={flags.out}", "--plot", "--swap"),
                    *(f"--swap_base_path={folder / 'served'}", f"--swap_from={folder / 'prepared'}"),
                    f"--num_swaps={flags.num_swaps}",
                ]
            )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second (%(default)s)")
    parser.add_argument("--num_requests", type=int, default=10_000, help="about so many (%(default)s)")
    parser.add_argument("--num_swaps", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--num_items", type=int, default=20_000, help="of the synthetic retriever (%(default)s)")
    parser.add_argument("--server_flags", default="", help="more flags of the model server")
    parser.add_argument("--out", type=Path, default=Path("run/bench"), help="folder of the results (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
