"""Flags of `python -m serving.query`."""

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.contract import HISTORY_ITEM_ID
from schemas.contract import MODEL_NAME
from serving.channel import Tls
from serving.filters import Filters
from serving.query_inputs import Features


def parse_flags(argv: Sequence[str] | None, *, description: str) -> argparse.Namespace:
    """The flags of the command line, with `tls` made of the certificates; ends the process on a wrong one."""
    parser = argparse.ArgumentParser(prog="python -m serving.query", description=description)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--user", action="append", metavar="ID", help="a user of the snapshot; repeatable")
    asked.add_argument("--features", type=Path, metavar="FILE", help="JSON object of named inputs, or a list of them")
    parser.add_argument("--k", type=int, default=10, help="items per user (%(default)s)")
    parser.add_argument("--snapshot", type=Path, metavar="FILE", help="user snapshot (default: the newest run's)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--explain", action="store_true", help="show what each item has in common with the history")
    parser.add_argument(
        "--watch", action="store_true", help="answer again whenever another version serves, until Ctrl-C"
    )
    parser.add_argument(
        "--watch_interval_s", type=_positive, default=2.0, metavar="S", help="seconds between two looks (%(default)s)"
    )
    _add_filter_flags(parser)
    _add_server_flags(parser)
    flags = parser.parse_args(argv)
    try:
        flags.tls = _tls(flags)
    except ValueError as error:
        parser.error(str(error))
    return flags


def asked_filters(flags: argparse.Namespace, users: Iterable[Features]) -> list[Filters] | None:
    """The filters of each user; None if no flag asks for any."""
    asked = (flags.exclude_seen, flags.allow_category, flags.max_per_advertiser)
    if not any(asked) and flags.min_price is None and flags.max_price is None:
        return None
    return [
        Filters(
            exclude_item_ids=_history(user) if flags.exclude_seen else (),
            allow_categories=flags.allow_category,
            min_price=flags.min_price,
            max_price=flags.max_price,
            max_per_advertiser=flags.max_per_advertiser,
        )
        for user in users
    ]


def _history(user: Features) -> Sequence[str]:
    items: Any = user.get(HISTORY_ITEM_ID)
    return items or ()


def _add_filter_flags(parser: argparse.ArgumentParser) -> None:
    filters = parser.add_argument_group("filters")
    filters.add_argument("--exclude_seen", action="store_true", help="leave out the items of the user's history")
    filters.add_argument(
        "--allow_category", action="append", default=[], metavar="PATH", help="only this and below; repeatable"
    )
    filters.add_argument("--min_price", type=float, metavar="PRICE", help="least price")
    filters.add_argument("--max_price", type=float, metavar="PRICE", help="greatest price")
    filters.add_argument(
        "--max_per_advertiser", type=int, default=0, metavar="N", help="most items of one advertiser (0: no limit)"
    )


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("model server")
    server.add_argument("--server", default="localhost:8500", help="host:port of its gRPC API (%(default)s)")
    server.add_argument("--model_name", default=MODEL_NAME, help="name of the model there (%(default)s)")
    chosen = server.add_mutually_exclusive_group()
    chosen.add_argument("--version", type=int, metavar="N", help="of the model (default: the newest that serves)")
    chosen.add_argument("--version_label", default="", metavar="LABEL", help="such as canary, instead of a version")
    server.add_argument(
        "--timeout_s", type=_positive, default=5.0, metavar="S", help="seconds to wait for an answer (%(default)s)"
    )
    server.add_argument("--ca_cert", type=Path, metavar="FILE", help="PEM of the server's authority; switches TLS on")
    server.add_argument("--client_cert", type=Path, metavar="FILE", help="PEM of this client, for mutual TLS")
    server.add_argument("--client_key", type=Path, metavar="FILE", help="PEM of its private key")


def _tls(flags: argparse.Namespace) -> Tls | None:
    if not (flags.ca_cert or flags.client_cert or flags.client_key):
        return None
    return Tls(ca_cert=flags.ca_cert, client_cert=flags.client_cert, client_key=flags.client_key)


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0. Received: {text}")
    return value
