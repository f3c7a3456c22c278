"""Names of the files of a report."""

from pathlib import Path

METRICS_FILE = "metrics.json"
"""Below the root, and below the artifact of an evaluation."""
PUSHED_FOLDER = "pushed"
"""Below the root: the metrics of each run that pushed, by version."""
REPORT_FOLDER = "report"
"""Below the root."""


def report_page(root: Path) -> Path:
    """The page of the last run."""
    return root / REPORT_FOLDER / "index.html"
