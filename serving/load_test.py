"""Open-loop load on a model server: latency from the time a request was due, errors by code, swaps under load.

    python -m serving.load_test --server=localhost:8500 --rate=200 --duration_s=30 --snapshot=FILE --out=DIR --plot

Exit status 0 means that every request was answered, every answer fits its version, and every swap was done under load.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving import load_plot
from serving import load_report
from serving import load_run
from serving.channel import RetrieverError
from serving.load_checks import check
from serving.load_options import LoadOptions
from serving.load_options import parse_options
from serving.load_run import Load
from serving.load_versions import SwapError
from serving.snapshot import SnapshotError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the load and prints its figures; returns 1, with the reason, if anything was wrong."""
    options = parse_options(argv, description=(__doc__ or "").splitlines()[0])
    try:
        load = load_run.run(options)
    except (RetrieverError, SnapshotError, SwapError, ValueError) as error:
        print(f"load_test: {error}", file=sys.stderr)
        return 1
    checked = check(load.outcomes, are_copies=options.swap and options.swap_from is None)
    figures = load_report.summary(load.outcomes, load.swaps, checked=checked)
    print(load_report.as_text(figures))
    if load.swap_error:
        print(f"load_test: {load.swap_error}", file=sys.stderr)
    if options.out:
        _write(options.out, load, figures, options=options)
    return 1 if figures["errors"] or figures["num_wrong_answers"] or load.swap_error else 0


def _write(folder: Path, load: Load, figures: dict[str, Any], *, options: LoadOptions) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"options": asdict(options)} | figures
    (folder / "load_test.json").write_text(json.dumps(content, default=str, indent=2) + "\n")
    if options.plot:
        (folder / "load_test.svg").write_text(load_plot.svg(load.outcomes, load.swaps))


if __name__ == "__main__":
    sys.exit(main())
