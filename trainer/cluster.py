"""Several machines that train together: the chief's run of the pipeline hands its training to the others by a file.

TensorFlow joins workers only in a process that has done nothing else before, which a run of the pipeline has. So each worker,
the chief's too, is a process of its own (`trainer.worker`).
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from typing import NamedTuple

log = logging.getLogger(__name__)
_JOB_FILE = "job.json"
_POLL_S = 1.0
_TELL_S = 300.0
_LAST_LINES = 20


class Job(NamedTuple):
    """A training: what of TFX's arguments it needs, under their names."""

    train_files: list[str]
    transform_output: str
    custom_config: dict[str, Any]
    serving_model_dir: str
    model_run_dir: str
    base_model: str | None

    @classmethod
    def of(cls, arguments: Any) -> "Job":
        """Takes it from what has such attributes."""
        return cls(*(getattr(arguments, name) for name in cls._fields))


def lead(job: Job, folder: Path) -> None:
    """Trains as the chief, in a process of its own, together with the workers that wait for the folder's parent.

    Raises:
        ValueError: by TF_CONFIG this is not the chief.
        RuntimeError: a worker failed or is gone, with what this one said last.
    """
    _check_is_chief(json.loads(os.environ["TF_CONFIG"]))
    partial = folder / f".{_JOB_FILE}.partial"
    partial.write_text(json.dumps(job._asdict()))
    os.replace(partial, folder / _JOB_FILE)
    log.info("Training as the chief of the cluster that TF_CONFIG names")
    command = [sys.executable, "-m", "trainer.worker", f"--folder={folder.parent}", f"--parent={os.getpid()}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    try:
        for line in process.stdout or ():
            said = [*said, line.rstrip()][-_LAST_LINES:]
            log.info("%s", line.rstrip())
        status = process.wait()
    finally:
        process.kill()
    if status:
        raise RuntimeError(
            f"The chief of the training ended with {status}. Start the workers and this run again: the training goes on from "
            f"its last save. It said: {' | '.join(said)}"
        )


def _check_is_chief(given: dict[str, Any]) -> None:
    chief = ("chief" if given["cluster"].get("chief") else "worker", 0)
    own = (given["task"]["type"], given["task"]["index"])
    if own != chief:
        raise ValueError(
            f"The pipeline runs on the chief, of TF_CONFIG's task {chief}. Received: {own}; run `python -m trainer.worker` there."
        )


def wait_for_job(folder: Path) -> tuple[Job, Path]:
    """What the chief's run is to train, and where; waits until there is one."""
    told_s = -_TELL_S
    while not (found := sorted(folder.glob(f"*/{_JOB_FILE}"))):
        if time.monotonic() - told_s >= _TELL_S:
            log.info(
                "Waiting for the chief's run of the pipeline to come to the Trainer and leave its job below %s", folder
            )
            told_s = time.monotonic()
        time.sleep(_POLL_S)
    return Job(**json.loads(found[0].read_text())), found[0].parent


def number_of(folder: Path) -> float:
    """Of a training, by its folder's name: what workers compare."""
    return float(int.from_bytes(hashlib.sha256(folder.name.encode()).digest()[:6], "big"))
