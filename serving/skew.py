"""Compares what a served retriever is asked with what it was trained on, by TFDV.

    python -m serving.skew --logs='logs/retriever.log.*' --root=DIR

`--logs` are files of sampled requests (`logging_config` of the model server or of TF Serving), `--root` is the pipeline's.
Rows are the query features of `retrieve` and `serving_default`; answers are not looked at. Exit status 0: no skew;
1: skew; 2: it could not be checked.

The table has, of training → served, the share of rows where the feature is `missing`, and the share of a string feature's
values that are `known`: among training's 1,000 most frequent ones. The distance is TFDV's.

Some differences are natural, and a threshold must leave room for them, or `--split=queries` be asked for, which has
each user once, as of the cut:

- `train` has a row for every conversion or engagement, as of its moment: busy users and hours count often, and a first
  basket has no history. Requests have users as of now, so that counts are larger and fewer histories are empty.
- `train` is as old as the run: since then the season, the catalogue and the youngest users have changed.
- `train` knows the context of every touch; a client that does not send `surface` or `hour` is real skew, not natural.
- A small sample has distances by chance: samples of one run's own train split had up to 0.10 at 100 rows, 0.06 at 300
  and 0.02 at 1,000. Hence `--min_rows`.
"""

import argparse
import glob
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving import text_table

if TYPE_CHECKING:
    from serving.skew_measures import FeatureSkew

_COLUMNS = (
    text_table.Column("feature"),
    text_table.Column("missing", is_number=True),
    text_table.Column("known", is_number=True),
    text_table.Column("distance", is_number=True),
    text_table.Column("threshold", is_number=True),
    text_table.Column("verdict"),
)
_OK, _SKEW, _NOT_CHECKED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the comparison; returns the exit status."""
    flags = _parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")  # of Beam and TFDV at import
    from serving.served_rows import LogsError  # TensorFlow takes seconds to import, wrong flags should not
    from serving.training_run import TrainingRunError

    try:
        return _compare(flags)
    except (LogsError, TrainingRunError) as error:
        print(f"Not checked: {error}", file=sys.stderr)
        return _NOT_CHECKED


def _compare(flags: argparse.Namespace) -> int:
    from serving import skew_measures
    from serving.served_rows import LogsError
    from serving.served_rows import ServedRows
    from serving.training_run import read_training_run

    paths = sorted(glob.glob(flags.logs))
    if not paths:
        raise LogsError(f"no file matches --logs={flags.logs}; a log is named when it is closed")
    run = read_training_run(flags.root, version=flags.version, split=flags.split)
    is_string = {feature.name: feature.type == skew_measures.STRING for feature in run.schema.feature}
    rows = ServedRows(paths, is_string, version=run.version)
    served = skew_measures.statistics_of(rows, is_string)
    num_rows = served.datasets[0].num_examples
    for reason, number in sorted(rows.left_out.items()):
        print(f"Left out: {number:,} requests {reason}")
    if num_rows < flags.min_rows:
        raise LogsError(
            f"{num_rows:,} rows asked of version {run.version} are too few, see --min_rows={flags.min_rows}"
        )
    skews, texts = skew_measures.compare(run.statistics, served, run.schema, threshold=flags.threshold)
    trained = int(run.statistics.datasets[0].num_examples)
    print(
        f"Version {run.version}: {num_rows:,} rows of {rows.num_requests:,} requests against {trained:,} of {flags.split}"
    )
    print(_table(skews))
    for name, text in texts.items():
        print(f"{name}: {text}")
    return _SKEW if texts or any(skew.is_skewed for skew in skews) else _OK


def _table(skews: "Sequence[FeatureSkew]") -> str:
    rows = [
        (
            skew.name,
            _shares(skew.missing),
            _shares(skew.known),
            "" if skew.distance is None else f"{skew.distance:.4f}",
            f"{skew.threshold:g}",
            skew.verdict,
        )
        for skew in skews
    ]
    return text_table.render(_COLUMNS, rows, width=shutil.get_terminal_size((120, 24)).columns)


def _shares(shares: tuple[float, float] | None) -> str:
    return f"{shares[0]:.1%} → {shares[1]:.1%}" if shares else ""


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m serving.skew",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--logs", required=True, help="glob of TFRecords of PredictionLogs")
    parser.add_argument("--root", required=True, type=Path, help="folder of the pipeline's run")
    parser.add_argument("--split", default="train", help="whose statistics to compare with (default: %(default)s)")
    parser.add_argument("--version", type=int, help="of the retriever (default: the newest that was pushed)")
    parser.add_argument("--threshold", type=float, default=0.1, help="where skew begins (default: %(default)s)")
    parser.add_argument("--min_rows", type=int, default=300, help="fewer rows are not judged (default: %(default)s)")
    flags = parser.parse_args(argv)
    if not 0 < flags.threshold <= 1:
        parser.error(f"--threshold must be above 0 and at most 1. Received: {flags.threshold}")
    if flags.min_rows < 1:
        parser.error(f"--min_rows must be 1 or more. Received: {flags.min_rows}")
    return flags


if __name__ == "__main__":
    sys.exit(main())
