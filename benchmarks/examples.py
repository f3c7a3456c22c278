"""`make bench`: events per second from raw tables to examples, at two sizes of the simulated market, on one core."""

import tempfile
import time
from pathlib import Path

from tfx_pipeline import logs

_NUM_USERS = (250, 1000)


def main() -> None:
    """Prints a line per size: a ratio of rates near 1 means that the cost grows linearly."""
    logs.quiet_environment()
    rates = []
    for num_users in _NUM_USERS:
        with tempfile.TemporaryDirectory() as folder:
            num_events, seconds = _measure(Path(folder), num_users)
        rates.append(num_events / seconds)
        print(f"{num_users} users: {num_events:,} events in {seconds:.1f} s, {rates[-1]:,.0f} events/s")
    print(f"rate at {_NUM_USERS[-1]} users / rate at {_NUM_USERS[0]}: {rates[-1] / rates[0]:.2f}")


def _measure(folder: Path, num_users: int) -> tuple[int, float]:
    import apache_beam as beam

    from schemas.features import feature_groups
    from tfx_pipeline import dataset as datasets
    from tfx_pipeline.examples.config import ExamplesConfig
    from tfx_pipeline.examples.pipeline import MarketplaceExamples

    source = "marketplace_simulator"
    tables = datasets.prepare_tables(source, None, folder, {"num_users": num_users, "num_items": 1000})
    schema, _ = datasets.effective_schema(source, tables, folder / "schema", extra=None)
    num_events = datasets.source_facts(tables)["rows_written"]["events"]
    examples = MarketplaceExamples(str(tables), feature_groups(schema), ExamplesConfig(), now_us=time.time_ns() // 1000)
    started_s = time.monotonic()
    with beam.Pipeline() as pipeline:
        for name, rows in examples.expand(pipeline).items():
            _ = rows | f"Count[{name}]" >> beam.combiners.Count.Globally()
    return num_events, time.monotonic() - started_s


if __name__ == "__main__":
    main()
