"""Which versions of a model are on disk, loading, serving or gone, and the switch from one to the next."""

import contextlib
import enum
import gc
import threading
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic
from typing import NamedTuple
from typing import TypeVar

Model = TypeVar("Model")
Fingerprint = tuple[tuple[str, int, int], ...]

_UNKNOWN = 2
_MAX_VERSION = 2**63 - 1


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
    error: LoadError | None = None
    model: Model | None = None
    num_requests: int = 0

    def status(self) -> VersionStatus:
        error = self.error
        return VersionStatus(self.number, self.state, error.code if error else 0, str(error) if error else "")


class ModelVersions(Generic[Model]):
    """The newest loadable version below a folder, replaced without a gap when a newer one appears.

    `poll` is for one thread; everything else is safe from any thread.

    Args:
        base_path: Folder of version directories. Names that are not whole numbers (temporary copies) are ignored.
        load: Makes a model of a version directory, or raises `LoadError`.
    """

    def __init__(self, base_path: Path, load: Callable[[Path], Model]) -> None:
        self._base_path = base_path
        self._load_model = load
        self._lock = threading.Lock()
        self._versions: dict[int, _Version[Model]] = {}
        self._serving: _Version[Model] | None = None

    def poll(self) -> list[VersionStatus]:
        """Loads the newest version if it is not the serving one; the older ones only until one loads.

        A version that fails is not tried again before its files change, so that a copy in progress gets its turn. When
        the serving version's directory is gone the newest remaining one takes over; with none left it serves on.

        Returns:
            The versions that now serve or failed, in the order in which they were tried.

        Raises:
            OSError: The folder exists and cannot be read.
        """
        tried = []
        for number, path in _version_directories(self._base_path):
            if self._serving and self._serving.number == number:
                break
            version: _Version[Model] = _Version(number, _fingerprint(path))
            if self._failed_before(version):
                continue
            self._load(version, path)
            tried.append(version.status())
            if version.error is None:
                break
        return tried

    @contextlib.contextmanager
    def use(self, number: int | None = None) -> Iterator[tuple[int, Model]]:
        """Holds the serving version, so that it is not unloaded before the caller is done.

        Args:
            number: The version that must be the serving one; any if None.

        Raises:
            VersionNotFoundError: None, or not the asked one, is serving.
        """
        with self._lock:
            version = self._serving
            if version is None or version.model is None or number not in (None, version.number):
                raise VersionNotFoundError(number)
            version.num_requests += 1
            model = version.model
        try:
            yield version.number, model
        finally:
            with self._lock:
                version.num_requests -= 1
            del model
            self._unload_if_idle(version)

    def statuses(self) -> list[VersionStatus]:
        """Every version that was ever tried, the newest first."""
        with self._lock:
            return [self._versions[number].status() for number in sorted(self._versions, reverse=True)]

    def _failed_before(self, version: _Version[Model]) -> bool:
        known = self._versions.get(version.number)
        return known is not None and known.error is not None and known.fingerprint == version.fingerprint

    def _load(self, version: _Version[Model], path: Path) -> None:
        with self._lock:
            self._versions[version.number] = version
            version.state = State.LOADING
        try:
            model = self._load_model(path)
        except LoadError as error:
            with self._lock:
                version.error, version.state = error, State.END
            return
        self._switch_to(version, model)

    def _switch_to(self, version: _Version[Model], model: Model) -> None:
        with self._lock:
            version.model, version.state = model, State.AVAILABLE
            previous, self._serving = self._serving, version
            if previous:
                previous.state = State.UNLOADING
        if previous:
            self._unload_if_idle(previous)

    def _unload_if_idle(self, version: _Version[Model]) -> None:
        with self._lock:
            if version.state is not State.UNLOADING or version.num_requests:
                return
            version.model, version.state = None, State.END
        # A loaded SavedModel holds reference cycles: without this its memory waits for the next full collection.
        gc.collect()


def _version_directories(base_path: Path) -> list[tuple[int, Path]]:
    """Version directories below `base_path`, the newest first; none if it does not exist (yet)."""
    try:
        entries = list(base_path.iterdir())
    except FileNotFoundError:
        return []
    numeric = [(int(path.name), path) for path in entries if path.name.isascii() and path.name.isdecimal()]
    return sorted(
        ((number, path) for number, path in numeric if number <= _MAX_VERSION and path.is_dir()), reverse=True
    )


def _fingerprint(directory: Path) -> Fingerprint:
    """Path, size and modification time of every file: it changes while a copy is in progress."""
    stats = [(str(path), path.stat()) for path in sorted(directory.rglob("*"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
