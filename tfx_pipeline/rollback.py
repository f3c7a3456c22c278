"""Serves an earlier version again, or goes forward again: `python -m tfx_pipeline.rollback --root=DIR --to=VERSION`.

TF Serving serves the largest number below its base path, so newer versions are put aside, under names that are no number.
Nothing is copied or deleted: each step is one rename, and the next `--to` undoes it. A run that pushes later serves its own
version, whose number is larger than all. Exit status: 0 if the version is served, 2 with the reason otherwise.
"""

import argparse
import json
import os
import sys
from datetime import datetime
from datetime import timezone
from pathlib import Path

from tfx_pipeline.retriever_records import RetrieverRecord
from tfx_pipeline.retriever_records import read_retrievers
from tfx_pipeline.root_lock import locked
from tfx_pipeline.stored_versions import PARTIAL
from tfx_pipeline.stored_versions import RETIRED
from tfx_pipeline.stored_versions import StoredVersion
from tfx_pipeline.stored_versions import missing_files
from tfx_pipeline.stored_versions import served_number
from tfx_pipeline.stored_versions import serving_folder
from tfx_pipeline.stored_versions import stored_versions

LOG_FILE = "rollbacks.jsonl"
"""Below `ROOT/serving`: one object a line, `time` (ISO 8601, UTC), `from` and `to`."""
_COLUMNS = ("index_version", "state", "model_version", "kind", "run", "pushed")


def main(argv: list[str] | None = None) -> int:
    """Parses the arguments, lists or moves versions; returns the exit status."""
    flags = _parse(argv)
    try:
        base = serving_folder(flags.root)
        if not base.is_dir():
            raise ValueError(f"--root must be the root of a run that pushed. Received: {flags.root}, without {base}")
        if flags.list:
            print(listing(flags.root))
            return 0
        with locked(flags.root):
            print(_roll(flags.root, flags.to))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def serve(base: Path, wanted: int) -> int | None:
    """Makes `wanted` the largest number that a model server sees.

    A server that looks at any moment finds the version from before or `wanted` as the largest, and none between.

    Args:
        base: folder of the versions.
        wanted: version on disk, retired or not.

    Returns:
        The version that was served before; None if none was.

    Raises:
        ValueError: the version is not there, or not whole.
    """
    versions = stored_versions(base)
    before = served_number(versions)
    if before == wanted:
        return before
    target = _whole(base, versions, wanted)
    if target.is_retired:
        target.path.rename(base / str(wanted))
    for version in versions:  # ascending, so that the served one goes last
        if version.number > wanted and not version.is_retired:
            version.path.rename(base / f"{RETIRED}{version.number}")
    return before


def listing(root: Path) -> str:
    """A table of the versions on disk, the newest first."""
    versions = stored_versions(serving_folder(root))
    served = served_number(versions)
    records = read_retrievers(root)
    rows = [_COLUMNS]
    for number, _, is_retired in reversed(versions):
        state = "retired" if is_retired else "served" if number == served else "kept"
        rows.append((str(number), state, *_known(records.get(str(number)))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _known(record: RetrieverRecord | None) -> tuple[str, str, str, str]:
    """The last columns; `?` is what ML Metadata does not know."""
    if record is None:
        return "?", "?", "?", "?"
    pushed = f"{record.pushed:%Y-%m-%d %H:%M:%S} UTC" if record.pushed else "?"
    return record.model_version, record.kind, record.run_id or "?", pushed


def _roll(root: Path, wanted: int) -> str:
    base = serving_folder(root)
    before = serve(base, wanted)
    if before == wanted:
        return f"Version {wanted} is served already."
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    _append(base.parent / LOG_FILE, json.dumps({"time": now, "from": before, "to": wanted}))
    aside = ", ".join(str(version.number) for version in stored_versions(base) if version.is_retired)
    return f"Version {wanted} is served from a model server's next look on, before: {before}. Put aside: {aside or 'none'}."


def _whole(base: Path, versions: list[StoredVersion], wanted: int) -> StoredVersion:
    found = next((version for version in versions if version.number == wanted), None)
    if found is None:
        partly = " whole" if (base / f"{PARTIAL}{wanted}").exists() else ""
        known = ", ".join(version.path.name for version in versions) or "none"
        raise ValueError(f"--to must be a version that is{partly} in {base}: {known}. Received: {wanted}")
    if missing := missing_files(found.path):
        raise ValueError(f"Version {wanted} is not whole, {found.path} lacks {', '.join(missing)}: copy it again.")
    return found


def _append(path: Path, line: str) -> None:
    """One write to the end of the file, on disk before it returns."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{line}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.rollback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="of the runs")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--to", type=int, metavar="VERSION", help="to serve, older or newer than the one that is served"
    )
    action.add_argument("--list", action="store_true", help="show the versions on disk")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
