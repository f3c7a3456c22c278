"""Shows answers anew whenever another version serves, until interrupted."""

import sys
import time
from collections.abc import Callable
from typing import NoReturn
from typing import TextIO

from serving.client import RetrieverClient
from serving.client import RetrieverError


def watch(client: RetrieverClient, answer: Callable[[], str], *, interval_s: float, lines_to: TextIO) -> NoReturn:
    """Polls the model's status; prints a line to `lines_to` and a new answer to stdout for each change.

    A server that cannot be asked is reported once on stderr and asked again, unless that is so from the beginning.

    Raises:
        RetrieverError: The server did not answer the first time.
    """
    shown: int | None = None
    trouble = ""
    while True:
        try:
            served = _served_version(client)
            if served != shown:
                text = answer()
                before = "" if shown is None else f" (before: {shown})"
                print(f"{time.strftime('%H:%M:%S')} Serving version {served}{before}", file=lines_to, flush=True)
                print(text, flush=True)
                shown = served
            trouble = ""
        except RetrieverError as error:
            if shown is None:
                raise
            if error.code != trouble:
                print(f"query: still watching: {error}", file=sys.stderr, flush=True)
                trouble = error.code
        time.sleep(interval_s)


def _served_version(client: RetrieverClient) -> int:
    """The version that requests get, which is the newest that is available."""
    available = [status.version for status in client.model_status() if status.state == "AVAILABLE"]
    if not available:
        raise RetrieverError("NOT_FOUND", "no version of the model is AVAILABLE", "look at the model server's log")
    return max(available)
