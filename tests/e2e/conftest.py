"""Runs the pipeline as a user would, in processes of their own, and kills it where a test wants."""

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 1200
_MARKET = (
    "--source=marketplace_simulator",
    "--set=source.num_users=400",
    "--set=source.num_items=500",
    "--set=source.num_advertisers=30",
    "--set=source.num_categories=10",
    "--set=trainer.epochs=6",
    "--set=trainer.batch_size=512",
    "--set=trainer.checkpoint_every_s=0",
)


class Runner:
    """The local runner, or another command, on one root folder."""

    def __init__(self, root: Path, *arguments: str, module: str = "tfx_pipeline.local_runner") -> None:
        self.root = root
        self.arguments = arguments
        self._command = [sys.executable, "-m", module, f"--root={root}", *arguments]
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
            after: kills only when the component has printed a line that this regular expression finds.
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
            if is_running and re.search(after, line):
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


class Simulated(NamedTuple):
    """A tiny simulated market, whose run was killed in the first heavy component and in the middle of training.

    Attributes:
        runner: on its root.
        versions_after_kills: what was served after each.
        finished: the run that went to the end.
    """

    runner: Runner
    versions_after_kills: list[list[str]]
    finished: subprocess.CompletedProcess


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Trained once for all files that need it, which run in one process; only `simulated_market_test` writes to its root."""
    runner = Runner(tmp_path_factory.mktemp("market") / "root", *_MARKET)
    versions = []
    for component, after in (("MarketplaceExampleGen", ""), ("Trainer", "Validation at step [1-9]")):
        runner.kill_in(component, after=after)
        versions.append(runner.versions)
    return Simulated(runner, versions, runner.run())


@pytest.fixture(scope="session")
def copied_root(simulated: Simulated) -> Callable[[Path], Path]:
    """Copies the root of the finished run, for tests that write to it."""

    def copy(to: Path) -> Path:
        assert simulated.finished.returncode == 0, simulated.finished.stderr
        shutil.copytree(simulated.runner.root, to)
        with contextlib.closing(sqlite3.connect(to / "metadata.sqlite")) as database:  # which holds whole paths
            database.execute("UPDATE Artifact SET uri = replace(uri, ?, ?)", (str(simulated.runner.root), str(to)))
            database.commit()
        return to

    return copy


@pytest.fixture(scope="session")
def model_server() -> Callable[[Path], contextlib.AbstractContextManager[str]]:
    """Serves the versions below a folder in a process of their own; a context manager of the address."""
    return _model_server


@contextlib.contextmanager
def _model_server(base: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "serving.model_server", "--port=0", f"--model_base_path={base}"]
    server = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout or ():
            if found := re.search(r"Serving retriever version \d+ at (\S+)", line):
                yield found.group(1)
                break
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
        if server.stdout:
            server.stdout.close()


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
