"""One of several machines that train together.

`python -m trainer.worker --folder=DIR/training` on each of them but the chief's, with the same `TF_CONFIG` but for its own place
(`{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 1}}`), beside the chief's
`python -m tfx_pipeline.local_runner --root=DIR`, whose `TF_CONFIG` has the index 0. All see `DIR` under one path. It waits for the
chief's training, joins it and ends with it. If one worker fails all do: started again, they go on from the chief's last save.
"""

import argparse
import logging
import os
import sys
import threading
import time
import warnings
from pathlib import Path

_WATCH_S = 2.0
_LEAVE_S = 2.0  # the chief, through which the others hear of each other, leaves last


def main() -> None:
    """Waits, joins, trains; exit status 0 when the training has ended well."""
    flags = _parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    logging.getLogger("trainer").setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if flags.parent:
        threading.Thread(target=_end_with, args=(flags.parent,), daemon=True).start()
    from trainer.cluster import number_of  # after the environment is quiet: TensorFlow comes with them
    from trainer.cluster import wait_for_job
    from trainer.replicas import choose_strategy
    from trainer.replicas import is_chief
    from trainer.replicas import num_workers
    from trainer.replicas import of_chief
    from trainer.run import train

    if num_workers() < 2:
        raise SystemExit(f"TF_CONFIG must name at least two workers. Received: {os.environ.get('TF_CONFIG', 'none')}")
    job, folder = wait_for_job(flags.folder)
    strategy = choose_strategy()
    with strategy.scope():
        if of_chief(number_of(folder)) != number_of(folder):
            raise SystemExit(
                f"{folder} is of an earlier training, and the chief has another one: start all workers again."
            )
    train(job, folder, strategy)
    with strategy.scope():
        of_chief(0.0)  # none leaves before the chief has exported
        if is_chief():
            time.sleep(_LEAVE_S)


def _end_with(parent: int) -> None:
    """A run that was killed leaves no training behind."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trainer.worker", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="DIR/training of the chief's run")
    parser.add_argument("--parent", type=int, default=0, help="process that this one ends with; 0: none")
    return parser.parse_args()


if __name__ == "__main__":
    main()
