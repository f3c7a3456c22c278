"""Rebuilds the page of the last run: `python -m tfx_pipeline.report --root=DIR`, or puts two runs side by side.

`--compare=RUN_A,RUN_B` writes `DIR/report/compare-A-B.html`; a run is a version that was pushed in DIR, `last`, the path of
a `metrics.json`, or another root. Exit status: 0, or 2 for wrong arguments or missing figures.
"""

import argparse
import sys
from pathlib import Path

from tfx_pipeline.report.compare import write_comparison
from tfx_pipeline.report.page import write_page
from tfx_pipeline.report.runs import find_run
from tfx_pipeline.report.runs import read_last


def main(argv: list[str] | None = None) -> int:
    """Parses the arguments, writes the page, prints its path; returns the exit status."""
    flags = _parse(argv)
    try:
        if flags.compare:
            page = write_comparison(flags.root, *(find_run(flags.root, text) for text in _pair(flags.compare)))
        else:
            page = write_page(flags.root, read_last(flags.root))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(page)
    return 0


def _pair(text: str) -> list[str]:
    runs = [part.strip() for part in text.split(",")]
    if len(runs) != 2 or not all(runs):
        raise ValueError(f"--compare must be two runs with a comma between them, RUN_A,RUN_B. Received: {text!r}")
    return runs


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.report", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of everything that the runs wrote")
    parser.add_argument("--compare", default="", metavar="RUN_A,RUN_B", help="two runs, put side by side")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
