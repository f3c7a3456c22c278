"""Runs the pipeline as a user would, in processes of their own, and kills it where a test wants."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 1200


class Runner:
    """The local runner on one root folder."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root = root
        self._command = [sys.executable, "-m", "tfx_pipeline.local_runner", f"--root={root}", *arguments]
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(root / "cache")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """A whole run."""
        return subprocess.run(
            [*self._command, *arguments],
            cwd=PROJECT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )

    def kill_in(self, component: str, *arguments: str, after: str = "") -> str:
        """Starts a run and kills it (SIGKILL, with its children) once the component runs; what it had printed.

        Args:
            component: its name as the console shows it.
            arguments: further ones of the command line.
            after: kills only when the component has printed a line with this text.
        """
        process = subprocess.Popen(
            [*self._command, *arguments],
            cwd=PROJECT,
            env=self._environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        said = ""
        is_running = False
        for line in process.stderr or ():
            said += line
            is_running = is_running or re.search(rf"\] {component}$", line.rstrip()) is not None
            if is_running and after in line:
                os.killpg(process.pid, signal.SIGKILL)
                break
        process.wait(timeout=60)
        if process.stderr:
            process.stderr.close()
        assert is_running, f"{component} never ran: {said}"
        return said

    @property
    def versions(self) -> list[str]:
        """Everything below the served folder, partial copies too."""
        folder = self.root / "serving" / "retriever"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture(scope="session")
def runner_type() -> type[Runner]:
    """The class, as a fixture: a dependency installs a top-level package `tests`, so tests import nothing from here."""
    return Runner


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that is beside the project where it is developed, and not part of it."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data in {folder}")
    return folder
