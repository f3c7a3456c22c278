"""Makes the examples of a dataset by one system in this process; one JSON line on standard output says what it took."""

import argparse
import json
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tfx_pipeline import logs

SOURCE = "marketplace_simulator"
_EXECUTION = "beam:metric:pardo_execution_time:process_bundle_msecs:v1"


def main() -> None:
    """Measures after the imports, with the files that a run of the pipeline would write."""
    flags = _parse()
    logs.quiet_environment()
    make = _beam(flags) if flags.system == "beam" else _pandas(flags)
    from benchmarks.index_memory import MemoryGrowth

    memory, start_s, start_cpu_s = MemoryGrowth(), time.monotonic(), _cpu_s()
    shares = make()
    took = {"wall_s": time.monotonic() - start_s, "cpu_s": _cpu_s() - start_cpu_s, "peak_mb": memory.peak_mb()}
    print(json.dumps({**took, "shares": shares}))


def _beam(flags: argparse.Namespace) -> Callable[[], dict[str, float]]:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from schemas.features import SPLITS
    from schemas.features import feature_groups
    from tfx_pipeline import dataset as datasets
    from tfx_pipeline import process
    from tfx_pipeline.components.example_gen import WriteRecords
    from tfx_pipeline.examples.config import ExamplesConfig
    from tfx_pipeline.examples.pipeline import MarketplaceExamples
    from tfx_pipeline.local_runner import beam_args

    process.lighten_beam()

    def make() -> dict[str, float]:
        schema, _ = datasets.effective_schema(SOURCE, flags.dataset, flags.out / "schema", extra=None)
        now_us = time.time_ns() // 1000
        examples = MarketplaceExamples(str(flags.dataset), feature_groups(schema), ExamplesConfig(), now_us=now_us)
        pipeline = beam.Pipeline(options=PipelineOptions(beam_args(flags)))
        found = examples.expand(pipeline)
        for name in SPLITS:
            _ = found[name] | f"Write[{name}]" >> WriteRecords(str(flags.out / name))
        result = pipeline.run()
        result.wait_until_finish()
        return _shares(result)

    return make


def _shares(result: object) -> dict[str, float]:
    """Share of the time in each transform of the first level, by Beam's own samples; none of a runner that keeps none."""
    spent: Counter[str] = Counter()
    for infos in getattr(result, "_monitoring_infos_by_stage", {}).values():
        for info in infos:
            if info.urn == _EXECUTION:
                from apache_beam.metrics import monitoring_infos

                name = info.labels["PTRANSFORM"].split("/")[0]
                spent[name] += monitoring_infos.extract_counter_value(info)
    total = sum(spent.values())
    return {name: number / total for name, number in spent.most_common() if number}


def _pandas(flags: argparse.Namespace) -> Callable[[], dict[str, float]]:
    from benchmarks.examples_pandas import write_examples
    from tfx_pipeline.examples.config import ExamplesConfig

    def make() -> dict[str, float]:
        write_examples(flags.dataset, flags.out, ExamplesConfig())
        return {}

    return make


def _cpu_s() -> float:
    """Of this process and of those that it started and that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples_worker", description=__doc__)
    parser.add_argument("--system", choices=("beam", "pandas"), required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--beam_arg", action="append", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
