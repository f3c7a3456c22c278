"""Runs the whole pipeline on this machine: `python -m tfx_pipeline.local_runner --source=NAME --data=PATH --root=DIR`.

Exit status: 0 only if a retriever was pushed, decided from ML Metadata; 1 with one clear reason otherwise; 2 for wrong
arguments or unusable data.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx_pipeline import configs
from tfx_pipeline import logs
from tfx_pipeline import process
from tfx_pipeline.root_lock import locked

_COMPONENTS = 16


class RunError(Exception):
    """The run did not push; the message is the one reason that is shown.

    Attributes:
        page: the run's report, None where there is none.
    """

    page: Path | None = None


def main(argv: list[str] | None = None) -> int:
    """Parses the arguments, runs, reports; returns the exit status."""
    flags = _parse(argv)
    logs.quiet_environment()
    process.collect_seldom()
    run_id = time.strftime("%Y%m%d-%H%M%S")
    log_file = flags.root / "logs" / f"{run_id}.log"

    def run() -> str:
        config = configs.build_config(flags.source, file=flags.config, settings=flags.set)
        with (
            locked(flags.root),
            logs.logs_to(log_file, num_components=_COMPONENTS, after_each=process.release_memory),
        ):
            return _run(flags, config, run_id=run_id)

    return exit_status(run, log_file=log_file)


def exit_status(run: Callable[[], str], *, log_file: Path) -> int:
    """Runs; prints the summary that it returns, or the one reason why nothing was pushed."""
    try:
        summary = run()
    except RunError as error:
        report = f"; the report: {error.page}" if error.page else ""
        print(f"Not pushed: {error}\nThe whole log: {log_file}{report}", file=sys.stderr)
        return 1
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary)
    return 0


def _run(flags: argparse.Namespace, config: configs.RunConfig, *, run_id: str) -> str:
    """Tables, schema, pipeline, metrics, report, verdict, snapshot."""
    from tfx_pipeline import dataset as datasets  # after the environment is quiet: these import TensorFlow
    from tfx_pipeline import pipeline as pipelines
    from tfx_pipeline.report.snapshot_file import write_user_snapshot
    from tfx_pipeline.report.summary import summary
    from tfx_pipeline.run_record import read_last_run

    started_s = time.monotonic()
    root = flags.root.resolve()
    dataset = datasets.prepare_tables(flags.source, flags.data, root, config.source)
    schema, schema_file = datasets.effective_schema(flags.source, dataset, root / "schema", extra=flags.schema)
    places = pipelines.Places.below(root, dataset=dataset, schema_file=schema_file)
    pipeline = pipelines.create_pipeline(places, schema, config, run_id=run_id, beam_args=beam_args(flags))
    stop = launch_until_stop(pipeline)
    record = read_last_run(places.metadata, expected=tuple(node.id for node in pipeline.components))
    facts = datasets.source_facts(dataset)
    metrics, page = write_figures(root, record, facts, config, stop=stop)
    require_push(record, metrics, stop=stop, page=page)
    write_user_snapshot(root, record, facts)
    return summary(metrics, seconds=time.monotonic() - started_s, root=root)


def launch_until_stop(pipeline: Any) -> RunError | None:
    """Runs the pipeline's components; the reason why it stopped before its end, if it did."""
    try:
        launch(pipeline)
    except RunError as error:
        return error
    return None


def write_figures(
    root: Path, record: Any, facts: dict[str, Any], config: configs.RunConfig, *, stop: RunError | None
) -> tuple[dict[str, Any], Path | None]:
    """Metrics and report of a run, also of one that data health stopped, with its warnings on the console.

    Returns:
        The metrics and the report's page; nothing of a run that stopped for another reason.
    """
    from tfx_pipeline.health.report import console_lines
    from tfx_pipeline.report.metrics_file import write_blocked_metrics
    from tfx_pipeline.report.metrics_file import write_metrics
    from tfx_pipeline.report.page import write_page

    if stop:  # its message has the warnings
        metrics = write_blocked_metrics(root, record, facts, config, reason=str(stop))
    else:
        metrics = write_metrics(root, record, facts, config)
        for line in console_lines(metrics.get("health"), file=f"{root}/metrics.json"):
            print(line, file=sys.stderr)
    return metrics, write_page(root, metrics) if metrics else None


def launch(pipeline: Any) -> None:
    """Runs the pipeline's components; raises RunError with the reason when one fails."""
    import apache_beam.error
    import grpc
    import tensorflow as tf
    from tfx import v1 as tfx

    own = (ValueError, RuntimeError, OSError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError)
    foreign = (apache_beam.error.BeamError, grpc.RpcError, tf.errors.OpError, subprocess.SubprocessError)
    process.lighten_beam()
    try:
        tfx.orchestration.LocalDagRunner().run(pipeline)
    except (*own, *foreign) as error:
        logging.getLogger("absl").exception("The pipeline stopped")  # to the file: the console gets the reason
        raise RunError(_first_line(error)) from error


def require_push(
    record: Any, metrics: dict[str, Any], *, stop: RunError | None = None, page: Path | None = None
) -> None:
    """Raises RunError, with the reason and the report's page, unless ML Metadata says that the run pushed."""
    if error := stop or _refusal(record, metrics):
        error.page = page
        raise error


def _refusal(record: Any, metrics: dict[str, Any]) -> RunError | None:
    if record.unfinished:
        return RunError(f"these components did not complete: {', '.join(record.unfinished)}")
    if metrics.get("refusals"):
        return RunError(f"the gate refused the model: {'; '.join(metrics['refusals'])}")
    if record.pushed_version is None:
        return RunError("the Pusher did not push; a blessing is missing")
    return None


def _first_line(error: BaseException) -> str:
    """Beam appends the stage to the message of the error that a transform raised."""
    return f"{type(error).__name__}: {str(error).split(' [while running')[0]}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.local_runner", description=__doc__)
    parser.add_argument("--source", required=True, help=f"one of {', '.join(configs.DEFAULTS)}")
    parser.add_argument("--data", type=Path, help="file or folder that the source reads")
    parser.add_argument("--root", type=Path, required=True, help="folder of everything that the run writes")
    parser.add_argument("--config", type=Path, help="JSON file with sections of the configuration")
    parser.add_argument("--schema", type=Path, help="schema file that is merged onto the shipped one")
    add_run_flags(parser)
    return parser.parse_args(argv)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that runs a pipeline."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="one value; repeatable"
    )
    parser.add_argument("--beam_arg", action="append", default=[], help="option of Beam; repeatable")


def beam_args(flags: argparse.Namespace) -> list[str]:
    """Options of Beam: those given, else one process."""
    return flags.beam_arg or ["--direct_running_mode=in_memory", "--direct_num_workers=1"]


if __name__ == "__main__":
    sys.exit(main())
