"""Replaces the served catalogue without training: `python -m tfx_pipeline.refresh --root=DIR --items=FOLDER`.

FOLDER holds item shards in the form of the data contract, all items that may be retrieved. They are embedded with the towers
of the version that DIR serves, gated and pushed as a new version; configuration and schema are those of the run in DIR.

With `--changes=FILE_OR_FOLDER` (columns `item_id` and any of `price` and `is_available`) instead, only what filters read
changes, in seconds. No item is embedded anew: the item tower reads the price too, and vectors keep to the old one until `--items`.

Exit status: as of `tfx_pipeline.local_runner`.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from tfx_pipeline import configs
from tfx_pipeline import logs
from tfx_pipeline import process
from tfx_pipeline.local_runner import RunError
from tfx_pipeline.local_runner import add_run_flags
from tfx_pipeline.local_runner import beam_args
from tfx_pipeline.local_runner import exit_status
from tfx_pipeline.local_runner import launch
from tfx_pipeline.local_runner import require_push
from tfx_pipeline.retriever_records import METADATA_FILE
from tfx_pipeline.root_lock import locked

_COMPONENTS, _COMPONENTS_OF_CHANGES = 11, 5
_SECTIONS = ("examples", "index", "evaluation", "push", "refresh")


def main(argv: list[str] | None = None) -> int:
    """Parses the arguments, refreshes, reports; returns the exit status."""
    flags = _parse(argv)
    logs.quiet_environment()
    process.collect_seldom()
    run_id = time.strftime("%Y%m%d-%H%M%S")
    log_file = flags.root / "logs" / f"refresh-{run_id}.log"

    def run() -> str:
        if not (flags.root / METADATA_FILE).is_file():
            raise ValueError(
                f"--root must be that of a finished run of tfx_pipeline.local_runner. Received: {flags.root}, "
                f"without {METADATA_FILE}."
            )
        num_components = _COMPONENTS_OF_CHANGES if flags.changes else _COMPONENTS
        with (
            locked(flags.root),
            logs.logs_to(log_file, num_components=num_components, after_each=process.release_memory),
        ):
            return _run(flags, run_id=run_id)

    return exit_status(run, log_file=log_file)


def _run(flags: argparse.Namespace, *, run_id: str) -> str:
    """Origin, configuration, pipeline, verdict, snapshot."""
    from tfx_pipeline import refresh_report  # after the environment is quiet: these import TensorFlow
    from tfx_pipeline.pipeline import Places
    from tfx_pipeline.report.metrics_file import read_pushed_metrics
    from tfx_pipeline.run_record import read_last_run
    from tfx_pipeline.served_run import read_served_run

    started_s = time.monotonic()
    root = flags.root.resolve()
    places = Places.below(root, dataset=(flags.changes or flags.items).resolve(), schema_file=root / "schema")
    served = read_served_run(places.metadata, places.serving)
    recorded = read_pushed_metrics(root, served.model_version)
    sections = {name: fields for name, fields in recorded["config"].items() if name in _SECTIONS}
    config = configs.restored_config(sections, settings=flags.set)
    make_pipeline = _changes_pipeline if flags.changes else _refresh_pipeline
    pipeline = make_pipeline(places, config, served, run_id=run_id, beam_args=beam_args(flags))
    launch(pipeline)
    record = read_last_run(places.metadata, expected=tuple(node.id for node in pipeline.components))
    metrics = refresh_report.write_metrics(root, record)
    _require_served(record, metrics, places)
    refresh_report.write_user_snapshot(root, record, served, recorded["data"])
    return refresh_report.summary(metrics, record, replaced=served.version, seconds=time.monotonic() - started_s)


def _refresh_pipeline(places: Any, config: configs.RunConfig, served: Any, *, run_id: str, beam_args: list[str]) -> Any:
    from tfx_pipeline import dataset as datasets
    from tfx_pipeline import refresh_pipeline as pipelines

    schema, file = datasets.catalog_schema(served.schema, places.dataset, places.schema_file)
    return pipelines.create_refresh_pipeline(
        dataclasses.replace(places, schema_file=file),
        schema,
        config,
        fingerprint=json.dumps(datasets.fingerprint(places.dataset)),
        served=served,
        run_id=run_id,
        beam_args=beam_args,
    )


def _changes_pipeline(places: Any, config: configs.RunConfig, served: Any, *, run_id: str, beam_args: list[str]) -> Any:
    from tfx_pipeline import dataset as datasets
    from tfx_pipeline import refresh_pipeline as pipelines

    return pipelines.create_changes_pipeline(
        places,
        config,
        fingerprint=json.dumps(datasets.fingerprint(places.dataset)),
        served=served,
        run_id=run_id,
        beam_args=beam_args,
    )


def _require_served(record: Any, metrics: dict[str, Any], places: Any) -> None:
    """Raises RunError unless the version was pushed and is the one that a model server takes."""
    from tfx_pipeline.stored_versions import served_number
    from tfx_pipeline.stored_versions import stored_versions

    require_push(record, metrics)
    newest = str(served_number(stored_versions(places.serving)))
    if newest != record.pushed_version:
        raise RunError(
            f"version {record.pushed_version} was pushed, but {newest} is newer and stays served: was the clock changed?"
        )


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.refresh", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of a finished run")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--items", type=Path, help="folder with the shards of the whole new catalogue")
    given.add_argument("--changes", type=Path, help="file or folder: item_id and any of price and is_available")
    add_run_flags(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
