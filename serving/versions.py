"""Which versions of a model are on disk, loading, serving or gone, and the switch from one to the next."""

import contextlib
import enum
import threading
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic
from typing import NamedTuple
from typing import TypeVar

from serving.version_folders import LATEST
from serving.version_folders import Fingerprint
from serving.version_folders import VersionPolicy
from serving.version_folders import fingerprint
from serving.version_folders import version_directories

Model = TypeVar("Model")

_UNKNOWN = 2
_NO_VERSION = -1


class State(enum.IntEnum):
    """Where a version is in its life, numbered as in TF Serving's `ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class LoadError(Exception):
    """A version directory that cannot be served: the text says why, `code` is a gRPC status number."""

    def __init__(self, text: str, *, code: int = _UNKNOWN) -> None:
        super().__init__(text)
        self.code = code


class VersionNotFoundError(LookupError):
    """No version, or not the asked one, is serving."""


class VersionStatus(NamedTuple):
    """What is known of a version; `error` and `error_code` are empty and 0 unless it failed to load."""

    number: int
    state: State
    error_code: int
    error: str


@dataclass
class _Version(Generic[Model]):
    number: int
    fingerprint: Fingerprint
    state: State = State.START
    error_code: int = 0
    error: str = ""
    model: Model | None = None
    num_requests: int = 0

    def status(self) -> VersionStatus:
        return VersionStatus(self.number, self.state, self.error_code, self.error)


class ModelVersions(Generic[Model]):
    """The loadable versions below a folder that a policy wants, replaced without a gap when they change.

    `poll`, `configure` and `retire` are for one thread at a time; everything else is safe from any thread.

    Args:
        base_path: Folder of version directories.
        load: Makes a model of a version directory, or raises `LoadError`.
        policy: Which versions to serve.
    """

    def __init__(self, base_path: Path, load: Callable[[Path], Model], *, policy: VersionPolicy = LATEST) -> None:
        self._load_model = load
        self._lock = threading.Lock()
        self._versions: dict[int, _Version[Model]] = {}
        self._available: dict[int, _Version[Model]] = {}
        self._has_garbage = False
        self.configure(base_path, policy=policy)

    def configure(self, base_path: Path, *, policy: VersionPolicy) -> None:
        """Takes versions from `base_path` by `policy`, from the next `poll` on."""
        self._base_path = base_path
        self._policy = policy

    def poll(self) -> list[VersionStatus]:
        """Loads the wanted versions that do not serve yet, the newest first, then unloads those that are not wanted.

        A version that fails makes room for the next older one. It is not tried again before its files change, so that
        a copy in progress gets its turn. What serves is unloaded only when a wanted version serves: with nothing
        loadable left the old versions serve on.

        Returns:
            The versions that now serve or failed, in the order in which they were tried.

        Raises:
            OSError: The folder exists and cannot be read.
        """
        tried = []
        wanted: set[int] = set()
        for number, path in version_directories(self._base_path, self._policy):
            if len(wanted) == self._policy.limit:
                break
            if number not in self._available:
                version: _Version[Model] = _Version(number, fingerprint(path))
                if self._failed_before(version):
                    continue
                self._load(version, path)
                tried.append(version.status())
                if version.error:
                    continue
            wanted.add(number)
        if wanted:
            self._unload_all_but(wanted)
        return tried

    def retire(self) -> None:
        """Serves no version any more; each is unloaded when its requests are done."""
        self._unload_all_but(set())

    @contextlib.contextmanager
    def use(self, number: int | None = None) -> Iterator[tuple[int, Model]]:
        """Holds a serving version, so that it is not unloaded before the caller is done.

        Args:
            number: The version; the newest that serves if None.

        Raises:
            VersionNotFoundError: None, or not the asked one, is serving.
        """
        with self._lock:
            asked = max(self._available, default=_NO_VERSION) if number is None else number
            version = self._available.get(asked)
            if version is None or version.model is None:
                raise VersionNotFoundError(number)
            version.num_requests += 1
            model = version.model
        try:
            yield version.number, model
        finally:
            with self._lock:
                version.num_requests -= 1
                self._unload_if_idle(version)

    def available(self) -> frozenset[int]:
        """The versions that serve."""
        with self._lock:
            return frozenset(self._available)

    def take_garbage(self) -> bool:
        """Whether models were dropped since the last call: `gc.collect` frees them, for they hold reference cycles."""
        with self._lock:
            has_garbage, self._has_garbage = self._has_garbage, False
        return has_garbage

    def statuses(self) -> list[VersionStatus]:
        """Every version that was ever tried, the newest first."""
        with self._lock:
            return [self._versions[number].status() for number in sorted(self._versions, reverse=True)]

    def _failed_before(self, version: _Version[Model]) -> bool:
        known = self._versions.get(version.number)
        return known is not None and bool(known.error) and known.fingerprint == version.fingerprint

    def _load(self, version: _Version[Model], path: Path) -> None:
        with self._lock:
            self._versions[version.number] = version
            version.state = State.LOADING
        try:
            model = self._load_model(path)
        except LoadError as error:
            # Only its text: the exception holds the frames that hold what was loaded.
            with self._lock:
                version.error_code, version.error, version.state = error.code, str(error), State.END
                self._has_garbage = True
            return
        with self._lock:
            version.model, version.state = model, State.AVAILABLE
            self._available[version.number] = version

    def _unload_all_but(self, wanted: set[int]) -> None:
        with self._lock:
            for number in self._available.keys() - wanted:
                version = self._available.pop(number)
                version.state = State.UNLOADING
                self._unload_if_idle(version)

    def _unload_if_idle(self, version: _Version[Model]) -> None:
        """Drops the model; the caller holds the lock."""
        if version.state is State.UNLOADING and not version.num_requests:
            version.model, version.state = None, State.END
            self._has_garbage = True
