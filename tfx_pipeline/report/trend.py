"""Every evaluation of a root, by ML Metadata: what was refused too."""

import json
from datetime import datetime
from datetime import timezone
from pathlib import Path
from typing import Any
from typing import NamedTuple

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_pipeline.report.files import METRICS_FILE
from tfx_pipeline.report.plots import Interval
from tfx_pipeline.report.records import overall
from tfx_pipeline.retriever_records import METADATA_FILE


class Recalls(NamedTuple):
    """Recall@100 on the run's own evaluation data; None: not measured."""

    model: Interval | None
    popularity: Interval | None


class Evaluation(NamedTuple):
    """One evaluation.

    Attributes:
        version: of the index that was measured.
        measured: when, UTC.
        is_blessed: whether no gate refused it.
        is_refresh: whether a refresh was measured, not a training run.
        num_rows: conversions.
        recalls: by novelty, `all` and `new`.
        refusals: why it was refused.
    """

    version: str
    measured: datetime
    is_blessed: bool
    is_refresh: bool
    num_rows: int
    recalls: dict[str, Recalls]
    refusals: list[str]


def read_trend(root: Path) -> list[Evaluation]:
    """In the order of time; an evaluation whose folder is gone is left out; none without a metadata file."""
    if not (root / METADATA_FILE).is_file():
        return []
    source = pb.SqliteMetadataSourceConfig(
        filename_uri=str(root / METADATA_FILE), connection_mode=pb.SqliteMetadataSourceConfig.READONLY
    )
    store = mlmd.MetadataStore(pb.ConnectionConfig(sqlite=source))
    artifacts = sorted(store.get_artifacts_by_type("ModelEvaluation"), key=lambda artifact: artifact.id)
    found = [(artifact, _file(root, artifact)) for artifact in artifacts]
    return [_evaluation(artifact, json.loads(file.read_text())) for artifact, file in found if file.is_file()]


def _file(root: Path, artifact: pb.Artifact) -> Path:
    """Below `root` if that was moved since, for ML Metadata keeps whole paths."""
    folder = Path(artifact.uri)
    return (folder if folder.exists() else root.joinpath("artifacts", *folder.parts[-3:])) / METRICS_FILE


def _evaluation(artifact: pb.Artifact, metrics: dict[str, Any]) -> Evaluation:
    return Evaluation(
        version=metrics.get("index_version") or metrics.get("model_version") or "",
        measured=datetime.fromtimestamp(artifact.create_time_since_epoch / 1000, tz=timezone.utc),
        is_blessed=bool(metrics.get("blessed")),
        is_refresh="num_served" in metrics,
        num_rows=((metrics.get("eval") or {}).get("all") or {}).get("num_rows", 0),
        recalls={novelty: _recalls(metrics, novelty) for novelty in ("all", "new")},
        refusals=metrics.get("refusals") or [],
    )


def _recalls(metrics: dict[str, Any], novelty: str) -> Recalls:
    rows = [
        row for row in overall(metrics) if (row.task, row.novelty, row.metric) == ("conversion", novelty, "recall@100")
    ]
    return Recalls(rows[0].model, rows[0].popularity) if rows else Recalls(None, None)
