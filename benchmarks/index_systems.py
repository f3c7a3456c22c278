"""The systems that are measured, each in a process of its own that is told what to do."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NamedTuple

from benchmarks import index_scann
from benchmarks.index_environment import ROOT

OURS = "{} (SavedModel)"
RAW = "raw ScaNN"
GRAPHS = ("faiss HNSW32", "hnswlib M16")
_STOP_S = 10
# Threads beyond the one core that a process is bound to would only make it wait for itself.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_USE_LEGACY_KERAS": "1",
}


class Spec(NamedTuple):
    """A system, or one of its builds.

    Attributes:
        name: in the table; shared by builds of one system.
        where: module and class.
        variant: how it is built.
        is_peer: it runs in the peers' environment.
        in_quick: a quick run has it.
    """

    name: str
    where: str
    variant: str = ""
    is_peer: bool = False
    in_quick: bool = True

    @property
    def title(self) -> str:
        """Name and build."""
        return f"{self.name} {self.variant}".strip()


def all_systems() -> list[Spec]:
    """Ours first, then ScaNN alone, then the peers."""
    from benchmarks import index_kinds  # imports TensorFlow, whose messages must be off by then

    ours = [
        Spec(OURS.format(kind), "index_kinds:Exported", f"{kind} {target}".strip())
        for kind, targets in index_kinds.VARIANTS.items()
        for target in targets
    ]
    return [
        *ours,
        Spec(RAW, "index_scann:Searcher"),
        Spec(f"{RAW}, {index_scann.NO_THRESHOLD}", "index_scann:Searcher", index_scann.NO_THRESHOLD, in_quick=False),
        *(Spec("TFRS ScaNN layer", "index_scann:Layer", share, in_quick=False) for share in index_scann.LAYER_SHARES),
        Spec("faiss Flat", "index_peers:Flat", is_peer=True),
        Spec("faiss IVF-Flat", "index_peers:IvfFlat", is_peer=True),
        Spec(GRAPHS[0], "index_peers:Hnsw", is_peer=True),
        Spec(GRAPHS[1], "index_peers:Hnswlib", is_peer=True),
    ]


class SystemFailedError(Exception):
    """A system's process ended; the text is the last that it wrote."""


class SystemProcess:
    """A running system.

    Args:
        spec: Of the system.
        peers_python: Interpreter of the peers' environment.
        arguments: Of `index_worker`, but for the system and its variant.
        log: What the process writes.
    """

    def __init__(self, spec: Spec, *, peers_python: Path, arguments: Sequence[str], log: Path) -> None:
        self.spec = spec
        self._log = log
        command = [str(peers_python if spec.is_peer else sys.executable), "-m", "benchmarks.index_worker"]
        command += [f"--system=benchmarks.{spec.where}", f"--variant={spec.variant}", *arguments]
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **_ONE_THREAD},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """The answer to a command.

        Raises:
            SystemFailedError: the process ended instead.
        """
        try:
            print(json.dumps({"do": do, **given}), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline() if self._process.stdout else ""
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process.wait()
            lines = self._log.read_text().strip().splitlines()
            raise SystemFailedError(lines[-1] if lines else f"it ended with status {self._process.returncode}")
        return json.loads(answer)

    def stop(self) -> None:
        """Ends the process, which gives its memory back."""
        self._process.kill()
        self._process.communicate(timeout=_STOP_S)
