"""Versions that a load test publishes below a model server's base path, and removes again.

Only for a folder of one's own: the server answers with what is published.
"""

import shutil
from pathlib import Path


class SwapError(Exception):
    """Versions that cannot be published, or one that the server did not take."""


class LoadVersions:
    """Versions that are put in place as the Pusher does: whole, under a temporary name, then renamed.

    Args:
        base_path: The server's, which serves the newest version below it.
        prepared: Folder of version directories that are newer than those below `base_path`; each is published under its
            own number. None publishes copies of the newest version below `base_path` under higher numbers.
        num_versions: How many to publish.

    Attributes:
        numbers: Of the versions, ascending.

    Raises:
        SwapError: Too few versions, or one that is older than what is served.
    """

    def __init__(self, base_path: Path, *, prepared: Path | None, num_versions: int) -> None:
        self._base_path = base_path
        self._sources = _sources(base_path, prepared=prepared, num_versions=num_versions)
        self.numbers = sorted(self._sources)

    def copy(self) -> None:
        """Puts whole copies under their temporary names; reading and writing the files is no part of a swap."""
        for number, source in self._sources.items():
            # With new modification times: a server need not try unchanged files again that failed in an earlier load.
            shutil.copytree(source, self._temporary(number), copy_function=shutil.copyfile)

    def publish(self, number: int) -> None:
        """Puts a copied version in place."""
        self._temporary(number).rename(self._base_path / str(number))

    def remove(self) -> None:
        """Removes what was copied and published; the server goes back to the newest version that is left."""
        # The newest, which serves, goes last, so that the server goes back in one step.
        for number in self.numbers:
            published = self._base_path / str(number)
            if published.exists():
                published.rename(self._temporary(number))
        for number in self.numbers:
            shutil.rmtree(self._temporary(number), ignore_errors=True)

    def _temporary(self, number: int) -> Path:
        return self._base_path / f".load_test-{number}"


def _sources(base_path: Path, *, prepared: Path | None, num_versions: int) -> dict[int, Path]:
    """What to publish, by the number under which it is published."""
    present = _versions(base_path)
    newest = max(present, default=0)
    if prepared is None:
        if not present:
            raise SwapError(f"no version to copy below {base_path}; is it the server's --model_base_path?")
        return {newest + step: present[newest] for step in range(1, num_versions + 1)}
    sources = dict(sorted(_versions(prepared).items())[:num_versions])
    if len(sources) < num_versions:
        raise SwapError(f"{prepared} must hold {num_versions} versions. Received: {len(sources)}")
    if min(sources) <= newest:
        raise SwapError(f"version {min(sources)} would not be served: {base_path} has version {newest} already")
    return sources


def _versions(folder: Path) -> dict[int, Path]:
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise SwapError(f"cannot read the versions: {error}") from error
    return {int(path.name): path for path in paths if path.name.isascii() and path.name.isdecimal()}
