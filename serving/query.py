"""Asks a model server what a user will buy, and shows the answer beside what the user did.

python -m serving.query --server=localhost:8500 --user=ID --k=10
"""

import argparse
import contextlib
import io
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from serving import answers
from serving import snapshot
from serving.answers import Answer
from serving.client import RetrieverClient
from serving.client import RetrieverError
from serving.query_flags import asked_filters
from serving.query_flags import parse_flags
from serving.query_inputs import Features
from serving.query_inputs import read_features
from serving.snapshot import Snapshot
from serving.snapshot import SnapshotError
from serving.version_watch import watch

_DEFAULT_WIDTH = 110
_INTERRUPTED = 130
"""The exit status that shells know."""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the answers; returns 1, with the reason on stderr, if there are none."""
    flags = parse_flags(argv, description=(__doc__ or "").splitlines()[0])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Titles may hold characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="replace")
    try:
        _run(flags)
    except (RetrieverError, SnapshotError, ValueError, OSError) as error:
        print(f"query: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if flags.watch else _INTERRUPTED
    return 0


def _run(flags: argparse.Namespace) -> None:
    with RetrieverClient(
        flags.server,
        model_name=flags.model_name,
        model_version=flags.version,
        version_label=flags.version_label,
        timeout_s=flags.timeout_s,
        # A snapshot may hold features that the served version does not take (yet, or any more); a file's are meant.
        ignore_unknown=not flags.features,
        tls=flags.tls,
    ) as client:
        if flags.watch:
            # So that stdout is nothing but JSON if it is asked for.
            lines_to = sys.stderr if flags.json else sys.stdout
            watch(client, lambda: _answer(client, flags), interval_s=flags.watch_interval_s, lines_to=lines_to)
        print(_answer(client, flags))


def _answer(client: RetrieverClient, flags: argparse.Namespace) -> str:
    with contextlib.ExitStack() as stack:
        path = _snapshot_path(flags)
        texts = stack.enter_context(snapshot.open_snapshot(path)) if path else None
        if flags.features:
            numbered = enumerate(read_features(flags.features), start=1)
            users: dict[str, Features] = {f"{flags.features.name}#{number}": user for number, user in numbered}
        else:
            users = {user_id: texts.features(user_id) for user_id in flags.user} if texts else {}
        retrieved = client.retrieve(list(users.values()), k=flags.k, filters=asked_filters(flags, users.values()))
        found = [
            Answer(user_id, features, answer)
            for (user_id, features), answer in zip(users.items(), retrieved, strict=True)
        ]
        return _render(found, texts, flags=flags)


def _render(found: Sequence[Answer], texts: Snapshot | None, *, flags: argparse.Namespace) -> str:
    items = texts.items({item_id for answer in found for item_id in answer.item_ids()}) if texts else {}
    notice = texts.notice() if texts else ""
    if flags.json:
        entries = [answers.as_json(answer, items, explain=flags.explain) for answer in found]
        return json.dumps({"answers": entries, "notice": notice}, ensure_ascii=False, indent=2)
    width = shutil.get_terminal_size((_DEFAULT_WIDTH, 0)).columns
    parts = [answers.as_text(answer, items, k=flags.k, width=width, explain=flags.explain) for answer in found]
    return "\n\n".join([*parts, *([notice] if notice else [])])


def _snapshot_path(flags: argparse.Namespace) -> Path | None:
    """Where the snapshot is; with --features it only adds titles and may be absent, unless they are to be compared."""
    if flags.snapshot:
        return flags.snapshot
    try:
        path = snapshot.default_path()
    except SnapshotError:
        if flags.features and not flags.explain:
            return None
        raise
    return path if path.is_file() or not flags.features or flags.explain else None


if __name__ == "__main__":
    sys.exit(main())
