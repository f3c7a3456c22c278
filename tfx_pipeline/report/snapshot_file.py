"""The user snapshot beside the served model."""

from pathlib import Path
from typing import Any

from tfx_pipeline.run_record import RunRecord
from tfx_pipeline.snapshot import write_snapshot

SNAPSHOT_FILE = "user_snapshot.sqlite"


def write_user_snapshot(root: Path, record: RunRecord, facts: dict[str, Any]) -> None:
    """Writes the snapshot beside the served model."""
    examples = record.uri("MarketplaceExampleGen.examples")
    path = root / "serving" / SNAPSHOT_FILE
    write_snapshot(str(examples), path, source=facts["source"], notice=facts.get("notice", ""))
